"""The ports of one node, against a small model of what must arrive and fire, in which order.

The model is the run queue as it is documented, and nothing else: one line of items, each message,
kill, notice and init function in the order of the verbs that caused it; a death queues its notices
behind what waits already. Everything that user code sees is written down by both sides, in one log.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, initialize, invariant, rule
from stateful_kit import LoopMachine, patience, story

import aemp_core as mp

pytestmark = patience

SPAWN_ERROR_SECONDS = 60.0
TAGS = ("note", "boom", "leave", "pass")


class ModelPort:
    """What the model knows of one port."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.alive = True
        self.tags: set[str] = set()
        self.default = False
        self.failed = False  # its spawning did
        self.watches: list[ModelWatch] = []
        self.next: ModelPort | None = None


class ModelWatch:
    """One monitor of the model: a callback (no `other`), or what happens to `other`."""

    def __init__(self, name: int, other: ModelPort | None, message: tuple[Any, ...]) -> None:
        self.name = name
        self.other = other
        self.message = message
        self.active = True


class Model:
    """The run queue, the ports, the timers."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.queue: deque[Any] = deque()
        self.timers: list[Any] = []
        self.spawn_errors: dict[ModelPort, tuple[float, tuple[Any, ...]]] = {}
        self.now = 0.0

    def drain(self) -> None:
        while self.queue:
            step, *arguments = self.queue.popleft()
            step(*arguments)

    def deliver(self, port: ModelPort, message: tuple[Any, ...]) -> None:
        if not port.alive:
            return
        tag = message[0] if message else None
        if tag in port.tags:
            self.log.append((port.name, "tag", *message))
        elif port.default:
            self.log.append((port.name, *message))
        else:
            self.die(port, ("die", f"no handler for {tag!r}"))
            return
        self.react(port, tag)

    def react(self, port: ModelPort, tag: Any) -> None:
        if tag == "boom":
            self.die(port, ("die", "ValueError: boom"))
        elif tag == "leave":
            self.die(port, ("left",))
        elif tag == "pass" and port.next is not None:
            self.queue.append((self.deliver, port.next, ("note", "passed on")))

    def die(self, port: ModelPort, reason: tuple[Any, ...]) -> None:
        if not port.alive:
            return
        port.alive = False
        if port.failed:  # told to late monitors, unlike that of a port it was to die with
            self.spawn_errors[port] = self.now + SPAWN_ERROR_SECONDS, reason
        for watch in port.watches:
            if watch.active:
                self.queue.append((self.fire, watch, reason))
        for watch in self.watches:
            if watch.other is port:
                watch.active = False

    def fire(self, watch: ModelWatch, reason: tuple[Any, ...]) -> None:
        if not watch.active:
            return
        watch.active = False
        if watch.other is None:
            self.log.append(("fired", watch.name, reason))
        elif watch.message:
            self.deliver(watch.other, watch.message + reason)
        elif reason:
            self.die(watch.other, reason)

    watches: list[ModelWatch]

    def init(self, port: ModelPort, fails: bool) -> None:
        if not port.alive:
            return
        if fails:
            port.failed = True
            self.die(port, ("spawn_error", "ValueError: no way"))
        else:
            self.log.append((port.name, "init"))
            port.default = True

    def advance(self, seconds: float) -> None:
        ends = self.now + seconds
        for due, action in sorted(self.timers, key=lambda timer: timer[0]):
            if due <= ends:
                self.now = due
                action()
                self.drain()
        self.timers = [timer for timer in self.timers if timer[0] > ends]
        self.now = ends


@mp.exposed(name="stateful:init")
def _init(machine_id: int, port: int) -> None:
    _machines[machine_id].begin(port)


@mp.exposed(name="stateful:fail")
def _fail(*arguments: Any) -> None:
    raise ValueError("no way")


_machines: dict[int, NodeMachine] = {}


class NodeMachine(LoopMachine):
    """Verbs on ports of one node, from outside any port and from within."""

    ports = Bundle("ports")
    guards = Bundle("guards")
    timers = Bundle("timers")

    @initialize(strict=st.booleans())
    def open(self, strict: bool) -> None:
        _machines[id(self)] = self
        self.node = self.start(mp.Node("here", strict=strict).open)
        self.model = Model()
        self.model.watches = []
        self.log: list[Any] = []
        self.model_ports: list[ModelPort] = []
        self.ids: list[str] = []
        self.counter = 0

    # -- handlers: what both sides do with a message -----------------------------------------

    def handler(self, number: int, *marks: Any) -> Any:
        def handle(*message: Any) -> None:
            self.log.append((number, *marks, *message))
            self.react(number, marks[-1] if len(marks) > 1 else message[0] if message else None)

        return handle

    def react(self, number: int, tag: Any) -> None:
        if tag == "boom":
            raise ValueError("boom")
        if tag == "leave":
            self.node.kil(self.ids[number], "left")
        if tag == "pass":
            after = self.model_ports[number].next
            if after is not None:
                self.node.snd(self.ids[after.name], "note", "passed on")

    def begin(self, number: int) -> None:
        """The init function of a spawned port."""
        self.log.append((number, "init"))
        self.node.rcv(self.ids[number], self.handler(number))

    def new(self, port_id: str) -> int:
        self.ids.append(port_id)
        self.model_ports.append(ModelPort(len(self.ids) - 1))
        return len(self.ids) - 1

    # -- verbs -------------------------------------------------------------------------------

    @rule(target=ports, default=st.booleans())
    def port(self, default: bool) -> int:
        number = len(self.ids)
        handler = self.handler(number) if default else None
        self.new(self.node.port(handler))
        self.model_ports[number].default = default
        return number

    @rule(target=ports, fails=st.booleans())
    def spawn(self, fails: bool) -> int:
        function = "stateful:fail" if fails else "stateful:init"
        port = self.node.spawn("here", function, id(self), len(self.ids))
        number = self.new(port)
        self.model.queue.append((self.model.init, self.model_ports[number], fails))
        return number

    @rule(number=ports, tag=st.sampled_from(TAGS), there=st.booleans())
    def rcv(self, number: int, tag: str, there: bool) -> None:
        port = self.model_ports[number]
        handler = self.handler(number, "tag", tag) if there else None
        if not port.alive:
            with pytest.raises(mp.PortError):
                self.node.rcv(self.ids[number], {tag: handler})
            return
        self.node.rcv(self.ids[number], {tag: handler})
        (port.tags.add if there else port.tags.discard)(tag)

    @rule(number=ports, following=ports)
    def chain(self, number: int, following: int) -> None:
        """From now on, "pass" is passed on to another port."""
        self.model_ports[number].next = self.model_ports[following]

    @rule(number=ports, tags=st.lists(st.sampled_from(TAGS), min_size=1, max_size=3))
    def snd(self, number: int, tags: list[str]) -> None:
        for tag in tags:
            self.counter += 1
            message = (tag, self.counter, [{"k": b"v"}])
            self.node.snd(self.ids[number], *message)
            if self.model_ports[number].alive:
                self.model.queue.append((self.model.deliver, self.model_ports[number], message))

    @rule(number=ports, reason=st.sampled_from([(), ("enough",)]))
    def kil(self, number: int, reason: tuple[Any, ...]) -> None:
        self.node.kil(self.ids[number], *reason)
        if self.model_ports[number].alive:
            self.model.queue.append((self.model.die, self.model_ports[number], reason))

    @rule(target=guards, number=ports)
    def mon(self, number: int) -> Any:
        name = len(self.model.watches)
        guard = self.node.mon(
            self.ids[number], lambda reason: self.log.append(("fired", name, reason))
        )
        return guard, self.watch(number, ModelWatch(name, None, ()))

    @rule(target=guards, number=ports, other=ports, told=st.booleans())
    def mon_other(self, number: int, other: int, told: bool) -> Any:
        message = ("note", "ended") if told else ()
        guard = self.node.mon(self.ids[number], self.ids[other], *message)
        receiver = self.model_ports[other]
        return guard, self.watch(number, ModelWatch(len(self.model.watches), receiver, message))

    def watch(self, number: int, watch: ModelWatch) -> ModelWatch:
        port = self.model_ports[number]
        self.model.watches.append(watch)
        if port.alive:
            port.watches.append(watch)
        else:
            reason: tuple[Any, ...] = (
                "no_such_port",
                "cannot monitor nonexistent port",
                self.ids[number],
            )
            until, error = self.model.spawn_errors.get(port, (0.0, ()))
            if until > self.model.now:
                reason = error
            self.model.queue.append((self.model.fire, watch, reason))
        return watch

    @rule(pair=consumes(guards))
    def cancel(self, pair: Any) -> None:
        guard, watch = pair
        guard.cancel()
        watch.active = False

    @rule(number=ports)
    def mon_and_cancel(self, number: int) -> None:
        """Also of a port that is dead: its notice is queued already."""
        self.cancel(self.mon(number))

    @rule(number=ports, tag=st.sampled_from(["note", "boom", "leave"]))
    def psub(self, number: int, tag: str) -> None:
        """Code of the port that is called from outside: at once, and its errors are the port's."""
        if not self.model_ports[number].alive:
            return

        def act() -> None:
            self.log.append((number, "psub", tag))
            self.react(number, tag)

        sub = self.node.peval(self.ids[number], self.node.psub, act)
        sub()
        self.model.log.append((number, "psub", tag))
        self.model.react(self.model_ports[number], tag)

    @rule(target=timers, number=ports, seconds=st.integers(0, 9))
    def after(self, number: int, seconds: int) -> Any:
        # No two at one time: of those that come together the loop chooses the order.
        self.counter += 1
        delay = seconds + 0.0007 * self.counter
        port = self.model_ports[number]
        message = ("note", self.counter, "timer")
        guard = self.node.after(delay, self.ids[number], *message)
        timer = (
            self.model.now + delay,
            lambda: self.model.queue.append((self.model.deliver, port, message)),
        )
        self.model.timers.append(timer)
        return guard, timer

    @rule(pair=consumes(timers))
    def cancel_timer(self, pair: Any) -> None:
        guard, timer = pair
        guard.cancel()
        if timer in self.model.timers:
            self.model.timers.remove(timer)

    # -- time --------------------------------------------------------------------------------

    @rule()
    def turn(self) -> None:
        """Everything happens that takes no time."""
        self.settle()
        self.model.drain()

    @rule(seconds=st.sampled_from([0.5, 3.25, 30.125]))
    def wait(self, seconds: float) -> None:
        self.turn()
        self.settle(seconds)
        self.model.advance(seconds)

    @invariant()
    def user_code_saw_the_same(self) -> None:
        if hasattr(self, "node"):
            assert self.log == self.model.log

    def teardown(self) -> None:
        """Closing ends every port, tells every monitor, and leaves nothing."""
        if hasattr(self, "node"):
            self.turn()
            for port in self.model_ports:
                self.model.die(port, ("closed", "here"))
            self.loop.run_until_complete(self.node.close())
            self.model.drain()
            assert self.log == self.model.log
            assert not (self.node.ports or self.node.peers or self.node.queue.items)
            assert not [timer for timer in self.loop._scheduled if not timer.cancelled()]
            del _machines[id(self)]
        super().teardown()


TestNode = NodeMachine.TestCase
TestNode.settings = story(250, 40)
