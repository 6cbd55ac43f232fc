"""Options that the subcommands share, and the `Visit` they describe: an anonymous node that
joins the network for the length of one command.

Commands of plugins use them, too, and are loaded for ``aemp --help``: so what takes long to import
is imported where it is used.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import CallTimeout, ConfigError
from .outcome import TIMED_OUT, Failed
from .words import PROFILE

if TYPE_CHECKING:
    import asyncio

    from ..node import Node

__all__ = [
    "Visit",
    "as_json",
    "beyond",
    "interruption",
    "read_secret_file",
    "secret_file",
    "timeout",
    "unless",
    "visiting",
    "within",
]

T = TypeVar("T")
Command = Callable[..., Any]

DEFAULT_TIMEOUT = 10.0
#: Seconds that finding out what may have been meant takes at most.
HINT_SECONDS = 1.0

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")

secret_file = click.option(
    "--secret-file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Read the network's secret from FILE, as 'aemp secret new --output FILE' writes it.",
)

timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for each thing that has to happen.",
)


@dataclasses.dataclass(frozen=True)
class Visit:
    """How to join a network.

    Attributes:
        profile: whose secret, seeds and limits to use; None: the configuration's defaults.
        seeds: addresses to dial, instead of the configured ones unless empty.
        secret_file: a file to read the secret from, instead of the configured one.
        timeout: seconds to wait for each thing that has to happen.
    """

    profile: str | None
    seeds: tuple[str, ...]
    secret_file: str | None
    timeout: float

    @asynccontextmanager
    async def node(self) -> AsyncIterator[Node]:
        """An anonymous node that neither listens nor runs services, while the block lasts."""
        from ..config import load
        from ..node import Node

        words: dict[str, Any] = {}
        if self.seeds:
            words["seeds"] = self.seeds
        if self.secret_file is not None:
            words["secret"] = read_secret_file(self.secret_file)
        settings = load(self.profile, words=words)
        if not settings.seeds:
            raise ConfigError(
                "there is no seed to ask for the network: name one with --seed ADDRESS, or set "
                "'seeds' in the configuration"
            )
        # The profile may be that of a running node: its name, its addresses and what it does
        # are its own.
        settings = dataclasses.replace(
            settings, nodeid="anon/", binds=(), advertise=(), services=(), expose=()
        )
        async with Node.of(settings) as node:
            yield node

    async def reach(self, node: Node, target: str) -> None:
        """Wait for a link to the node of `target`; else the error names the nearest node there is,
        or why no seed answers."""
        from ..ids import check_port_id

        name, _ = check_port_id(target)
        what = f"a link to node {name!r} (seeds: {', '.join(node.settings.seeds)})"
        try:
            await within(self.timeout, what, node.up(name))
        except Failed as error:
            raise Failed(f"{error}{await _hint(node, name)}", error.code) from None

    async def join(self, node: Node) -> list[str]:
        """Wait for a link to one of the seeds, and return the IDs of the nodes linked then."""
        import asyncio

        linked = asyncio.Event()
        guard = node.mon_nodes(lambda peer, is_up, reason: linked.set() if is_up else None)
        try:
            if not node.up_nodes():
                what = f"a seed to answer (seeds: {', '.join(node.settings.seeds)})"
                await within(self.timeout, what, linked.wait())
        except Failed as error:
            raise Failed(f"{error}{_why_no_seed(node)}", error.code) from None
        finally:
            guard.cancel()
        return node.up_nodes()


def _why_no_seed(node: Node) -> str:
    return f": {node.dialler.last_failure('')}; 'aemp doctor' tells more"


async def _hint(node: Node, name: str) -> str:
    """What may be wrong with a name to which no link could be made."""
    import asyncio

    from ..settings import nearest

    linked = node.up_nodes()
    if not linked:
        return _why_no_seed(node)
    known = {*linked}
    asked = [node.cal(peer, "up_nodes", timeout=HINT_SECONDS) for peer in linked]
    for answer in await asyncio.gather(*asked, return_exceptions=True):
        if not isinstance(answer, BaseException):
            known.update(each for each in answer if isinstance(each, str))
    if name in known:
        return f": other nodes know it, but it does not answer{beyond(node)}"
    near = nearest(name, known - {node.id, name}, cutoff=0.6)
    return "" if near is None else f": did you mean {near!r}?"


def beyond(node: Node) -> str:
    """What keeps a visitor from nodes that others know; "" if it is nothing of its own."""
    return "" if node.address_hooks else "; only aemp-global finds nodes beyond the seeds"


def visiting(command: Command) -> Command:
    """Give `command` the options of a `Visit`, and the visit as its argument `visit`."""

    def call(
        profile: str | None,
        seeds: tuple[str, ...],
        secret_file: str | None,
        timeout: float,
        **rest: Any,
    ) -> Any:
        return command(visit=Visit(profile, seeds, secret_file, timeout), **rest)

    call.__doc__ = command.__doc__
    call.__name__ = command.__name__
    decorated: Command = call
    for option in (
        timeout,
        secret_file,
        click.option(
            "--seed",
            "seeds",
            multiple=True,
            metavar="ADDRESS",
            help="Join at this address, for example tcp://host:4040; may be repeated.",
        ),
        click.option(
            "--profile",
            metavar="NAME",
            type=PROFILE,
            help="Use the secret and seeds of this profile.",
        ),
    ):
        decorated = option(decorated)
    # click keeps options in a list on the function; those already there are the command's own.
    decorated.__click_params__ = [  # type: ignore[attr-defined]
        *getattr(command, "__click_params__", []),
        *decorated.__click_params__,  # type: ignore[attr-defined]
    ]
    return decorated


async def within(seconds: float, what: str, waiting: Coroutine[Any, Any, T]) -> T:
    """The result of `waiting`; after `seconds`, exit code 3 and a line that names `what`."""
    import asyncio  # which commands that talk to nobody do without

    try:
        return await asyncio.wait_for(waiting, seconds)
    except (asyncio.TimeoutError, CallTimeout):
        raise Failed(f"gave up after {seconds:g} s waiting for {what}", TIMED_OUT) from None


def interruption() -> asyncio.Event:
    """An event that Ctrl-C sets from now on, for commands that end in good order by it.

    Before, Ctrl-C is what it always is: so call this when there is something to end in good order.
    """
    import asyncio
    import signal

    interrupted = asyncio.Event()
    with suppress(NotImplementedError, RuntimeError):  # not on Windows, not in other threads
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    return interrupted


async def unless(interrupted: asyncio.Event, doing: Coroutine[Any, Any, object]) -> bool:
    """Wait for `doing`; False if the event came first, which cancels it."""
    import asyncio

    task, waiting = asyncio.ensure_future(doing), asyncio.ensure_future(interrupted.wait())
    both: set[asyncio.Future[Any]] = {task, waiting}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        task.result()
        return True
    finally:
        for each in both:
            each.cancel()


def read_secret_file(path: str) -> bytes:
    """The secret in the file, without the line end; raises `ConfigError` if others may read it."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read(64 * 1024).rstrip(b"\r\n")
    except OSError as error:
        raise ConfigError(f"secret file {path}: {error.strerror or error}") from None
    if os.name == "posix" and stat.S_ISREG(mode) and mode & 0o077:
        raise ConfigError(f"secret file {path}: others may read it: run 'chmod 600 {path}'")
    return secret
