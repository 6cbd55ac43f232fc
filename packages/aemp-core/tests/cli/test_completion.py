"""Shell completion: what is completed, how fast, and in real shells at a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import aemp, failed, here

from aemp_core.cli.words import CHOICES
from aemp_core.config import parse_text

SECONDS = 30
TEXT = "[profile.worker]\n[profile.seed]\nparent = 'worker'\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "aemp.toml"
    path.write_text(TEXT)
    return path


def question(line: str, config: Path) -> dict[str, str]:
    """The variables by which bash asks when Tab is pressed at the end of `line`."""
    return {
        "_AEMP_COMPLETE": "bash_complete",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "AEMP_WORDBREAKS": " \t\n\"'><=;|&(:",
        "AEMP_CONFIG": str(config),
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("aemp pro", ["profile"]),
        ("aemp config un", ["unset"]),
        ("aemp config show ", ["worker", "seed"]),
        ("aemp config show --js", ["--json"]),
        ("aemp config get --profile ", ["worker", "seed"]),
        ("aemp config get --profile=wo", ["worker"]),
        ("aemp config set topo", ["topology"]),
        ("aemp config set topology ", ["hub", "mesh"]),
        ("aemp config set heartbeat ", []),
        ("aemp config set framings msgpack j", ["json"]),
        ("aemp config add heart", []),
        ("aemp profile parent seed w", ["worker"]),
        ("aemp run se", ["seed", "secret=", "seeds=", "services=", "send_limit="]),
        ("aemp run seed se", ["secret=", "seeds=", "services=", "send_limit="]),
        ("aemp run role=o", ["ordinary"]),
        ("aemp run framings=msgpack,", ["msgpack,msgpack", "msgpack,json"]),
        ("aemp run log_level=d", ["debug"]),
        ("aemp snd --profile s", ["seed"]),
        ("aemp log --level e", ["error"]),
        ("aemp trace --format m", ["mermaid"]),
        ("aemp help profile n", ["new"]),
        ("aemp completion ", ["bash", "fish", "zsh"]),
        ("aemp 'config' set to", ["topology"]),
    ],
)
def test_words_that_are_known_beforehand(line: str, words: list[str], config: Path) -> None:
    done = here(**question(line, config))
    assert (done.returncode, done.stderr) == (0, "")
    found = [row.split("\t")[1] for row in done.stdout.splitlines() if row]
    assert sorted(found) == sorted(words)


def test_every_word_that_is_offered_is_one() -> None:
    for key, words in CHOICES.items():
        for word in words:
            parse_text(key, word)


@pytest.mark.parametrize("text", ["[profile.", "hartbeat = 5\n[profile.a]\n", None])
def test_a_file_that_is_wrong_is_no_reason_for_noise(text: str | None, config: Path) -> None:
    config.unlink() if text is None else config.write_text(text)
    done = here(**question("aemp config show ", config))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("line", ["aemp ", "aemp config set role ", "aemp profile delete "])
def test_nothing_is_imported_that_takes_long(line: str, config: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "aemp_core"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, **question(line, config)},
    )
    imported = {row.rpartition("|")[2].strip() for row in done.stderr.splitlines()}
    assert "aemp_core.cli.shells" in imported
    assert not imported & {"asyncio", "rich", "tomlkit", "msgpack", "aemp_core.node"}


# -- at a terminal ---------------------------------------------------------------------------------


class Terminal:
    """A shell at a pseudo-terminal, with ``aemp`` completed; Ctrl-G shows the line so far."""

    def __init__(self, words: list[str], setup: str, environment: dict[str, str]) -> None:
        self._process, self._handle = pty.fork()
        if self._process == 0:
            os.execvpe(words[0], words, environment)
        self._seen = ""
        self.type(f"{setup}; echo re''ady\n")
        self.read_until("ready\r")

    def type(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def read_until(self, pattern: str) -> re.Match[str]:
        """What comes out, up to a match; a shell that does not print it ends the test."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = re.search(pattern, self._seen)
            if found:
                self._seen = self._seen[found.end() :]
                return found
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._handle], [], [], left)[0]:
                raise AssertionError(f"no {pattern!r} in {self._seen!r}")
            try:
                data = os.read(self._handle, 65536)
            except OSError:
                raise AssertionError(f"the shell ended: {self._seen!r}") from None
            self._seen += data.decode(errors="replace")

    def complete(self, text: str) -> str:
        """The line that Tab makes of `text`; the line is thrown away then."""
        self.type(f"{text}\t\x07")
        line = self.read_until(r"<<(.*?)>>")[1]
        self.type("\x15")
        return line

    def end(self) -> None:
        os.kill(self._process, 9)
        os.waitpid(self._process, 0)
        os.close(self._handle)


SETUPS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        'bind -x \'"\\C-g": printf "<<%s>>" "$READLINE_LINE"\'; source <(aemp completion bash)',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -D; show() { print -rn -- "<<$BUFFER>>" }; '
        "zle -N show; bindkey '^G' show; bindkey '^I' complete-word; "
        "source <(aemp completion zsh)",
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        "bind \\cg 'printf \"<<%s>>\" (commandline)'; aemp completion fish | source",
    ),
}


@pytest.fixture(params=SETUPS)
def terminal(
    request: pytest.FixtureRequest, config: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} on this machine")
    words, setup = SETUPS[shell]
    environment = {
        **os.environ,
        "AEMP_CONFIG": str(config),
        "HOME": str(config.parent),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PS1": "$ ",
        "TERM": "dumb",
    }
    monkeypatch.chdir(config.parent)
    terminal = Terminal(words, setup, environment)
    yield terminal
    terminal.end()


def test_a_real_shell_completes(terminal: Terminal) -> None:
    assert terminal.complete("aemp prof") == "aemp profile "
    assert terminal.complete("aemp config set topology m") == "aemp config set topology mesh "
    assert terminal.complete("aemp run heartb") == "aemp run heartbeat="
    assert terminal.complete("aemp run role=ord") == "aemp run role=ordinary "
    assert terminal.complete("aemp snd --profile=se") == "aemp snd --profile=seed "
    assert terminal.complete("aemp run cert=aem") in (
        "aemp run cert=aem",
        "aemp run cert=aemp.toml ",
    )


# -- the command -----------------------------------------------------------------------------------


def test_the_script_goes_where_the_shell_looks(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": ""}
    for shell, place in (
        ("bash", ".local/share/bash-completion/completions/aemp"),
        ("zsh", ".local/share/zsh/site-functions/_aemp"),
        ("fish", ".config/fish/completions/aemp.fish"),
    ):
        done = here("completion", shell, "--install", **home)
        assert (done.returncode, done.stderr) == (0, "")
        path = tmp_path / place
        assert done.stdout.startswith(f"{path}: written\n")
        assert path.read_text() == here("completion", shell).stdout
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = here("completion", "fish", "--install", XDG_CONFIG_HOME=str(tmp_path / "file"))
    assert "aemp.fish: cannot be written" in failed(done, 2)
    assert "'tcsh' is not one of" in failed(aemp("completion", "tcsh"), 2)
