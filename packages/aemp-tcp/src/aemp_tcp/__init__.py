"""TCP and unix socket links for aemp-core, authenticated by a shared secret.

Installed, it is found by itself: give nodes ``tcp://`` and ``unix://`` addresses.
"""
