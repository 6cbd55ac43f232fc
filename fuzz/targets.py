"""The targets by name: what runs an input, how it is mutated, and which code is watched.

Targets are imported when asked for, so that atheris can instrument exactly the code they name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from .mutators import Mutate, mutate_frames, mutate_handshake

__all__ = ["TARGETS", "Target"]

DECODERS = (
    "aemp_core.wire.json_framing",
    "aemp_core.wire.msgpack_framing",
    "aemp_core.wire.values",
)
WIRE = (
    *DECODERS,
    "aemp_core.wire.auth",
    "aemp_core.wire.connection",
    "aemp_core.wire.greeting",
)


@dataclass(frozen=True)
class Target:
    """One thing that is fuzzed.

    Attributes:
        name: what it is called on the command line, and its directory in the corpus.
        where: module and function that run one input.
        watched: modules whose branches count as coverage.
        head: bytes at the beginning of an input that choose settings.
        mutate: changes what follows them.
        max_length: bytes of the longest input.
        share: inputs it gets of every hundred.
        slow: how many times `judge.HANG_SECONDS` an input may take, for those that are long.
    """

    name: str
    where: str
    watched: tuple[str, ...]
    head: int
    mutate: Mutate
    max_length: int
    share: int
    slow: int = 1

    def load(self) -> Callable[[bytes], None]:
        """The function that runs one input."""
        module, _, function = self.where.partition(":")
        run: Callable[[bytes], None] = getattr(importlib.import_module(module), function)
        return run


TARGETS = {
    target.name: target
    for target in (
        Target("msgpack", "fuzz.framings:msgpack", DECODERS, 2, mutate_frames, 256, 34),
        Target("json", "fuzz.framings:json", DECODERS, 2, mutate_frames, 256, 34),
        Target("long", "fuzz.framings:long", DECODERS, 2, mutate_frames, 256, 1, slow=3),
        Target("dial", "fuzz.handshake:dial", WIRE, 3, mutate_handshake, 768, 20),
        Target(
            "accept", "fuzz.listener:accept",
            (*WIRE, "aemp_core.stream", "aemp_core.lobby", "aemp_core.outflow"),
            4, mutate_handshake, 768, 6,
        ),
        Target(
            "inside", "fuzz.inside:inside",
            ("aemp_core.requests", "aemp_core.session", "aemp_core.spawner", "aemp_core.peer",
             "aemp_core.ports", "aemp_core.wire.values"),
            1, mutate_frames, 512, 5,
        ),
    )
}  # fmt: skip
