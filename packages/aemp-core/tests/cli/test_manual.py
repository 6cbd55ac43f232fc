"""The manual: every command has one, with examples that the command itself can read."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
from cli_kit import aemp as run

from aemp_core.cli.commands import aemp
from aemp_core.cli.manual import page


def every_command(ctx: click.Context) -> Iterator[click.Context]:
    """The command of `ctx`, and those below it, of plugins too."""
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            member = ctx.command.get_command(ctx, name)
            assert member is not None
            yield from every_command(click.Context(member, parent=ctx, info_name=name))


COMMANDS = {ctx.command_path: ctx for ctx in every_command(click.Context(aemp, info_name="aemp"))}
every = pytest.mark.parametrize("path", COMMANDS)


def parse(words: list[str]) -> click.Context:
    """The context of the command that `words` call, which is not run."""
    ctx = click.Context(aemp, info_name="aemp")
    while isinstance(ctx.command, click.Group):
        name, *words = words
        member = ctx.command.get_command(ctx, name)
        assert member is not None, f"there is no command {name!r}"
        if isinstance(member, click.Group):
            ctx = click.Context(member, parent=ctx, info_name=name)
        else:
            ctx = member.make_context(name, words, parent=ctx)
    return ctx


@every
def test_a_command_has_examples_which_it_can_read(path: str) -> None:
    """Each says what it does; the first is of the command itself, or in its group."""
    examples = getattr(COMMANDS[path].command, "examples", [])
    assert examples, f"{path} has no examples: see aemp_core.cli.manual"
    called = [parse(shlex.split(line)[1:]).command_path for line, _ in examples]
    assert all(line.startswith("aemp ") and does.endswith(".") for line, does in examples)
    assert f"{called[0]} ".startswith(f"{path} ")


@every
def test_a_page_has_every_section_and_names_what_exists(path: str) -> None:
    ctx = COMMANDS[path]
    text = click.unstyle(page(ctx))
    titles = [line for line in text.splitlines() if line and not line.startswith(" ")]
    expected = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"]
    expected += ["COMMANDS"] if isinstance(ctx.command, click.Group) else []
    expected += ["EXAMPLES", "EXIT CODES"]
    expected += ["SEE ALSO"] if ctx.parent is not None else []
    assert titles == expected
    assert text.startswith(f"NAME\n    {path} - ")
    assert {f"aemp {name}" for name in getattr(ctx.command, "see_also", [])} <= set(COMMANDS)


@every
def test_help_shows_the_examples(path: str) -> None:
    shown = COMMANDS[path].get_help()
    for line, _ in COMMANDS[path].command.examples:  # type: ignore[attr-defined]
        assert f"\n  {line}\n" in shown


def test_the_manual_is_printed_where_there_is_no_terminal() -> None:
    done = run("help", "secret", "new")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("NAME\n    aemp secret new - make a new secret")
    assert "\n    aemp secret new --output network.secret\n" in done.stdout
    assert "\x1b" not in done.stdout


def test_without_a_name_it_is_that_of_the_whole_command() -> None:
    assert "\nSYNOPSIS\n    aemp [OPTIONS] COMMAND [ARGS]...\n" in run("help").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rnu"], "unknown command 'rnu': did you mean 'run'?"),
        (["secret", "nwe"], "unknown command of 'aemp secret' 'nwe': did you mean 'new'?"),
        (["run", "now"], "unknown command of 'aemp run' 'now': use one of (there are none)"),
    ],
)
def test_a_wrong_name_is_told_the_nearest(words: list[str], told: str) -> None:
    done = run("help", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"aemp help: {told} (see 'aemp help --help')\n"
