"""``aemp completion``: have a shell complete subcommands, options, profiles and settings."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import ConfigError
from .manual import Command
from .shells import SCRIPTS

__all__ = ["command"]


@click.command(
    cls=Command,
    examples=[
        ("aemp completion bash --install", "Install it for bash, for this user."),
        ("aemp completion zsh", "Print what zsh has to read."),
        ("aemp completion fish --install", "Install it for fish, for this user."),
    ],
    see_also=["config"],
)
@click.option("--install", is_flag=True, help="Write it where SHELL looks, and say what is left.")
@click.argument("shell", type=click.Choice(sorted(SCRIPTS)))
def command(install: bool, shell: str) -> None:
    """Print what SHELL has to read to complete 'aemp' when Tab is pressed.

    In ~/.bashrc or ~/.zshrc, the latter after compinit, it can be read anew each time:

    \b
    source <(aemp completion bash)
    source <(aemp completion zsh)

    With --install it goes into a file of its own; no file that is there is changed.
    """
    if not install:
        click.echo(SCRIPTS[shell], nl=False)
        return
    from ..whole_file import write_whole

    path = _place(shell)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, SCRIPTS[shell].encode(), mode=0o644, replace=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from None
    click.echo(f"{path}: written")
    click.echo(_rest(shell, path))


def _place(shell: str) -> Path:
    """Where the shell looks, or would if it were told."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    if shell == "bash":
        return data / "bash-completion" / "completions" / "aemp"
    if shell == "zsh":
        return data / "zsh" / "site-functions" / "_aemp"
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return config / "fish" / "completions" / "aemp.fish"


def _rest(shell: str, path: Path) -> str:
    """What is left to do."""
    if shell == "bash":
        return f"new shells use it, if bash-completion is there; else add to .bashrc: source {path}"
    if shell == "zsh":
        return f"add to ~/.zshrc, before compinit: fpath+=({path.parent})"
    return "new shells use it"
