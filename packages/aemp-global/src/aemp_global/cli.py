"""``aemp groups`` and ``aemp db``: what is registered in a network.

They only read. An entry belongs to the node that wrote it and is gone when that is, so one that a
command wrote would be gone when the command has ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from aemp_core.cli.manual import Command, Group
from aemp_core.cli.options import Visit, as_json, interruption, visiting, within
from aemp_core.cli.outcome import Failed
from aemp_core.cli.text import for_people, printable, to_json

if TYPE_CHECKING:
    from .groups import Groups

__all__ = ["db", "groups"]

watching = click.option(
    "--watch", is_flag=True, help="Go on, and print who comes and goes, until Ctrl-C."
)
#: Families or groups that are listed.
LISTED = 10_000


@asynccontextmanager
async def _at_home(visit: Visit) -> AsyncIterator[Groups]:
    """The registry as a visitor sees it that has found a home, a node that knows it."""
    from .groups import of

    async with visit.node() as node:
        await visit.join(node)
        here = of(node)
        what = f"a global node (linked with {', '.join(node.up_nodes())}): is aemp-global there?"
        await within(visit.timeout, what, here.homing.found())
        yield here


async def _families(here: Groups, visit: Visit, begins: str) -> list[tuple[str, int]]:
    """The families whose names begin so, without that beginning, and how many keys each has.

    Without a beginning, all that are not our own.
    """
    from aemp_core.cli.asking import ask_pages

    from .contents import REQUEST
    from .entries import OURS

    home = str(here.exchange.home)
    _, rows = await ask_pages(here.node, home, visit.timeout, REQUEST, LISTED, begins)
    found = [
        (row["family"].removeprefix(begins), row["keys"])
        for row in rows
        if isinstance(row.get("family"), str) and type(row.get("keys")) is int
    ]
    return sorted(each for each in found if begins or not each[0].startswith(OURS))


async def _first(
    visit: Visit, what: str, watch: Callable[[Callable[..., None]], Any]
) -> Sequence[Any]:
    """The first report that a watch gives, which tells all there is."""
    import asyncio

    report: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()

    async def told() -> Sequence[Any]:
        return await report

    def first(*all_there_is: Any) -> None:
        if not report.done():
            report.set_result(all_there_is)

    guard = watch(first)
    try:
        return await within(visit.timeout, what, told())
    finally:
        guard.cancel()


# -- groups ----------------------------------------------------------------------------------------


@click.command(
    "groups",
    short_help="List groups, or the ports in one.",
    cls=Command,
    examples=[
        ("aemp groups --seed tcp://10.0.0.1:4040", "List the groups of the network."),
        ("aemp groups greeters", "List the ports in one of them."),
        ("aemp groups --watch --json greeters", "Go on telling who comes and leaves, for scripts."),
    ],
    exit_codes={1: "no port is in GROUP"},
    see_also=["db", "ports"],
)
@visiting
@watching
@as_json
@click.argument("group", required=False)
def groups(visit: Visit, watch: bool, as_json: bool, group: str | None) -> int:
    """List the groups of the network, or the ports that are in GROUP, one on each line.

    With --watch: "+ PORT" for each that is there or comes, "- PORT" for each that leaves.
    """
    import asyncio

    if watch and group is None:
        raise click.UsageError("--watch watches one group: name it")
    from .entries import GROUPS

    if group is None:
        _list(asyncio.run(_sizes(visit, GROUPS)), ("GROUP", "PORTS"), as_json)
        return 0
    if watch:
        asyncio.run(_watch_group(visit, group, as_json))
        return 0
    ports = asyncio.run(_members(visit, group))
    for line in [to_json(ports)] if as_json else map(printable, ports):
        click.echo(line)
    return 0


async def _sizes(visit: Visit, begins: str) -> list[tuple[str, int]]:
    async with _at_home(visit) as here:
        return await _families(here, visit, begins)


def _list(sizes: list[tuple[str, int]], heads: tuple[str, str], as_json: bool) -> None:
    from aemp_core.cli.columns import Column, lay_out, shown, width

    if as_json:
        click.echo(to_json(dict(sizes)))
    else:
        columns = [Column(heads[0]), Column(heads[1], right=True)]
        rows = [[printable(name), f"{size:,}"] for name, size in sizes]
        shown(lay_out(columns, rows, width()))


async def _members(visit: Visit, group: str) -> list[str]:
    async with _at_home(visit) as here:
        what = f"the ports in the group {group!r}"
        ports = list((await _first(visit, what, lambda told: here.grp_mon(group, told)))[0])
        if not ports:
            from .entries import GROUPS

            known = [name for name, _ in await _families(here, visit, GROUPS)]
            raise Failed(f"no port is in the group {group!r}{_nearest(group, known)}")
        return sorted(ports)


def _nearest(name: str, known: Sequence[str]) -> str:
    from aemp_core.settings import nearest

    near = nearest(name, known)
    return "" if near is None else f": did you mean {near!r}?"


async def _watch_group(visit: Visit, group: str, as_json: bool) -> None:
    def told(ports: Sequence[str], added: Sequence[str], removed: Sequence[str]) -> None:
        if as_json:
            click.echo(to_json({"ports": ports, "added": added, "removed": removed}))
        else:
            for sign, changed in (("-", removed), ("+", added)):
                for port in changed:
                    click.echo(f"{sign} {printable(port)}")

    await _watch(visit, lambda here: here.grp_mon(group, told))


async def _watch(visit: Visit, begin: Callable[[Groups], Any]) -> None:
    async with _at_home(visit) as here:
        interrupted = interruption()
        begin(here)
        await interrupted.wait()


# -- the registry ----------------------------------------------------------------------------------


@click.group(
    "db",
    short_help="Read what nodes have registered.",
    cls=Group,
    examples=[
        ("aemp db families", "List what is registered."),
        ("aemp db get prices", "Print the values of a family."),
    ],
    see_also=["groups"],
)
def db() -> None:
    """Read the registry: families of values by key, each written by one node.

    There is no command that writes: an entry is gone when the node that wrote it is, and a command
    is one as long as it runs.
    """


@db.command(
    cls=Command,
    examples=[
        ("aemp db families --seed tcp://10.0.0.1:4040", "List what is registered in the network."),
    ],
    see_also=["db get"],
)
@visiting
@as_json
def families(visit: Visit, as_json: bool) -> None:
    """List the families, and how many keys each has."""
    import asyncio

    _list(asyncio.run(_sizes(visit, "")), ("FAMILY", "KEYS"), as_json)


@db.command(
    short_help="Print the values of a family, or that of one key.",
    cls=Command,
    examples=[
        ("aemp db get --seed tcp://10.0.0.1:4040 prices", "Print a family."),
        ("aemp db get --json prices apple", "Print one value of it, for scripts."),
    ],
    exit_codes={1: "there is no such family or key"},
    see_also=["db mon"],
)
@visiting
@as_json
@click.argument("family")
@click.argument("key", required=False)
def get(visit: Visit, as_json: bool, family: str, key: str | None) -> None:
    """Print the values of FAMILY with their keys and the nodes that wrote them, or that of KEY."""
    import asyncio

    from aemp_core.cli.columns import Column, lay_out, shown, width

    rows = asyncio.run(_rows(visit, family, key))
    if key is not None:
        value = rows[key][0]
        click.echo(to_json(value) if as_json else for_people([value]))
    elif as_json:
        click.echo(to_json({name: value for name, (value, _) in rows.items()}))
    else:
        columns = [Column("KEY"), Column("OWNER", rank=1), Column("VALUE", least=20)]
        cells = [
            [printable(name), owner, for_people([value])]
            for name, (value, owner) in sorted(rows.items())
        ]
        shown(lay_out(columns, cells, width()))


@db.command(
    cls=Command,
    examples=[
        ("aemp db keys --seed tcp://10.0.0.1:4040 prices", "Print what there are prices of."),
    ],
    exit_codes={1: "there is no such family"},
    see_also=["db get"],
)
@visiting
@as_json
@click.argument("family")
def keys(visit: Visit, as_json: bool, family: str) -> None:
    """Print the keys of FAMILY, one on each line."""
    import asyncio

    names = sorted(asyncio.run(_rows(visit, family, None)))
    for line in [to_json(names)] if as_json else map(printable, names):
        click.echo(line)


async def _rows(visit: Visit, family: str, key: str | None) -> dict[str, tuple[Any, str]]:
    """Value and owner by key; raises `Failed` if `key`, or any, is not there."""
    async with _at_home(visit) as here:
        rows: dict[str, tuple[Any, str]] = {}

        def watch(told: Callable[..., None]) -> Any:
            def report(values: Any, *_: Any) -> None:
                for name, value in values.items():
                    entry = here.families.shown(family, name)
                    rows[name] = (value, "-" if entry is None else entry[0])
                told()

            return here.db_mon(family, report)

        await _first(visit, f"the family {family!r}", watch)
        if not rows:
            known = [name for name, _ in await _families(here, visit, "")]
            raise Failed(f"nothing is registered in the family {family!r}{_nearest(family, known)}")
        if key is not None and key not in rows:
            hint = _nearest(key, list(rows))
            raise Failed(f"the family {family!r} has no key {key!r}{hint}")
        return rows


@db.command(
    short_help="Print what is in a family, and what changes.",
    cls=Command,
    examples=[
        ("aemp db mon --seed tcp://10.0.0.1:4040 prices", "Follow the changes of a family."),
    ],
    see_also=["db get"],
)
@visiting
@as_json
@click.argument("family")
def mon(visit: Visit, as_json: bool, family: str) -> None:
    """Print what is in FAMILY and what changes there, until Ctrl-C.

    "+ KEY VALUE" is there or was added, "~ KEY VALUE" was changed, "- KEY" was deleted.
    """
    import asyncio

    def told(values: Any, added: Any, changed: Any, deleted: Any) -> None:
        if as_json:
            now = {"added": added, "changed": changed}
            rows = {word: {key: values[key] for key in names} for word, names in now.items()}
            click.echo(to_json({**rows, "deleted": deleted}))
            return
        for key in deleted:
            click.echo(f"- {printable(key)}")
        for sign, names in (("+", added), ("~", changed)):
            for key in names:
                click.echo(f"{sign} {printable(key)} {for_people([values[key]])}")

    asyncio.run(_watch(visit, lambda here: here.db_mon(family, told)))
