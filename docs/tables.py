"""The tables of these pages that are drawn from the code, so that they say what the code does.

A page holds such a table between two marks, ``<!-- table: NAME -->`` and ``<!-- end of table -->``.
``python docs/tables.py`` brings every page up to date; a test fails when one is not.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).parent
ROOT = DOCS.parent

MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def _rows(head: str, rows: Iterable[Iterable[str]]) -> str:
    columns = head.split(" | ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _concept(path: Path) -> str:
    """The first sentence of a module's docstring, where it says which concept it holds."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text is not None, path
    sentence = text.split("\n\n")[0].replace("\n", " ").rstrip(".")
    return sentence.replace("``", "`").replace("|", "\\|")


def modules() -> str:
    """Modules by layer, as the contract of the import checker has them, and their concepts."""
    return _modules("aemp_core")


def global_modules() -> str:
    """The same for aemp_global."""
    return _modules("aemp_global")


def _modules(package: str) -> str:
    source = ROOT / "packages" / package.replace("_", "-") / "src" / package
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contract = text.split(f'containers = ["{package}"]')[1]
    rows: list[list[str]] = []
    for line in contract.split("layers = [")[1].split("]")[0].splitlines():
        line = line.strip()
        if line.startswith("#"):
            rows.append([f"**{line.lstrip('# ').partition(':')[0]}**", ""])
        for name in re.findall(r"\w+", line) if line.startswith('"') else ():
            path = source / f"{name}.py"
            path = path if path.is_file() else source / name / "__init__.py"
            rows.append([f"`{name}`", _concept(path)])
    return _rows("module | concept", rows)


def transitions() -> str:
    """The protocol machine: what a side may do in which state."""
    from aemp_core.wire.connection import TRANSITIONS

    return _rows(
        "a side that ... | may ... | and then ...",
        (
            [state.value, step.value, after.value]
            for state, steps in TRANSITIONS.items()
            for step, after in steps.items()
        ),
    )


KEYS = {
    "provider": "name and version of the implementation",
    "peeraddr": "the address of the other end, as this side sees it",
    "incarnation": "which life of the node this is; it sorts as text, later lives after earlier",
    "heartbeat": "seconds of silence this side tolerates",
    "frame": "bytes of the longest frame this side reads",
    "features": "node requests beyond protocol version 1, separated by commas",
}


def greeting() -> str:
    """The keys of our greeting, with the values of a node that nobody configured."""
    from aemp_core import Node

    node = Node("alice")
    said = node.greeting("192.0.2.7:4040").attributes
    shown = {**said, "provider": "aemp-py-1.0", "incarnation": "0VbijziV62Q9aX"}
    return _rows(
        "key | for instance | says", ([f"`{key}`", f"`{shown[key]}`", KEYS[key]] for key in said)
    )


def requests() -> str:
    """The node requests, and what each does."""
    from aemp_core.requests import NodePort

    found: dict[object, list[str]] = {}
    for name, function in NodePort(None).requests.items():  # type: ignore[arg-type]
        found.setdefault(function, []).append(f"`{name!s}`" if name else '`""`')
    return _rows(
        "request | what is done",
        ([", ".join(names), _first_line(function)] for function, names in found.items()),
    )


def _first_line(function: object) -> str:
    assert function.__doc__, function
    line = " ".join(function.__doc__.split("\n\n")[0].split())
    return line.replace("``", "`").replace("|", "\\|").rstrip(".")


def checks() -> str:
    """What the conformance kit demands of a transport."""
    from aemp_core.testing import CHECKS

    return _rows(
        "check | demands", ([f"`{check.__name__}`", _first_line(check)] for check in CHECKS)
    )


FAULTS = {
    "aemp_network": (
        "network.SimulatedNetwork",
        "partition heal reset drop half_open corrupt shape",
    ),
    "node": ("simulated_node.SimulatedNode", "crash"),
    "process": ("world.Process", "kill power_off stall jump"),
}


def faults() -> str:
    """The faults that a test can bring about, and what each does."""
    rows = []
    for owner, (place, names) in FAULTS.items():
        module, name = place.split(".")
        kind = getattr(importlib.import_module(f"aemp_core.testing.{module}"), name)
        for verb in names.split():
            method = getattr(kind, verb)
            signature = inspect.signature(method)
            given = [_argument(each) for each in list(signature.parameters.values())[1:]]
            rows.append([f"`{owner}.{verb}({', '.join(given)})`", _first_line(method)])
    return _rows("fault | what happens", rows)


def _argument(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
    return parameter.name + default


#: Where a limit is, what it counts, and what happens there.
LIMITS = [
    ("run_queue.SLICE_ITEMS", "", "items handled before the loop gets its turn"),
    ("run_queue.SLICE_SECONDS", "s", "or so long, whatever comes first"),
    ("run_queue.RECEIVED_LIMIT", "B", "received and not handled: links are not read until half"),
    ("settings.send_limit", "B", "buffered for one peer: further sends cut their port"),
    ("peer.TOTAL", "times `send_limit`", "buffered for all peers together: the same"),
    ("settings.frame_limit", "B", "packed message: `UnsendableError`; received: the link ends"),
    ("ports.REASON_BYTES", "B", "packed reason of `kil`: longer ones are refused"),
    ("wire.MAX_DEPTH", "levels", "lists and dicts inside each other: `UnsendableError`"),
    ("settings.mailbox_limit", "messages", "waiting in one async port: it dies"),
    ("backlog.ROOM_BYTES", "B", "received and waiting in one async port: it dies"),
    ("settings.spawn_limit", "ports", "alive here, spawned by one node: `spawn_error`"),
    ("spawner.ERROR_SECONDS", "s", "a `spawn_error` is kept for late monitors"),
    ("wire.MAX_LINE", "B", "line of a handshake: the connection ends"),
    ("stream.HANDSHAKE_SECONDS", "s", "from connecting to both proofs: the connection ends"),
    ("inflow.KEPT_BYTES", "B", "received and not decoded: reading pauses"),
    (
        "lobby.TOTAL_LIMIT",
        "connections",
        "not authenticated: a random one of the older half is ended",
    ),
    ("lobby.SOURCE_LIMIT", "connections", "not authenticated, of one source: the same"),
    ("lobby.LOCAL_LIMIT", "connections", "not authenticated, of this machine: the same"),
    ("rendezvous.CANDIDATE_LIMIT", "connections", "proved, for one node ID: the oldest is ended"),
    ("settings.monitor_timeout", "s", "dialling a peer: it is given up, as on loss"),
    ("dial.ATTEMPT_SECONDS", "s", "one attempt to connect"),
    ("dial.AGAIN_SECONDS", "s", "nobody answers: another connection is asked for, too"),
    ("settings.connect_interval", "s", "longest pause between two attempts"),
    ("dial.ADDRESS_LIMIT", "addresses", "known per node: the oldest is forgotten"),
    ("settings.heartbeat", "s", "silence that is tolerated, T"),
    ("heartbeat.PING_SECONDS", "s", "silence of a pinged link, or T if that is less: it is lost"),
    ("heartbeat.RESTART_SECONDS", "s", "for the older of two lives of a node to answer"),
    ("status.PAGE_ROWS", "rows", "in one page of `links` or `ports`"),
    ("status.PAGE_BYTES", "B", "in one page: it has fewer rows then"),
    ("lag.ASKED_SECONDS", "s", "after the last `status`: loop lag is measured no more"),
    ("life.CLOSE_SECONDS", "s", "each wait of `close`"),
    ("refusals.LINES", "lines", "of one kind in the log per window"),
    ("refusals.WINDOW_SECONDS", "s", "the window"),
]


LIVE = {
    "log_level": "at once",
    "rules": "for every request from now on",
    "seeds": "at once",
    "monitor_timeout": "for what is dialled from now on",
    "connect_interval": "for the next pause",
    "send_limit": "at once",
    "mailbox_limit": "for ports made from now on",
    "spawn_limit": "for ports spawned from now on",
    "cert": "at once, in a node that has a certificate",
    "cert_key": "likewise",
    "cert_trust": "likewise",
    "cert_passphrase": "likewise",
}


def live() -> str:
    """The settings that are changed while a node is up."""
    from aemp_core.cli.run.reload import CERTIFICATE
    from aemp_core.cli.run.reload import LIVE as NAMES

    return _rows(
        "setting | is changed", ([f"`{name}`", LIVE[name]] for name in NAMES + CERTIFICATE)
    )


GLOBAL_LIMITS = [
    (
        "entries.OWNER_ENTRIES",
        "entries",
        "of one node: `RegistryFull`; of a peer: it has none more",
    ),
    ("entries.OWNER_BYTES", "B", "of them, with their names: the same"),
    ("entries.VALUE_BYTES", "B", "of one value: `RegistryError`"),
    ("entries.NAME_LENGTH", "characters", "of a family or a key: `RegistryError`"),
    ("exchange.OWNER_LIMIT", "nodes", "in a network: no more are taken"),
    ("exchange.FOLLOW_LIMIT", "families", "that one ordinary node follows: no more are told"),
    ("seeking.SEEK_LIMIT", "nodes", "sought by one node at a time: no more are answered"),
    ("ledger.GRACE_SECONDS", "s", "without a home: the entries are hidden"),
    ("homing.ATTACH_SECONDS", "s", "without an answer of a global: another one is asked"),
    ("keeper.FORGET_SECONDS", "s", "without a link to another global: it is forgotten"),
    ("service.LONGEST_BACK_OFF", "s", "longest pause of a node whose ID another one has"),
    ("directory.ADDRESSES", "addresses", "that a node tells: the first ones"),
    ("seeking.DIRECT_SECONDS", "s", "dialling alone: the other is asked to dial back"),
    ("seeking.BACK_SECONDS", "s", "after that: a relay is tried, too"),
    ("relay_stream.WINDOW", "B", "on their way through a relay, of one stream: the sender waits"),
    ("switchboard.JOINT_LIMIT", "streams", "of one node through one global: refused"),
]


LOG_LIMITS = [
    ("log_feed.BURST", "records", "sent at once after a rest: further ones are left out"),
    ("log_feed.RATE", "records per second", "sent in the long run: the same"),
    ("log_feed.RESERVE", "records", "of that burst, and of those that wait: for WARNING and above"),
    ("log_feed.WAITING_RECORDS", "records", "waiting for one catcher: the same"),
    ("log_feed.WAITING_BYTES", "B", "of them: the same"),
    ("log_feed.NOTICE_SECONDS", "s", "between two records that say how many were left out"),
    ("log_feed.TEXT_BYTES", "B", "of one record's text: the rest is cut off"),
    ("log_feed.BATCH_BYTES", "B", "sent to a catcher that has not answered"),
    ("log_feed.PAUSE_SECONDS", "s", "between two batches at least"),
    ("log_feed.PEER_FEEDS", "catchers", "of one asking node: refused"),
    ("log_feed.TOTAL_FEEDS", "catchers", "of one node: refused"),
    ("services.log.LINGER_SECONDS", "s", "before a node without a link is dialled for its log"),
    ("services.log.LONGEST_PAUSE", "s", "longest pause between two attempts to do so"),
]


SHELL_LIMITS = [
    ("cli.shell.history.KEPT_TEXTS", "texts", "of the history: older ones are left out"),
    ("cli.shell.history.TEXT_LENGTH", "characters", "of one text: a longer one is not kept"),
    ("cli.shell.history.FILE_BYTES", "B", "of its file: cut back to the newest half"),
    ("cli.shell.completion.ANSWER_SECONDS", "s", "for another node to tell ports or names"),
    ("cli.shell.completion.ROWS", "ports", "of a node that are offered: the oldest"),
    ("services.shell.COMPLETIONS", "names", "of a session that are offered"),
    ("services.shell.OUTPUT_LENGTH", "characters", "of output in one message: further ones follow"),
    ("services.evaluator.KEPT_TEXTS", "texts", "whose lines tracebacks can show"),
    ("settings.send_limit", "B", "of output that waits for a shell: its session ends"),
]


def limits() -> str:
    """Limits and times, with the constants that hold them."""
    return _limits("aemp_core", LIMITS)


def log_limits() -> str:
    """The same for log feeds."""
    return _limits("aemp_core", LOG_LIMITS)


def shell_limits() -> str:
    """The same for shells."""
    return _limits("aemp_core", SHELL_LIMITS)


def global_limits() -> str:
    """The same for aemp_global."""
    return _limits("aemp_global", GLOBAL_LIMITS)


#: The tables of `mutants/`, and the promises that they hold faults against.
PLANTED = {
    "order": "order",
    "no_holes": "no holes",
    "once": "once, and calls",
    "notice": "notice",
    "identity": "identity",
    "deferred": "deferred",
    "bounded": "bounded",
    "trust": "nothing before trust",
    "tls": "nothing before trust, over TLS",
    "no_residue": "no residue",
    "liveness": "liveness",
    "global": "networks, groups and the registry",
    "log": "logs, and shells",
}


def planted() -> str:
    """How many faults are planted against which promise."""
    rows, all_of, all_seen = [], 0, 0
    for name, promise in PLANTED.items():
        table = tomllib.loads((ROOT / "mutants" / f"{name}.toml").read_text(encoding="utf-8"))
        caught_by = [" ".join(mutant["caught_by"]) for mutant in table.values()]
        seen = sum("simulate" in tests for tests in caught_by)
        rows.append([promise, str(len(table)), str(seen or "")])
        all_of, all_seen = all_of + len(table), all_seen + seen
    rows.append(["together", str(all_of), str(all_seen)])
    return _rows("promise | planted | caught by the simulator, too", rows)


def _limits(package: str, places: list[tuple[str, str, str]]) -> str:
    from aemp_core import Settings

    def row(place: str, unit: str, meaning: str) -> list[str]:
        module, name = place.rsplit(".", 1)
        if module == "settings":
            value, shown = getattr(Settings(), name), f"setting `{name}`"
        else:
            value = getattr(importlib.import_module(f"{package}.{module}"), name)
            shown = f"`{place}`"
        return [_quantity(value, unit), meaning, shown]

    return _rows("how much | of what, and then | where", (row(*limit) for limit in places))


def _quantity(value: float, unit: str) -> str:
    if unit == "B":
        for size, prefix in ((2**20, "Mi"), (2**10, "Ki")):
            if value >= size and value % size == 0:
                return f"{value // size:,} {prefix}B"
    if unit == "s" and value < 0.1:
        return f"{value * 1000:g} ms"
    return f"{value:,g} {unit}".strip() if isinstance(value, float) else f"{value:,} {unit}".strip()


def settings() -> str:
    """The settings that a configuration file may have, from where `Settings` explains them."""
    from aemp_core.settings import FILE_KEYS, Settings, default

    text = inspect.getdoc(Settings)
    assert text is not None
    told = dict(re.findall(r"^    (\w+): ((?:.*\n?)(?:        .*\n?)*)", text, re.MULTILINE))
    return _rows(
        "setting | default | what it is",
        ([f"`{key}`", _toml(default(key)), _first_sentence(told[key])] for key in FILE_KEYS),
    )


def _first_sentence(text: str) -> str:
    line = " ".join(text.split()).rstrip(".").replace("``", "`")
    return line.replace("|", "\\|")


def _toml(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f"`[{', '.join(map(json.dumps, value))}]`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{json.dumps(value)}`"


TABLES: dict[str, Callable[[], str]] = {
    table.__name__: table
    for table in (
        checks,
        faults,
        global_limits,
        global_modules,
        greeting,
        limits,
        live,
        log_limits,
        modules,
        planted,
        requests,
        settings,
        shell_limits,
        transitions,
    )
}


def up_to_date(page: str) -> str:
    """The text of a page with its tables drawn anew."""
    return MARKED.sub(lambda mark: mark[1] + TABLES[mark[2]]() + mark[3], page)


def main() -> None:
    """Bring every page up to date."""
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = up_to_date(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(path.name)


if __name__ == "__main__":
    main()
