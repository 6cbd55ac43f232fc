"""For trying networks of nodes in a simulator: ``python -m aemp_global.testing.simulate``.

What it runs is described in docs/reliability.md; the tests run the same functions.
"""
