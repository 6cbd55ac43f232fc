"""Run a module as `python -m` does, provided that our packages come out of a given tree.

    python mutants/tree.py TREE MODULE [ARGUMENT ...]

A run that quietly used the installed packages would prove nothing about the ones in the tree.
"""

from __future__ import annotations

import importlib.util
import os
import runpy
import sys
from pathlib import Path

#: What this ends with if the packages are others; no exit code of pytest.
WRONG_TREE = 70


def main() -> None:
    """Check where the packages are, and become the module."""
    tree, module, *arguments = sys.argv[1:]
    for package in sorted(Path(tree).glob("*/src/*/__init__.py")):
        spec = importlib.util.find_spec(package.parent.name)
        if spec is None or Path(spec.origin or "") != package:
            print(f"{package.parent.name} comes from {spec and spec.origin}, not from {tree}")
            sys.exit(WRONG_TREE)
    sys.path[0] = os.getcwd()  # as `python -m` has it, in place of the directory of this file
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
