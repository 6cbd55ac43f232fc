"""Benchmarks: what AEMP costs, each workload beside the least that Python can do it for.

    python -m benchmarks [WORKLOAD ...] [--runs 5] [--sweeps] [--peers [PEER ...]]

`workloads` lists what is measured and what is to be reached, `peers` who else does such work,
`contestants` holds the programs that do it, `process` runs one of them once in a process of its
own, `measure` runs those of a workload in turn and compares them, `tables` shows that in Markdown.
"""
