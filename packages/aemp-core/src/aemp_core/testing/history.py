"""A history: what happened in one simulated network, in the order it happened, and to whom.

Agents on every node and the driver of the faults append to one list; the order of the list is the
true order, since everything runs in one thread. `judge` reads it afterwards, and knows nothing
else of the run. A *life* is one incarnation of one node and has a name of its own, ``alice@3``;
ports, watches and calls have names that are never used again. The events:

``start``, life, node ID, heartbeat seconds
    The node is open; it may come after the node became known to others.
``closing``, life; ``end``, life, how
    `close()` is called; it returned (``close``), or the process is gone (``kill``, ``power off``).
``port``, life, port, kind; ``died``, life, port
    The port exists: a ``handler`` is a plain function, a ``mailbox`` a coroutine that takes
    messages out. It died: noted by a `mon_guard`, so after everything that was sent before, and
    before anybody is told.
``sent``, life, port, number
    `snd(port, ...)` is called. The number counts 1, 2, 3, ... for this life and this port.
``arrived``, life, port, sender's life, number
    The handler begins, or the message was taken out of the mailbox, in that life.
``garbled``, life, port
    What arrived there has a wrong checksum, which is over port, sender's life and number too.
``watch``, life, watch, port; ``unwatch``, life, watch
    `mon` is called; `cancel()` was called.
``fired``, life, watch, word, text
    The callback begins; the word is that of the reason, ``""`` for `()`.
``cal``, life, call, port, timeout; ``cal_end``, life, call, outcome
    `await cal` begins; the timeout is None or seconds. It ended with a ``reply``, ``killed``,
    ``timeout`` or ``cancelled``.
``up``, life, node ID; ``down``, life, node ID
    What `mon_nodes`, called outside any port, told that life. A link that is up when it is called
    is noted as ``up`` there and then.
``stall``, life, seconds
    From now on its process does not run for so long.
``tainted``, node ID, node ID
    Bytes between the two are altered as they are delivered.
``intruder``, life, node ID
    That life has a link, as if to that node, which a stranger made.
``fault``, text; ``twin``, node ID; ``wire``, ...; ``healed``
    What the driver did, what the network did; the last fault is mended, and calm begins.
``expect``, life, node ID; ``linked``, life, node ID
    At the end of the calm: they must have a link by now; they have.
``judged``
    The calm is over: nodes are closed, in order.
``residue``, life, text
    Something of it was left after `close()`.

A reader keeps a `Life`, `Port`, `Channel` and `Wait` of what the events are about.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

__all__ = ["NEVER", "Channel", "Event", "History", "Life", "Moment", "Port", "Wait"]

#: The time, the kind, and what else its kind has.
Event = tuple[Any, ...]
#: When something happened: the time, and the index of the event, which makes it unique.
Moment = tuple[float, int]
#: Before everything.
NEVER: Moment = (-1.0, -1)

#: What an event may hold: values whose text is the same in every run.
PLAIN = frozenset({str, int, float, bool, type(None)})


class History:
    """The events of one run.

    Args:
        clock: gives the virtual time, in seconds.

    Attributes:
        events: a tuple ``(time, kind, *details)`` each, in the order they happened.
    """

    __slots__ = ("_append", "_clock", "events")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.events: list[Event] = []
        self._append = self.events.append
        self._clock = clock

    def note(self, kind: str, *details: Any) -> None:
        """Append an event, now. Details are str, int, float, bool, None, and tuples of such."""
        self._append((self._clock(), kind, *details))

    def __len__(self) -> int:
        return len(self.events)

    def digest(self) -> str:
        """SHA-256 over all events, in hex: equal in every run and on every Python, if they are.

        Raises:
            TypeError: an event holds what has no text of its own, so that no digest could be equal.
        """
        _check(self.events)
        digest = hashlib.sha256()
        for event in self.events:
            digest.update(ascii(event).encode())
            digest.update(b"\n")
        return digest.hexdigest()

    def text(
        self,
        index: int | None = None,
        *,
        before: int = 30,
        after: int = 5,
        about: Collection[Any] = (),
    ) -> str:
        """Events as lines for people, with their index and time; the one at `index` is marked.

        Args:
            index: the event in question; None: the whole history.
            before: how many lines before it.
            after: how many lines after it.
            about: show events only that hold one of these (a life, a port, a watch), and what the
                driver did; empty: all events.
        """
        about = frozenset(about)
        shown = [
            place
            for place, event in enumerate(self.events)
            if not about or place == index or event[1] in _ALWAYS or not about.isdisjoint(event[2:])
        ]
        if index is not None:
            at = next((each for each, place in enumerate(shown) if place >= index), len(shown))
            shown = shown[max(0, at - before) : at + after + 1]
        return "\n".join(_line(self.events[place], place, place == index) for place in shown)


#: Events that are shown whatever is asked about.
_ALWAYS = frozenset({"fault", "healed", "judged"})


def _line(event: Event, place: int, marked: bool) -> str:
    details = "  ".join(
        each.encode("unicode_escape").decode() if isinstance(each, str) else ascii(each)
        for each in event[2:]
    )
    return f"{'>' if marked else ' '}{place:6} {event[0]:12.6f}  {event[1]:8}  {details}".rstrip()


def _check(events: list[Event]) -> None:
    kinds = {type(each) for event in events for each in event}
    if not kinds <= PLAIN:
        for event in events:
            _check_plain(event, event)


def _check_plain(value: Any, event: Event) -> None:
    if type(value) is tuple:
        for each in value:
            _check_plain(each, event)
    elif type(value) not in PLAIN:
        raise TypeError(
            f"{value!r} in the event {event[1]!r} at {event[0]!r}: an event holds str, int, float, "
            "bool, None and tuples of them; give its name or its number"
        )


@dataclass(eq=False)
class Life:
    """One incarnation of a node, and what is under way there.

    Attributes:
        how: it ended.
        twin: another life of its node ran at the same time.
        stalls: when its process did not run: from, until.
        waits: its watches and calls that are not over, by the node they are about.
        up: the nodes that are up, with the life whose messages arrived since.
        suspects: the nodes with which it has a link that altered bytes may have come over: since
            when, and whether that can be none but the present link.
        cleared: when it had such a link no more, by node.
        told: by life, the latest death of a port there that was told here.
        heard: by life, when the last of what arrived there was sent here.
        doomed: by life, the watches on ports there that are dead.
    """

    name: str
    node: str
    heartbeat: float
    closing: Moment | None = None
    ended: Moment | None = None
    how: str = ""
    twin: bool = False
    stalls: list[tuple[float, float]] = field(default_factory=list)
    waits: defaultdict[str, dict[Wait, None]] = field(default_factory=lambda: defaultdict(dict))
    up: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, tuple[float, bool]] = field(default_factory=dict)
    cleared: dict[str, Moment] = field(default_factory=dict)
    told: dict[str, Moment] = field(default_factory=dict)
    heard: dict[str, Moment] = field(default_factory=dict)
    doomed: defaultdict[str, dict[Wait, None]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def busy(self) -> bool:
        """Neither closing nor ended."""
        return self.closing is None and self.ended is None

    def after(self, since: float, seconds: float) -> float:
        """When it will have run for so many seconds: stalls do not count."""
        end = since + seconds
        for begin, until in self.stalls:
            if begin > end:
                break
            end += max(0.0, until - max(begin, since))
        return end

    def receive(self, sender: Life, sent: Moment, now: Moment, slack: float) -> list[Wait]:
        """A message arrives here: the watches of which the sender should have told a death before.

        By now this life knows of what the sender watched here when it sent the message.
        """
        sender.heard[self.name] = max(sent, sender.heard.get(self.name, NEVER))
        for watch in sender.doomed.get(self.name, ()):
            if not watch.known and watch.begun < sent:
                watch.known = now
        late = [
            watch
            for watch in self.doomed.get(sender.name, ())
            if watch.known and sent[0] > sender.after(watch.known[0], slack)
        ]
        for watch in late:
            del self.doomed[sender.name][watch]
        return [watch for watch in late if self.busy and not watch.excused]

    def link_changed(self, node: str, up: bool, now: Moment, slack: float) -> None:
        """Suspicion ends with the link in question: the one there was, or one that comes at once,
        which is the case when the other side had it earlier."""
        if node not in self.suspects:
            return
        since, present = self.suspects[node]
        at_once = now[0] <= self.after(since, slack)
        if up and at_once:
            self.suspects[node] = since, True
        elif up or present or not at_once:
            del self.suspects[node]
            self.cleared[node] = now


@dataclass(eq=False)
class Port:
    """A port, in the life that made it; from a mailbox, messages are taken out later."""

    name: str
    life: Life
    mailbox: bool
    died: Moment | None = None
    watches: dict[Wait, None] = field(default_factory=dict)


@dataclass(eq=False)
class Channel:
    """What one life sent to one port, number 1 first; the last number that arrived; its watches."""

    sent: list[Moment] = field(default_factory=list)
    arrived: int = 0
    open: dict[Wait, None] = field(default_factory=dict)
    fired: list[Wait] = field(default_factory=list)

    def window(self, one: Moment, another: Moment) -> Wait | None:
        """A watch in whose window both messages were sent, the one before the other."""
        fired = takewhile(lambda watch: another < watch.end, reversed(self.fired))
        return next((watch for watch in (*self.open, *fired) if watch.begun < one), None)


@dataclass(eq=False)
class Wait:
    """A watch, or (no channel) a call.

    Attributes:
        port: None, if nobody made a port of this name.
        excused: it began or went on while its life was suspicious of the port's node.
        over: how it ended.
        end: of its window, at the latest.
        known: when the life of the port, which is dead, must have known of both.
    """

    name: str
    life: Life
    target: str
    port: Port | None
    channel: Channel | None
    timeout: float | None
    begun: Moment
    excused: bool = False
    over: str = ""
    end: Moment = NEVER
    known: Moment | None = None

    @property
    def home(self) -> str:
        """The node it is about, if that is known."""
        return "" if self.port is None else self.port.life.node

    def enter(self) -> None:
        """It begins."""
        self.excused = self.home in self.life.suspects
        self.life.waits[self.home][self] = None
        if self.channel:
            self.channel.open[self] = None
            if self.port:
                self.port.watches[self] = None
                if self.port.died:
                    self.doom(self.port, self.begun)

    def leave(self, how: str) -> None:
        """It is over."""
        self.over = how
        self.life.waits[self.home].pop(self, None)
        if self.channel:
            self.channel.open.pop(self, None)
            if self.port:
                self.port.watches.pop(self, None)
                self.life.doomed[self.port.life.name].pop(self, None)

    def doom(self, port: Port, now: Moment) -> None:
        """Its port is dead, which its life may not have been told yet."""
        self.life.doomed[port.life.name][self] = None
        if self.begun < self.life.heard.get(port.life.name, NEVER):
            self.known = now

    def due(self, bound: float, slack: float) -> float | None:
        """When it should end: `bound` seconds after a death there, `slack` after one at home."""
        due = []
        if self.timeout is not None:
            due.append(self.life.after(self.begun[0], self.timeout + slack))
        dead = self.port and (self.port.died or self.port.life.ended)
        if self.port and dead and not self.excused:
            bound = slack if self.port.life is self.life else bound
            due.append(self.life.after(max(dead, self.begun)[0], bound))
        return min(due, default=None)

    def __str__(self) -> str:
        kind = "call" if self.channel is None else "watch"
        return f"{kind} {self.name} of {self.life.name} on {self.target}"
