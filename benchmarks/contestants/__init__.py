"""Programs that do the same work: ours, the floors beneath it, and those of others.

A contestant is a function that gets a `Run` and returns its figures, by name.
"""
