"""For tests of programs and transports: a virtual clock, and the conformance kit of transports.

Nothing here needs pytest; `aemp_core.testing.conformance_pytest` does, and is imported by itself.
"""

from .bench import Bench, Harness, Side, Violation, Witness
from .clock import Deadlock, RealWorldError, VirtualClockLoop, virtual_clock
from .conformance import CHECKS, check_transport, run_check
from .standin import StandIn

__all__ = [
    "Bench",
    "CHECKS",
    "Deadlock",
    "Harness",
    "RealWorldError",
    "Side",
    "StandIn",
    "Violation",
    "VirtualClockLoop",
    "Witness",
    "check_transport",
    "run_check",
    "virtual_clock",
]
