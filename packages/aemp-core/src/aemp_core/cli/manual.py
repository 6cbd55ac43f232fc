"""The manual: what ``--help`` and ``aemp help`` say of a command, written beside the command.

A command declares its examples and what is special about it where it is made, and both kinds of
help are drawn from that::

    @click.command(
        cls=Command,
        examples=[("aemp snd worker#4f.1 stop", "Send the message 'stop' to a port.")],
        exit_codes={1: "there is no such port, or its node cannot be reached"},
        see_also=["cal", "mon"],
    )
    def command(...): ...

A group is made with ``@click.group(cls=Group)``; its subcommands are `Command` then, without
saying so. A test holds every command to having examples, and each example to being one: its
words are parsed by the command it shows.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from .outcome import MEANINGS, TIMED_OUT

__all__ = ["Command", "Example", "Group", "page"]

#: A command line, and what it does.
Example = tuple[str, str]

WIDTH = 79
INDENT = " " * 4


class _Documented(click.Command):
    """A command that brings what its manual says.

    Args:
        examples: command lines and what each does, the most usual first.
        exit_codes: what a code means here, where `MEANINGS` does not say it well enough.
        see_also: names of related commands, without ``aemp``: ``secret new``.
    """

    def __init__(
        self,
        *args: Any,
        examples: Iterable[Example] = (),
        exit_codes: Mapping[int, str] | None = None,
        see_also: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = list(examples)
        self.exit_codes = dict(exit_codes or {})
        self.see_also = list(see_also)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the epilog."""
        if self.examples:
            with formatter.section("Examples"):
                for line, does in self.examples:
                    formatter.write_text(f"\b\n{line}\n  {does}")
        super().format_epilog(ctx, formatter)


class Command(_Documented):
    """A command with a manual."""


class Group(_Documented, click.Group):
    """A group with a manual; so are its members."""

    command_class = Command
    group_class = type


# -- pages ---------------------------------------------------------------------------------------


def page(ctx: click.Context) -> str:
    """The manual page of the command of `ctx`, with bold headings."""
    command = ctx.command
    sections: list[tuple[str, str]] = [
        ("NAME", _indented(f"{ctx.command_path} - {_purpose(command)}")),
        (
            "SYNOPSIS",
            _indented(f"{ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}"),
        ),
        ("DESCRIPTION", _description(command)),
        ("OPTIONS", _listed(_options(ctx))),
    ]
    if isinstance(command, click.Group):
        sections.append(("COMMANDS", _listed(_members(command, ctx))))
    examples = getattr(command, "examples", [])
    sections.append(("EXAMPLES", _listed(examples)))
    sections.append(
        ("EXIT CODES", "\n".join(f"{INDENT}{code:<5}{text}" for code, text in _codes(command)))
    )
    sections.append(("SEE ALSO", _indented(", ".join(_related(ctx)))))
    return "\n\n".join(
        f"{click.style(title, bold=True)}\n{text}" for title, text in sections if text.strip()
    )


def _purpose(command: click.Command) -> str:
    text = command.get_short_help_str(limit=200).rstrip(".")
    return text[:1].lower() + text[1:]


def _indented(text: str, by: str = INDENT) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=by,
        subsequent_indent=by,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _description(command: click.Command) -> str:
    """The help text: paragraphs are filled, unless they begin with a backspace, as for click."""
    text = textwrap.dedent(command.help or "").partition("\f")[0].strip("\n")
    paragraphs = []
    for paragraph in text.split("\n\n"):
        if paragraph.lstrip().startswith("\b"):
            lines = paragraph.lstrip().removeprefix("\b").strip("\n").splitlines()
            paragraphs.append("\n".join(f"{INDENT}{line}" for line in lines))
        else:
            paragraphs.append(_indented(" ".join(paragraph.split())))
    return "\n\n".join(paragraphs)


def _listed(rows: Iterable[Sequence[str]]) -> str:
    """Terms, each with what it means below it."""
    return "\n\n".join(
        f"{INDENT}{click.style(term, bold=True)}\n{_indented(meaning, INDENT * 2)}"
        for term, meaning in rows
    )


def _options(ctx: click.Context) -> Iterator[tuple[str, str]]:
    for parameter in ctx.command.get_params(ctx):
        if isinstance(parameter, click.Argument):
            continue  # the description tells of them
        record = parameter.get_help_record(ctx)
        if record is not None:
            yield record


def _members(group: click.Group, ctx: click.Context) -> Iterator[tuple[str, str]]:
    for name in group.list_commands(ctx):
        member = group.get_command(ctx, name)
        if member is not None and not member.hidden:
            yield name, member.get_short_help_str(limit=200)


def _codes(command: click.Command) -> list[tuple[int, str]]:
    """The exit codes of a command: what it says of them goes before what all of them mean."""
    own: Mapping[int, str] = getattr(command, "exit_codes", {})
    waits = any(parameter.name == "timeout" for parameter in command.params)
    codes = {
        code: meaning
        for code, meaning in MEANINGS.items()
        if code != TIMED_OUT or waits or isinstance(command, click.Group)
    }
    return sorted({**codes, **own}.items())


def _related(ctx: click.Context) -> list[str]:
    """The group a command is in, and the commands it names."""
    root = ctx.find_root()
    names = [f"{root.command_path} {name}" for name in getattr(ctx.command, "see_also", [])]
    if ctx.parent is not None:
        names.insert(0, ctx.parent.command_path)
    return list(dict.fromkeys(names))
