"""Services that come with AEMP: what the setting `services` may name.

Each is a module of its own, imported by the node that is told to run it.
"""
