"""The parts of ``aemp shell`` that need no terminal: history and completion."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest
from core_kit import nodes

from aemp_core.cli.shell import history as kept
from aemp_core.cli.shell.completion import Completion, Found, open_string
from aemp_core.cli.shell.history import History, history_path
from aemp_core.cli.shell.lines import clean
from aemp_core.testing import virtual_clock

# -- history -----------------------------------------------------------------------------------


def test_texts_are_there_again_in_order(tmp_path: Path) -> None:
    path = tmp_path / "state" / "shell_history"
    history = History(path)
    for text in ("one", "def f():\n    pass\n", "def f():\n    pass\n", "", "  ", "ü\udc80"):
        history.append(text)
    assert history.trouble == ""
    assert History(path).texts == ["one", "def f():\n    pass\n", "ü\udc80"]


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "shell_history"
    History(path).append("secret = 'x'")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    History(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_shells_append_to_it(tmp_path: Path) -> None:
    first, second = History(tmp_path / "h"), History(tmp_path / "h")
    first.append("a")
    second.append("b")
    first.append("c")
    assert History(tmp_path / "h").texts == ["a", "b", "c"]


def test_it_is_cut_back_to_its_newest_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FILE_BYTES", 10_000)
    path = tmp_path / "h"
    history = History(path)
    for number in range(200):
        history.append(f"{number:0100}")
    assert path.stat().st_size > 10_000
    again = History(path)
    assert path.stat().st_size < 6_000
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert History(path).texts == again.texts[-len(History(path).texts) :]
    assert os.listdir(tmp_path) == ["h"]


def test_long_texts_and_lines_of_others_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_text('"good"\nbad\n5\n"cut o')
    history = History(path)
    assert history.texts == ["good"]
    history.append("x" * (kept.TEXT_LENGTH + 1))
    assert History(path).texts == ["good"]


def test_a_history_that_cannot_be_kept_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = History(tmp_path / "file" / "h")
    assert str(tmp_path / "file") in history.trouble
    history.append("a")
    assert history.texts == ["a"]


def test_a_link_to_a_file_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("untouched")
    (tmp_path / "h").symlink_to(tmp_path / "other")
    history = History(tmp_path / "h")
    history.append("a")
    assert history.trouble
    assert (tmp_path / "other").read_text() == "untouched"


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept.sys, "platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert history_path() == Path("/var/state/aemp/shell_history")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert history_path() == Path.home() / ".local/state/aemp/shell_history"


# -- completion ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "begun"),
    [
        ("", None),
        ("snd(", None),
        ('snd("', ""),
        ('snd("wor', "wor"),
        ("snd('wor", "wor"),
        ('snd("a", "b', "b"),
        ('snd("a"', None),
        ('f"x{y}" + r"\\', "\\"),
        ('"a\\"b', 'a\\"b'),
        ('"a\\\\" + "b', "b"),
        ("'it\"s", 'it"s'),
        ('"""a"b', 'a"b'),
        ('"""a\nb""" + c', None),
        ("# 'a", None),
        ("x # don't\n'b", "b"),
        ("'node#1", "node#1"),
        ("'a#' + '", ""),
    ],
)
def test_the_string_that_a_text_ends_in(text: str, begun: str | None) -> None:
    assert open_string(text) == begun


async def no_names(word: str) -> Iterable[str]:
    return [each for each in ("worker", "world") if each.startswith(word)]


@virtual_clock
async def test_nodes_and_ports_in_strings_and_names_elsewhere() -> None:
    async with nodes("alice", "worker/1", "worker/2") as (alice, one, two):
        completion = Completion(alice, no_names, lambda: ["alice#me"])
        assert await completion.of('snd("wor') == Found(3, ["worker/1", "worker/2"])
        assert await completion.of('snd("') == Found(
            0, ["alice", "alice#me", "worker/1", "worker/2"]
        )
        assert (await completion.of("snd("))[1][1] == '"alice#me"'
        assert await completion.of("snd(wor") == Found(3, ["worker", "world"])
        assert await completion.of("1 + ") == Found(0, [])
        assert await completion.of('"alice#m') == Found(7, ["alice#me"])
        completion.close()


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert clean("a\tb\n\x1b[31m\r\x9bc") == "a\tb\n\\x1b[31m\\x0d\\x9bc"
