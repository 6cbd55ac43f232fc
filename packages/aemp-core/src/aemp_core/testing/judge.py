"""The judge: which promises a recorded history breaks. It shares no code with what it judges.

One pass over the events of a `History`. What is promised is in the guarantees; how it shows:

**order**. Per sending life and port the numbers that arrive rise: none twice, none before an
earlier one. What arrives was sent, and is what was sent.

**no holes**. From ``watch`` to ``fired`` lies the window of a watch. If a message of a window
arrives, then so did all of the window that the same life had sent to the port before it. A watch
that has not fired has an open window; a cancelled one counts until it is cancelled, since what is
lost later is told to nobody. Watches on one port that fire at the same moment fire together, and
their windows end with the first of them: what its callback sends is sent after the loss was told.
And what was sent before ``healed`` into a window that is open when the calm is over has arrived by
then, if both nodes and the port live.

**once**. A watch fires at most once, in the life that set it, and not when it was cancelled. After
it told a death, nothing arrives that the port's life sent to the watching life before that death.

**notice**. A watch on a port that died, or whose life ended, fires within a bound, counted from
that or from the watch, whatever is later; and before a message arrives that the port's life sent
when, for a while, the port had been dead and something that was sent after the watch had arrived.
It tells a death only of a port that died, or whose life ended or began to close. When a life is
told that a node is down, its watches there have fired.

**identity**. What arrives, arrives in the life that made the port, while both live; port names are
not used again. Between ``up`` and ``down`` of a node messages of one life of it arrive.

**nothing before trust**. Nothing arrives from, and nothing comes up, that was never started; no
stranger has a link.

**calls**. A call ends once, within its timeout, and, like a watch, within a bound when the port is
dead; by the end of the calm, if it began before; and when its node was closed. It does not end with
``timeout`` before its time. (Nobody answers calls of a mailbox: those without timeout may wait.)

**node events**. ``up`` and ``down`` of a node alternate; messages of it arrive between them only,
in a life that notes node events at all.

**no residue**. Nothing is left after a close: what was watched before has fired. A life that ended
does nothing any more.

**liveness**. Who was expected to be linked is.

What is *not* judged, because it would be wrong to:

- A loss (`transport_error`, `send_limit`) may be told at any time, needed or not.
- A closing node: its watches may fire with ``closed``, for ports that live, and no bound holds for
  what it watches and calls. At its peers watches fire so that were set over its link on ports of
  its next life: that is a loss, too.
- A mailbox: what arrived there is noted later, when it is taken out. So it is not compared with
  notices, deaths and node events; order and holes are judged.
- Two lives with one node ID at the same time: either may answer for the other that it has no such
  port, and the last words of the other may come later. Everything else holds.
- Altered bytes: nothing is promised of the link they travelled on. From ``tainted`` until it is
  told that this link is down, a life is *suspicious* of the node: what it sent by then may have
  holes, and what it watched or called meanwhile may tell anything, or nothing.

A stall of the process that waits makes a bound of time longer, by as long as it overlaps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from .history import NEVER, Channel, Event, History, Life, Moment, Port, Wait

__all__ = ["Promise", "Violation", "judge"]

Promise = Literal[
    "order", "no holes", "once", "notice", "identity", "nothing before trust", "calls",
    "node events", "no residue", "liveness",
]  # fmt: skip

#: First words of reasons that tell lost messages; any other tells a death.
LOSSES = frozenset({"transport_error", "send_limit"})
#: How much earlier than its time a timer may seem to fire, in seconds: clocks have a resolution.
EARLY = 0.001
#: Events that mean nothing here.
REMARKS = frozenset({"fault", "twin", "wire"})
#: Events of the whole network, not of one life.
PUBLIC = frozenset({"healed", "judged", "tainted"})
#: What may be noted of a life that has ended: by the driver, or by tasks that unwind.
POSTHUMOUS = frozenset(
    {"cal_end", "closing", "end", "expect", "linked", "residue", "stall", "unwatch"}
)


@dataclass(frozen=True)
class Violation:
    """A promise that was broken: which, how, when (seconds), at which event, and about whom."""

    promise: Promise
    text: str
    time: float
    index: int
    about: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.promise}: {self.text} (event {self.index}, at {self.time:.6f} s)"


def judge(
    history: History, *, notice: float, heartbeats: float = 0.0, slack: float = 1.0
) -> list[Violation]:
    """Judge a whole run, up to the closing of the nodes.

    Args:
        notice: seconds within which a watch or call must end when its port is dead, and all that
            was sent must have arrived when calm begins: the time to give up dialling, the time to
            notice silence, and what the slowest way takes.
        heartbeats: added to `notice`, times the heartbeat of the life that waits.
        slack: seconds the run queue of a node may take, and timers may be late.

    Returns:
        What was broken, in the order in which it showed.

    Raises:
        ValueError: the history is not well-formed.
    """
    return _Judge(history.events, notice, heartbeats, slack).judge()


class _Judge:
    def __init__(self, events: list[Event], notice: float, heartbeats: float, slack: float) -> None:
        self.events = events
        self.notice = notice
        self.heartbeats = heartbeats
        self.slack = slack
        self.violations: list[Violation] = []
        self.here: Moment = NEVER
        # Others may know of a life before it says that it started.
        starts = [event for event in events if event[1] == "start"]
        self.lives = {event[2]: Life(*event[2:5]) for event in starts}
        if len(self.lives) < len(starts):
            raise _malformed("give each life a name of its own", *starts)
        self.nodes = {life.node for life in self.lives.values()}
        self.running: defaultdict[str, list[Life]] = defaultdict(list)  # by node
        self.begun: defaultdict[str, list[Life]] = defaultdict(list)  # the dead among them
        self.tellers = {event[2] for event in events if event[1] in ("up", "down")}
        self.ports: dict[str, Port] = {}
        self.channels: defaultdict[tuple[str, str], Channel] = defaultdict(Channel)
        self.watches: dict[str, Wait] = {}
        self.calls: dict[str, Wait] = {}
        self.expected: dict[tuple[str, str], Moment] = {}
        self.linked: set[tuple[str, str]] = set()
        self.healed: Moment | None = None

    def judge(self) -> list[Violation]:
        handlers: dict[str, Callable[..., None]] = {
            name.removeprefix("on_"): getattr(self, name) for name in dir(self) if name[:3] == "on_"
        }
        for index, event in enumerate(self.events):
            kind = event[1]
            if kind in REMARKS:
                continue
            self.here = event[0], index
            try:
                if kind in PUBLIC:
                    handlers[kind](*event[2:])
                elif event[2] in self.lives or kind not in POSTHUMOUS:
                    self.act(self.lives[event[2]], handlers[kind], event)
                # Else its process ended before its program began: it never was.
            except KeyError as error:
                raise _malformed(f"{error} is unknown: note it when it begins", event) from error
        self.finish()
        return sorted(self.violations, key=lambda violation: violation.index)

    def act(self, life: Life, handler: Callable[..., None], event: Event) -> None:
        if not life.ended or event[1] in POSTHUMOUS:
            handler(life, *event[3:])
        else:
            text = f"{life.name} had ended ({life.how}) when it noted {event[1:]!r}"
            self.blame("identity" if event[1] == "arrived" else "no residue", text, life.name)

    def blame(self, promise: Promise, text: str, *about: str) -> None:
        self.violations.append(Violation(promise, text, *self.here, about))

    # -- lives and ports ---------------------------------------------------------------------

    def on_start(self, life: Life, *_: object) -> None:
        for other in self.running[life.node]:
            other.twin = life.twin = True
        self.running[life.node].append(life)
        self.begun[life.node].append(life)

    def on_closing(self, life: Life) -> None:
        if life.busy:
            self.look_at_all(life)
            life.closing = self.here

    def on_end(self, life: Life, how: str) -> None:
        if not life.ended:
            self.look_at_all(life)
            life.ended, life.how = self.here, how
            self.running[life.node].remove(life)

    def on_port(self, life: Life, name: str, kind: str = "handler") -> None:
        if name in self.ports:
            self.blame("identity", f"port {name} was made twice", name)
        self.ports.setdefault(name, Port(name, life, kind == "mailbox"))

    def on_died(self, life: Life, name: str, *_: object) -> None:
        port = self.ports[name]
        if not port.died:
            port.died = self.here
            for watch in port.watches:
                watch.doom(port, self.here)

    def on_stall(self, life: Life, seconds: float) -> None:
        life.stalls.append((self.here[0], self.here[0] + seconds))

    # -- messages ----------------------------------------------------------------------------

    def on_sent(self, life: Life, port: str, number: int) -> None:
        sent = self.channels[life.name, port].sent
        sent.append(self.here)
        if number != len(sent):
            raise _malformed(f"the next number is {len(sent)}", life.name, port, number)

    def on_garbled(self, life: Life, port: str) -> None:
        taken_out_late = port in self.ports and self.ports[port].mailbox and life.cleared
        if not life.suspects and not taken_out_late:
            self.blame("order", f"{port} got in {life.name} what nobody sent", life.name, port)

    def on_arrived(self, life: Life, port_name: str, sender_name: str, number: int) -> None:
        what = f"message {number} of {sender_name} to {port_name}"
        about = sender_name, life.name, port_name
        port, sender = self.ports.get(port_name), self.lives.get(sender_name)
        if sender is None:
            self.blame("nothing before trust", f"{what} arrived; that life never was", *about)
            return
        channel = self.channels[sender_name, port_name]
        if port is None or port.life is not life:
            maker = "nobody" if port is None else port.life.name
            self.blame("identity", f"{what} arrived in {life.name}; {maker} made it", *about)
        elif number > len(channel.sent):
            self.blame("order", f"{what} arrived and was not sent", *about)
        elif number <= channel.arrived:
            self.blame("order", f"{what} arrived after message {channel.arrived}", *about)
        else:
            if number > channel.arrived + 1:
                self.hole(channel, sender, life.node, number, what)
            channel.arrived = number
            sent = channel.sent[number - 1]
            for watch in life.receive(sender, sent, self.here, self.slack):
                text = f"{what} was sent long after the death of a port there, and arrived before "
                self.blame("notice", f"{text}the {watch} fired", watch.name, watch.target)
            if not port.mailbox:
                self.arrived_now(port, sender, sent, what)

    def arrived_now(self, port: Port, sender: Life, sent: Moment, what: str) -> None:
        """Hold a message that arrives now against deaths, notices and node events."""
        life = port.life
        about = sender.name, life.name, port.name
        if port.died:
            self.blame("identity", f"{what} arrived when the port was dead", *about)
        if sent < life.told.get(sender.name, NEVER):
            text = f"{what} was sent before the death of a port there and came after its notice"
            self.blame("once", text, *about)
        if sender is life or life.name not in self.tellers or life.closing:
            return
        heard = life.up.get(sender.node)
        if heard is None:
            self.blame("node events", f"{what} arrived; that node is not up there", *about)
        elif heard in ("", sender.name):
            life.up[sender.node] = sender.name
        else:
            text = f"{what} arrived; since the node is up there {heard} was heard"
            self.blame("identity", text, heard, *about)

    def hole(self, channel: Channel, sender: Life, home: str, number: int, what: str) -> None:
        """Messages before `number` are missing: does a window hold it and one of them?"""
        missing, this = channel.sent[number - 2 : number]
        if home in sender.suspects or missing < sender.cleared.get(home, NEVER):
            return
        watch = channel.window(missing, this)
        if watch is not None:
            told = "told it too late" if watch.over else "did not tell"
            text = f"{what} arrived, message {number - 1} did not; the {watch} {told}"
            self.blame("no holes", text, sender.name, watch.target, watch.name)

    # -- watches and calls -------------------------------------------------------------------

    def begin(self, wait: Wait, known: dict[str, Wait]) -> None:
        if wait.name in known:
            raise _malformed("give each watch, and each call, a name of its own", wait.name)
        known[wait.name] = wait
        wait.enter()

    def end(self, wait: Wait, how: str) -> None:
        self.look_at(wait)
        wait.leave(how)

    def bound(self, life: Life) -> float:
        return self.notice + self.heartbeats * life.heartbeat + self.slack

    def look_at(self, wait: Wait) -> None:
        """Blame a watch or call that ends, or is there still, later than its time."""
        due = wait.due(self.bound(wait.life), self.slack)
        if wait.life.busy and due is not None and self.here[0] > due:
            text = f"the {wait} should have ended by {due:.6f} s"
            about = wait.name, wait.life.name, wait.target
            self.blame("notice" if wait.channel else "calls", text, *about)

    def look_at_all(self, life: Life) -> None:
        for wait in chain.from_iterable(life.waits.values()):
            self.look_at(wait)

    def on_watch(self, life: Life, name: str, target: str) -> None:
        port, channel = self.ports.get(target), self.channels[life.name, target]
        self.begin(Wait(name, life, target, port, channel, None, self.here), self.watches)

    def on_unwatch(self, life: Life, name: str) -> None:
        if not self.watches[name].over:
            self.end(self.watches[name], "cancelled")

    def on_fired(self, life: Life, name: str, word: str, *_: object) -> None:
        watch = self.watches.get(name)
        if watch is None or watch.channel is None or watch.life is not life:
            self.blame("once", f"{name} fired in {life.name}, which set no such watch", name)
            return
        if watch.over:
            self.blame("once", f"the {watch} fired when it was {watch.over}", name, watch.target)
            return
        for each in watch.channel.open:
            if each.end[0] != self.here[0]:
                each.end = self.here
        watch.channel.fired.append(watch)
        self.end(watch, "fired")
        port = watch.port
        if word in LOSSES or watch.excused or port is None:
            return
        if (word == "closed" and life.closing) or (word == "no_such_port" and port.life.twin):
            return
        death = port.died or port.life.closing or port.life.ended
        former = (each.closing for each in self.lives.values() if each.node == port.life.node)
        if death is None and not (word == "closed" and any(former)):
            text = f"the {watch} told a death ({word or 'normal end'}) that did not happen"
            self.blame("notice", text, name, life.name, port.name)
        elif death is not None:
            life.told[port.life.name] = max(death, life.told.get(port.life.name, NEVER))

    def on_cal(self, life: Life, name: str, target: str, timeout: float | None) -> None:
        port = self.ports.get(target)
        self.begin(Wait(name, life, target, port, None, timeout, self.here), self.calls)

    def on_cal_end(self, life: Life, name: str, outcome: str) -> None:
        call = self.calls.get(name)
        if call is None or call.life is not life:
            self.blame("calls", f"{name} ended in {life.name}, which began no such call", name)
        elif call.over:
            self.blame("calls", f"the {call} ended twice: {call.over}, {outcome}", name)
        else:
            timeout = float("inf") if call.timeout is None else call.timeout
            if outcome == "timeout" and self.here[0] < call.begun[0] + timeout - EARLY:
                self.blame("calls", f"the {call} timed out before its time", name, call.target)
            self.end(call, outcome)

    # -- nodes -------------------------------------------------------------------------------

    def on_up(self, life: Life, node: str) -> None:
        if node not in self.nodes:
            self.blame("nothing before trust", f"{node} came up; no such node was started", node)
        if node in life.up:
            self.blame("node events", f"{life.name} was told twice that {node} is up", node)
        life.up[node] = ""
        life.link_changed(node, True, self.here, self.slack)

    def on_down(self, life: Life, node: str) -> None:
        if node not in life.up:
            self.blame("node events", f"{life.name} was told twice that {node} is down", node)
        life.up.pop(node, None)
        life.link_changed(node, False, self.here, self.slack)
        for wait in () if life.closing else list(life.waits[node]):
            # Younger ones may have been set between the loss and the notice of it.
            if wait.channel and self.here[0] > life.after(wait.begun[0], self.slack):
                text = f"{life.name} was told that {node} is down, and not by the {wait}"
                self.blame("notice", text, wait.name, life.name, wait.target)
                del life.waits[node][wait]

    def on_tainted(self, one: str, another: str) -> None:
        for node, other in ((one, another), (another, one)):
            for life in self.begun[node]:  # bytes of the dead may still be on their way
                life.suspects[other] = self.here[0], False
                for wait in life.waits[other]:
                    wait.excused = True

    def on_intruder(self, life: Life, node: str) -> None:
        self.blame("nothing before trust", f"{life.name} has a link to {node} of a stranger", node)

    # -- the end -----------------------------------------------------------------------------

    def on_healed(self) -> None:
        self.healed = self.here

    def on_judged(self) -> None:
        for wait in (*self.watches.values(), *self.calls.values()):
            if self.healed and not wait.over and not wait.excused and wait.life.busy:
                self.after_calm(wait, self.healed)

    def after_calm(self, wait: Wait, healed: Moment) -> None:
        """What a call waits for has come, and what was sent under the eyes of a watch."""
        life, port, channel = wait.life, wait.port, wait.channel
        if port is None or not port.life.busy or port.died or wait.begun > healed:
            return
        bound = self.bound(life)
        if self.here[0] <= max(each.after(healed[0], bound) for each in (life, port.life)):
            return
        due = 0 if channel is None else bisect_left(channel.sent, healed)
        if channel is None and not port.mailbox:
            text = f"the {wait} began before the last fault was mended and did not end"
            self.blame("calls", text, wait.name, life.name, wait.target)
        elif channel and channel.arrived < due and channel.sent[due - 1] > wait.begun:
            text = f"message {due} of {life.name} to {port.name} never arrived, and the {wait} "
            text += f"did not tell; the last one to arrive was {channel.arrived}"
            self.blame("no holes", text, wait.name, life.name, port.name)

    def on_residue(self, life: Life, text: str) -> None:
        self.blame("no residue", f"{life.name} left {text}", life.name)

    def on_expect(self, life: Life, node: str) -> None:
        self.expected[life.name, node] = self.here

    def on_linked(self, life: Life, node: str) -> None:
        self.linked.add((life.name, node))

    def finish(self) -> None:
        """Look at what has not ended at all."""
        for life in self.lives.values():
            self.look_at_all(life)
        for wait in (*self.watches.values(), *self.calls.values()):
            leaving = wait.life.closing or wait.life.ended
            if wait.life.how == "close" and not wait.over and leaving and wait.begun < leaving:
                text = f"the {wait} did not end when its node was closed"
                self.blame("no residue" if wait.channel else "calls", text, wait.name)
        for pair, moment in self.expected.items():
            if pair not in self.linked:
                self.here = moment
                self.blame("liveness", f"{pair[0]} can reach {pair[1]} and has no link", *pair)


def _malformed(remedy: str, *what: object) -> ValueError:
    return ValueError(f"{', '.join(map(repr, what))}: {remedy}")
