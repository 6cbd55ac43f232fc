"""``aemp ca``: the CA of a network, from the command line.

    aemp ca init example        a CA; its network.pem is for every node
    aemp ca issue alice         alice.pem, for the node alone, and network.pem beside it

Private keys go into files that only their owner may use, and are never printed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aemp_core.cli.manual import Group
from aemp_core.cli.text import to_json
from aemp_core.config import config_path
from aemp_core.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from .authority import CA, Issued

__all__ = ["command"]

DAY = 86_400.0

directory = click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the CA is; by default the directory 'ca' beside the configuration file.",
)
passphrase_file = click.option(
    "--passphrase-file",
    metavar="FILE",
    help="What the key of the CA is encrypted with, read from FILE; '-' asks for it.",
)
key_passphrase_file = click.option(
    "--key-passphrase-file",
    metavar="FILE",
    help="What to encrypt the key of the node with (setting cert_passphrase); '-' asks for it.",
)
days = click.option(
    "--days",
    type=click.FloatRange(min=0, min_open=True, max=36_500),
    help="How long it is good for.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


def _directory(given: Path | None) -> Path:
    return config_path().parent / "ca" if given is None else given


def _ca(given: Path | None) -> CA:
    from .authority import CA

    return CA(_directory(given))


def _passphrase(file: str | None, whose: str, *, new: bool) -> str | None:
    """The passphrase in a file, or asked for; None if none is wanted."""
    if file is None:
        return None
    if file == "-":
        text = click.prompt(
            f"passphrase of the key of {whose}", hide_input=True, confirmation_prompt=new, err=True
        )
    else:
        from aemp_core.cli.options import read_secret_file

        try:
            text = read_secret_file(file).decode()
        except UnicodeDecodeError:
            raise ConfigError(f"{file}: the passphrase is not UTF-8") from None
    if not text:
        raise UsageError(f"{file}: an empty passphrase protects nothing: leave the option out")
    return str(text)


@click.group(
    "ca",
    cls=Group,
    examples=[
        ("aemp ca init example", "Make the CA of the network 'example'."),
        ("aemp ca issue alice", "Make the key and certificate of the node 'alice'."),
    ],
    see_also=["run"],
)
def command() -> None:
    """Make and look after the certificates of a network, for tls:// links."""


@command.command(
    examples=[
        ("aemp ca init example", "Make the CA beside the configuration file."),
        (
            "aemp ca init example --dir ca --passphrase-file - --ed25519",
            "Make it in the directory 'ca', its key encrypted, with Ed25519 for all keys.",
        ),
    ],
    see_also=["ca issue", "ca show"],
)
@directory
@passphrase_file
@days
@click.option("--ed25519", is_flag=True, help="Use Ed25519 for all keys, instead of P-256.")
@click.argument("network")
def init(
    directory: Path | None,
    passphrase_file: str | None,
    days: float | None,
    ed25519: bool,
    network: str,
) -> None:
    """Make the CA of a network called NETWORK: its name is part of every certificate."""
    from .authority import CA, CA_DAYS

    ca = CA.init(
        _directory(directory),
        network,
        kind="ed25519" if ed25519 else "p256",
        days=days or CA_DAYS,
        passphrase=_passphrase(passphrase_file, "the CA", new=True),
    )
    click.echo(f"CA of network {ca.network} in {ca.directory}: keep that directory to yourself")
    click.echo(f"trust file for every node: {ca.trust}")


@command.command(
    examples=[
        ("aemp ca issue alice", "Make alice.pem, for the node 'alice'."),
        (
            "aemp ca issue 'worker/*' --pattern --days 30",
            "Make worker-any.pem, for all nodes whose ID begins so.",
        ),
    ],
    see_also=["ca init", "ca renew", "ca revoke"],
)
@directory
@passphrase_file
@key_passphrase_file
@days
@click.option("--pattern", is_flag=True, help="NODEID is a pattern, such as 'anon/*'.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to write; by default NODEID.pem, with '-' for '/' and ':'.",
)
@click.argument("node_id", metavar="NODEID")
def issue(
    directory: Path | None,
    passphrase_file: str | None,
    key_passphrase_file: str | None,
    days: float | None,
    pattern: bool,
    output: Path | None,
    node_id: str,
) -> None:
    """Make a key and a certificate by which a node may call itself NODEID.

    They are written to one file, for the setting 'cert', which only its owner may read, and a copy
    of the trust file, network.pem, is put beside it. An existing certificate is not overwritten.
    """
    from . import pem
    from .authority import DAYS
    from .names import Grant

    ca = _ca(directory)
    grant = Grant.of(ca.network, node_id)
    if grant.is_pattern is not pattern:
        raise UsageError(
            f"{node_id!r} ends with '*' and so grants many node IDs: add --pattern if you mean it"
            if grant.is_pattern
            else f"{node_id!r} is no pattern: it has no '*' at its end"
        )
    if output is None:
        plain = node_id.replace("/", "-").replace(":", "-").replace("*", "any")
        output = Path(f"{plain}.pem")
    if output.exists():
        raise UsageError(
            f"{output}: there is such a file already: 'aemp ca renew {output}' makes a new "
            "certificate in its place, or name another file with --output"
        )
    _check_trust(ca, output.with_name("network.pem"))
    data = ca.issue(
        node_id,
        days=days or DAYS,
        passphrase=_passphrase(passphrase_file, "the CA", new=False),
        key_passphrase=_passphrase(key_passphrase_file, node_id, new=True),
    )
    pem.write(output, data, private=True, replace=False)
    _copy_trust(ca, output.with_name("network.pem"))
    click.echo(f"{output}: key and certificate of {ca.read(output)}: for its holder alone")
    click.echo(f"{output.with_name('network.pem')}: the trust file, to be beside it")


@command.command(
    examples=[("aemp ca renew alice.pem bob.pem", "Renew the certificates of two nodes.")],
    see_also=["ca issue", "ca revoke"],
)
@directory
@passphrase_file
@key_passphrase_file
@days
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(dir_okay=False, path_type=Path),
)
def renew(
    directory: Path | None,
    passphrase_file: str | None,
    key_passphrase_file: str | None,
    days: float | None,
    files: tuple[Path, ...],
) -> None:
    """Put a new key and certificate of the same name into each FILE, and network.pem beside it.

    A running node picks them up within seconds. The former certificate stays good until it ends:
    revoke it if its key may have been seen.
    """
    from .authority import DAYS
    from .identity import moment

    ca = _ca(directory)
    passphrase = _passphrase(passphrase_file, "the CA", new=False)
    key_passphrase = _passphrase(key_passphrase_file, "the nodes", new=True)
    for file in files:
        _check_trust(ca, file.with_name("network.pem"))
        # The trust first: what is new may come from a CA that the old one does not list.
        _copy_trust(ca, file.with_name("network.pem"))
        identity = ca.renew(
            file, days=days or DAYS, passphrase=passphrase, key_passphrase=key_passphrase
        )
        click.echo(f"{file}: {identity} until {moment(identity.ends)}")


@command.command(
    examples=[
        ("aemp ca revoke alice", "Revoke every certificate of the node 'alice'."),
        ("aemp ca revoke 4d2f901c", "Revoke the one with this serial number."),
    ],
    see_also=["ca show", "ca renew"],
)
@directory
@passphrase_file
@click.argument("names", nargs=-1, required=True, metavar="NODEID|SERIAL...")
def revoke(directory: Path | None, passphrase_file: str | None, names: tuple[str, ...]) -> None:
    """Have the certificates of a NODEID believed no more, or the one with a SERIAL number.

    The CA's network.pem says so from now on: copy it to every node. Those that run pick it up
    within seconds and end their links to the node.
    """
    ca = _ca(directory)
    revoked = ca.revoke(names, passphrase=_passphrase(passphrase_file, "the CA", new=False))
    for each in revoked:
        click.echo(f"revoked: {each.name}, serial number {each.serial}")
    if not revoked:
        click.echo("nothing to do: all of them were revoked before")
    click.echo(f"now copy {ca.trust} to every node")


@command.command(
    examples=[
        ("aemp ca rotate", "Make the next CA: copy network.pem to every node."),
        ("aemp ca renew alice.pem", "Then for every node."),
        ("aemp ca rotate --finish", "Last: copy network.pem to every node again."),
    ],
    see_also=["ca renew"],
)
@directory
@passphrase_file
@days
@click.option("--finish", is_flag=True, help="Take the former CA away; the last step.")
@click.option(
    "--force", is_flag=True, help="With --finish: also if nodes need the former CA still."
)
def rotate(
    directory: Path | None,
    passphrase_file: str | None,
    days: float | None,
    finish: bool,
    force: bool,
) -> None:
    """Make the next CA, which issues from now on, beside the one there is."""
    from .authority import CA_DAYS

    ca = _ca(directory)
    passphrase = _passphrase(passphrase_file, "the CA", new=False)
    if finish:
        retired = ca.retire(passphrase=passphrase, force=force)
        if not retired:
            raise UsageError(f"{ca.directory}: there is one CA only: run 'aemp ca rotate' first")
        click.echo(f"CA {', '.join(map(str, retired))} is not believed any more")
    else:
        number = ca.rotate(days=days or CA_DAYS, passphrase=passphrase)
        click.echo(f"CA {number} issues from now on")
    click.echo(f"now copy {ca.trust} to every node")


@command.command(
    examples=[
        ("aemp ca show", "Print a table."),
        ("aemp ca show --dir ca --json", "Print JSON, of the CA in the directory 'ca'."),
    ],
    see_also=["ca issue", "ca revoke"],
)
@directory
@as_json
def show(directory: Path | None, as_json: bool) -> None:
    """Show the CA and every certificate it issued, as a table."""
    ca = _ca(directory)
    now = time.time()
    if as_json:
        click.echo(to_json(_as_json(ca)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from .identity import name_of

    # Wide enough for a serial number also where the output is no terminal.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(f"network {ca.network}, CA in {ca.directory}", soft_wrap=True)
    for number in ca.numbers():
        certificate = ca.certificate(number)
        ends = certificate.not_valid_after_utc.timestamp()
        console.print(f"CA {number}: {name_of(certificate.subject)}, until {_day(ends)}")
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("node", "state", "from", "until", "CA", "serial number"):
        table.add_column(column, overflow="fold")
    for each in ca.ledger:
        table.add_row(
            each.name, _state(ca, each, now), _day(each.begins), _day(each.ends), str(each.ca),
            each.serial,
        )  # fmt: skip
    console.print(table if ca.ledger else "no certificates yet: 'aemp ca issue NODEID' makes one")


def _state(ca: CA, each: Issued, now: float) -> str:
    state = ca.state(each)
    if state == "revoked" and each.revoked is not None:
        return f"revoked {_day(each.revoked)}"
    left = (each.ends - now) / DAY
    return f"{state}, {left:.0f} days left" if state == "valid" else state


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _as_json(ca: CA) -> dict[str, Any]:
    issued = [
        {
            "name": each.name,
            "serial": each.serial,
            "state": ca.state(each),
            "begins": each.begins,
            "ends": each.ends,
            "ca": each.ca,
            "revoked": each.revoked,
        }
        for each in ca.ledger
    ]
    return {
        "network": ca.network,
        "directory": str(ca.directory),
        "cas": ca.numbers(),
        "issued": issued,
    }


def _check_trust(ca: CA, target: Path) -> None:
    """Raise unless `target` may be written over: it is not there, or of this network."""
    from .trust import Trust

    if not target.exists():
        return
    try:
        there = Trust.read(target)
    except ConfigError:
        raise UsageError(
            f"{target}: is there already and no trust file: move it, or write elsewhere (--output)"
        ) from None
    ours = {each.fingerprint for each in Trust.read(ca.trust).authorities}
    if not ours & {each.fingerprint for each in there.authorities}:
        raise UsageError(
            f"{target}: is the trust file of another network: write elsewhere (--output)"
        )


def _copy_trust(ca: CA, target: Path) -> None:
    from . import pem

    if target.resolve() != ca.trust.resolve():
        pem.write(target, ca.trust.read_bytes(), private=False, replace=True)
