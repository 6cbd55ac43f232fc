"""One process of fuzzing: atheris on one target. Started by `python -m fuzz run`.

python -m fuzz.worker TARGET [libFuzzer options] CORPUS...
"""

from __future__ import annotations

import importlib
import inspect
import logging
import random
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType

import atheris

from .judge import prompt
from .targets import TARGETS

#: What counting branches costs at most; what seems to hang is tried again without.
SLOWED = 5


def watch(module: ModuleType) -> None:
    """Have the branches of every function of a module count as coverage.

    Not what they compare, as atheris can, too: that costs more than it finds, with words of the
    protocol in the mutations.
    """
    for function in _functions(module, module.__name__):
        function.__code__ = atheris.patch_code(function.__code__, False)


def _functions(holder: ModuleType | type, module: str) -> Iterator[FunctionType]:
    for member in vars(holder).values():
        if isinstance(member, (staticmethod, classmethod)):
            member = member.__func__
        if isinstance(member, property):
            member = member.fget
        if getattr(member, "__module__", None) != module:
            continue
        if inspect.isclass(member):
            yield from _functions(member, module)
        elif isinstance(member, FunctionType):
            yield member


def main() -> None:
    """Fuzz until the options say enough; ends the process."""
    target = TARGETS[sys.argv.pop(1)]
    sys.argv[0] = f"{sys.executable} -m fuzz.worker {target.name}"  # to merge, it starts itself
    run = target.load()
    for module in target.watched:
        watch(importlib.import_module(module))
    logging.lastResort = None  # refusals by the million
    head = target.head

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        if seed % 2 and len(data) > head:
            chance = random.Random(seed)
            changed = data[:head] + target.mutate(data[head:], chance)
            if changed != data and len(changed) <= max_size:
                return changed
        return atheris.Mutate(data, max_size)

    def join(data: bytes, other: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        return (data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :])[
            :max_size
        ]

    def test(data: bytes) -> None:
        prompt(run, data, target.slow * SLOWED)

    atheris.Setup(sys.argv, test, custom_mutator=mutate, custom_crossover=join)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
