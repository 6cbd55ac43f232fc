"""For tests of programs and transports: a virtual clock, a simulated network with faults, and the
conformance kit of transports.

Nothing here needs pytest; `aemp_core.testing.pytest_plugin` and `conformance_pytest` do, and are
imported by themselves. A name is fetched from its module when it is first used: pytest imports this
package at every start, whatever it is to test.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bench import Bench, Harness, Side, Violation, Witness
    from .cable import Path
    from .clock import Deadlock, RealWorldError, VirtualClockLoop, virtual_clock
    from .conformance import CHECKS, check_transport, run_check
    from .history import History
    from .network import SimulatedNetwork
    from .simulated_node import SimulatedNode
    from .standin import StandIn
    from .world import Process, World

__all__ = [
    "Bench",
    "CHECKS",
    "Deadlock",
    "Harness",
    "History",
    "Path",
    "Process",
    "RealWorldError",
    "Side",
    "SimulatedNetwork",
    "SimulatedNode",
    "StandIn",
    "Violation",
    "VirtualClockLoop",
    "Witness",
    "World",
    "check_transport",
    "run_check",
    "virtual_clock",
]

_HOMES = {
    "Bench": "bench",
    "Harness": "bench",
    "Side": "bench",
    "Violation": "bench",
    "Witness": "bench",
    "Path": "cable",
    "Deadlock": "clock",
    "RealWorldError": "clock",
    "VirtualClockLoop": "clock",
    "virtual_clock": "clock",
    "CHECKS": "conformance",
    "check_transport": "conformance",
    "run_check": "conformance",
    "History": "history",
    "SimulatedNetwork": "network",
    "SimulatedNode": "simulated_node",
    "StandIn": "standin",
    "Process": "world",
    "World": "world",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(_import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # the next time this is an ordinary attribute
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
