"""What is measured, beside what, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SWEEPS", "WORKLOADS", "Figure", "Sweep", "Workload"]


@dataclass(frozen=True)
class Figure:
    """One figure of a workload: one row of the table.

    Attributes:
        name: its key in what contestants return.
        unit: of the figure.
        least: what ours is at least, as a part of the figure beside it.
        most: what ours is at most, as a multiple of the figure beside it.
        lowest: what ours is at least, by itself.
        highest: what ours is at most, by itself.
    """

    name: str
    unit: str
    least: float | None = None
    most: float | None = None
    lowest: float | None = None
    highest: float | None = None

    def goal(self) -> str:
        """What is to be reached, in words."""
        if self.least is not None:
            return f">= {self.least:.2f} x"
        if self.most is not None:
            return f"<= {self.most:.2f} x"
        if self.lowest is not None:
            return f">= {self.lowest:,.0f}{self.unit}"
        if self.highest is not None:
            return f"<= {self.highest:,.0f}{self.unit}"
        return ""

    def reached(self, ours: float, ratio: float | None) -> bool | None:
        """Whether it is; None if nothing is to be."""
        if self.lowest is not None:
            return ours >= self.lowest
        if self.highest is not None:
            return ours <= self.highest
        if ratio is None or (self.least is None and self.most is None):
            return None
        return ratio >= self.least if self.least is not None else ratio <= (self.most or 0)


@dataclass(frozen=True)
class Workload:
    """One piece of work.

    Attributes:
        name: for the command line.
        text: for the table.
        ours: the contestant that is ours, ``module:function``.
        beside: the one it is compared with, which it is measured in turn with; "" for none.
        count: how much of it one run does.
        figures: what is looked at.
        size: see `Run`.
        remote: whether two processes do it: on each loop, sharing a processor or not.
        kinds: the messages it is done with; the goals are for the first.
    """

    name: str
    text: str
    ours: str
    beside: str
    count: int
    figures: tuple[Figure, ...]
    size: int = 0
    remote: bool = False
    kinds: tuple[str, ...] = ("small",)


@dataclass(frozen=True)
class Sweep:
    """A contestant whose cost must not grow with something, over three decades of it."""

    name: str
    text: str
    ours: str
    figure: str
    count: int
    sizes: tuple[int, ...] = (100, 1_000, 10_000, 100_000)


LOOP = "floor_local:loop"
PACED = "local:paced"
ALL_KINDS = ("small", "1 KiB", "nested")
RATE = "/s"

WORKLOADS = (
    Workload(
        "local-paced", "local one-way, 50 sends per turn, node.snd", PACED, LOOP, 500_000,
        (Figure("rate", RATE, least=1 / 7),), kinds=ALL_KINDS,
    ),
    Workload(
        "local-verb", "the same, snd in a port", "local:verb_in_port", LOOP, 500_000,
        (Figure("rate", RATE, least=1 / 7),),
    ),
    Workload(
        "local-outside", "snd outside any port, beside node.snd",
        "local:verb_outside", PACED, 500_000, (Figure("rate", RATE, least=1 / 1.5),),
    ),
    Workload(
        "local-burst", "a million in one burst, beside paced", "local:burst", PACED, 1_000_000,
        (Figure("rate", RATE, least=1 / 2),),
    ),
    Workload(
        "local-fan-out", "fan-out to 10,000 ports, beside paced", "local:fan_out", PACED, 500_000,
        (Figure("rate", RATE, least=1 / 2),), size=10_000,
    ),
    Workload(
        "async-messages", "async port, messages(), beside a handler",
        "local:messages", PACED, 500_000, (Figure("rate", RATE, least=0.6),),
    ),
    Workload(
        "async-get", "async port, get, beside a handler", "local:get", PACED, 500_000,
        (Figure("rate", RATE, least=0.6),),
    ),
    Workload(
        "ports", "create and kill ports with one handler",
        "local:ports", "floor_local:things", 200_000,
        (
            Figure("create", RATE, lowest=300_000),
            Figure("kill", RATE, lowest=300_000),
            Figure("bytes", " B", highest=600),
        ),
    ),
    Workload(
        "remote-bursts", "remote one-way, 50 sends per turn",
        "remote:bursts", "floor_remote:bursts", 400_000,
        (Figure("rate", RATE, least=0.6),), remote=True, kinds=ALL_KINDS,
    ),
    Workload(
        "remote-codec", "the same, beside a floor with our codec", "remote:bursts",
        "floor_remote:bursts_checked", 400_000, (Figure("rate", RATE, least=0.6),), remote=True,
    ),
    Workload(
        "remote-single", "remote one-way, one send per turn",
        "remote:bursts", "floor_remote:bursts", 100_000,
        (Figure("rate", RATE, least=0.8),), size=1, remote=True,
    ),
    Workload(
        "ping-pong", "round trip", "remote:ping_pong", "floor_remote:ping_pong", 20_000,
        (Figure("median", " us", most=1.25), Figure("p99", " us", most=1.25)), remote=True,
    ),
    Workload(
        "calls", "100 calls in flight", "remote:calls", "floor_remote:calls", 60_000,
        (Figure("rate", RATE, least=0.5),), remote=True,
    ),
    Workload(
        "blobs", "1 MiB binary messages", "remote:blobs", "floor_remote:blobs", 500,
        (Figure("bytes", " B/s", least=0.8),), remote=True,
    ),
    Workload(
        "tls-bursts", "TLS: one-way, 50 sends per turn", "tls:bursts", "floor_tls:bursts",
        200_000, (Figure("rate", RATE, least=0.6),), remote=True,
    ),
    Workload(
        "tls-codec", "TLS: the same, beside a floor with our codec", "tls:bursts",
        "floor_tls:bursts_checked", 200_000, (Figure("rate", RATE),), remote=True,
    ),
    Workload(
        "tls-ping-pong", "TLS: round trip", "tls:ping_pong", "floor_tls:ping_pong", 10_000,
        (Figure("median", " us", most=1 / 0.6),), remote=True,
    ),
    Workload(
        "tls-blobs", "TLS: 1 MiB binary messages", "tls:blobs", "floor_tls:blobs", 200,
        (Figure("bytes", " B/s", least=0.6),), remote=True,
    ),
    Workload(
        "tls-handshakes", "TLS: nodes that join and leave", "tls:handshakes",
        "floor_tls:handshakes", 200, (Figure("rate", RATE),), remote=True,
    ),
    Workload(
        "tls-tcp-bursts", "TLS: one-way, beside TCP", "tls:bursts", "remote:bursts",
        200_000, (Figure("rate", RATE),), remote=True,
    ),
    Workload(
        "tls-tcp-ping-pong", "TLS: round trip, beside TCP", "tls:ping_pong", "remote:ping_pong",
        10_000, (Figure("median", " us"),), remote=True,
    ),
    Workload(
        "tls-tcp-blobs", "TLS: 1 MiB, beside TCP", "tls:blobs", "remote:blobs",
        200, (Figure("bytes", " B/s"),), remote=True,
    ),
    Workload(
        "register", "ports put into a group, on one node", "registry:register", "", 20_000,
        (Figure("rate", RATE),),
    ),
    Workload(
        "register-seen", "the same, until another process has seen all", "registry:seen",
        "registry:register", 20_000, (Figure("rate", RATE),),
    ),
    Workload(
        "look-up", "a look at a group, for each member", "registry:look_up", "", 5_000,
        (Figure("many", " ns of 100,000"), Figure("few", " ns of 10")), size=100_000,
    ),
    Workload(
        "change", "one more port in a group, three globals", "registry:change", "", 200,
        (Figure("bytes", " B on links"),),
    ),
    Workload(
        "relay", "one-way through a relay, beside direct", "registry:relayed", "registry:direct",
        100_000, (Figure("rate", RATE),),
    ),
    Workload(
        "idle", "1,000 idle links in one process", "idle:links", "", 1_000,
        (Figure("cpu", " % CPU", highest=1), Figure("bytes", " B/link", highest=40 * 1024)),
        size=20, remote=True,
    ),
)  # fmt: skip

SWEEPS = (
    Sweep("by-backlog", "messages in one burst", "local:burst", "rate", 1_000_000,
          (1_000, 10_000, 100_000, 1_000_000)),
    Sweep("by-ports", "other ports", "sweeps:beside_ports", "rate", 300_000),
    Sweep("by-watches", "monitors on other ports", "sweeps:beside_watches", "rate", 20_000),
    Sweep("by-peers", "idle peers", "sweeps:beside_peers", "rate", 100_000, (1, 10, 100, 1_000)),
    Sweep("by-uptime", "messages and ports before", "sweeps:after", "rate", 300_000,
          (1_000, 10_000, 100_000, 1_000_000)),
)  # fmt: skip
