"""Editing the configuration file: nothing is lost, nothing is half-done, nothing made worse."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aemp_core import config_edit, whole_file
from aemp_core.config_edit import Edit, editing
from aemp_core.config_file import ConfigFile
from aemp_core.errors import ConfigError

SECRET = "0123456789abcdef"
TEXT = """\
# What all nodes share.
heartbeat = 5  # seconds

seeds = [
    "tcp://a:1",  # the first
    "tcp://b:2",
]

# Whoever listens.
[profile.seed]
parent = "base"    # see there
nodeid = 'seed'

# The rest.
[profile.base]
# nothing yet
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "aemp.toml"
    path.write_text(TEXT)
    path.chmod(0o644)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(path: Path, *change: Any) -> str:
    """What refuses the change, a method of `Edit` and its arguments; the file stays as it is."""
    before = path.read_bytes()
    name, *arguments = change
    with pytest.raises(ConfigError) as caught, editing(path) as edit:
        getattr(edit, name)(*arguments)
    assert path.read_bytes() == before
    return str(caught.value)


# -- what people wrote stays -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "old", "new"),
    [
        (("set", None, "heartbeat", 20.0), "heartbeat = 5 ", "heartbeat = 20 "),
        (("set", "seed", "nodeid", "s/%u"), "nodeid = 'seed'", 'nodeid = "s/%u"'),
        (("unset", None, "heartbeat"), "heartbeat = 5  # seconds\n", ""),
        (("add", None, "seeds", ["c:3"]), '2",\n', '2",\n    "tcp://c:3",\n'),
        (("add", None, "seeds", ["b:2"]), "", ""),
        (("remove", None, "seeds", ["b:2"]), '    "tcp://b:2",\n', ""),
        (("delete_profile", "seed"), TEXT[TEXT.index("# Who") : TEXT.index("# The")], ""),
        (("set_parent", "seed", None), 'parent = "base"    # see there\n', ""),
        (("new_profile", "w", "seed"), "yet\n", 'yet\n\n[profile.w]\nparent = "seed"\n'),
        (("set", None, "role", "global"), '2",\n]\n', '2",\n]\nrole = "global"\n'),
        (("set", "seed", "role", "global"), "'seed'\n", "'seed'\nrole = \"global\"\n"),
    ],
)
def test_a_change_changes_nothing_else(path: Path, change: Any, old: str, new: str) -> None:
    name, *arguments = change
    with editing(path) as edit:
        getattr(edit, name)(*arguments)
    assert path.read_text() == TEXT.replace(old, new, 1)


def test_a_first_value_makes_the_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "aemp.toml"
    with editing(path) as edit:
        edit.set(None, "seeds", ["a:1"])
        edit.new_profile("a.b/c")
        edit.set("a.b/c", "require_tls", True)
    assert path.read_text() == ('seeds = ["tcp://a:1"]\n\n[profile."a.b/c"]\nrequire_tls = true\n')
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_long_lists_have_one_item_to_a_line_and_rules_are_tables(path: Path) -> None:
    with editing(path) as edit:
        edit.set("base", "seeds", [f"tcp://host{number}.example:4040" for number in range(4)])
        edit.set("base", "rules", [{"node": "ops/*", "allow": ["eval"], "groups": []}])
        edit.set("base", "services", [["a.b:c", 1, "x"], "d"])
    text = path.read_text()
    assert '    "tcp://host3.example:4040",\n]\n' in text
    assert 'rules = [{node = "ops/*", allow = ["eval"], groups = []}]\n' in text
    assert 'services = [["a.b:c", 1, "x"], "d"]\n' in text


def test_a_text_is_a_list_of_one(path: Path) -> None:
    path.write_text("seeds = 'tcp://a:1'\nexpose = 'a.b'\n")
    with editing(path) as edit:
        edit.add(None, "seeds", ["b:2"])
        edit.remove(None, "expose", ["a.b"])
    assert ConfigFile.read(path).tables == {"seeds": ["tcp://a:1", "tcp://b:2"], "expose": []}


def test_nothing_is_written_if_nothing_changes(path: Path) -> None:
    before = path.stat()
    with editing(path) as edit:
        edit.add(None, "seeds", ["a:1"])
    assert path.stat().st_ino == before.st_ino


KEYS = ("heartbeat", "seeds", "nodeid", "rules")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "heartbeat": st.integers(1, 3600) | st.floats(1, 3600),
    "seeds": st.lists(st.sampled_from(["tcp://a:1", "tcp://b:2", "unix:///x y"])),
    "nodeid": st.sampled_from(["", "a/%n", "x" * 200]),
    "rules": st.lists(st.builds(lambda node: {"node": node}, st.text(max_size=5))),
}
LINES = st.lists(
    st.sampled_from(
        ["# = [", "", "heartbeat = 2.5 # ]", 'seeds = [ # "\n"tcp://a:1", ]', "nodeid = ''"]
    ),
    unique=True,
)


@settings(max_examples=60, deadline=None)
@given(LINES, st.dictionaries(st.sampled_from(["a", "b.c", "d"]), LINES), st.data())
def test_any_edits_of_any_file(top: list[str], profiles: dict[str, list[str]], data: Any) -> None:
    """They mean what they say, other tables mean what they did, and comments stay."""
    parts = ["\n".join(top)]
    parts += [
        f'[profile."{name}"] # {name}\n' + "\n".join(lines) for name, lines in profiles.items()
    ]
    file = ConfigFile.of(Path("x.toml"), "\n\n".join(parts) + "\n")
    edit = Edit(file)
    expected: dict[str | None, dict[str, Any]] = {
        name: dict(file.table(name)) for name in (None, *file.profiles)
    }
    kept = [name for name in expected if name]
    for _ in range(data.draw(st.integers(1, 5))):
        name = data.draw(st.sampled_from([None, "a", "b.c", "d"]))
        if name not in expected:
            edit.new_profile(name)
            expected[name] = {}
        key = data.draw(st.sampled_from(KEYS))
        if data.draw(st.booleans()):
            value = data.draw(VALUES[key])
            edit.set(name, key, value)
            expected[name][key] = value
        elif key in expected[name]:
            edit.unset(name, key)
            del expected[name][key]
        elif name is not None and data.draw(st.booleans()):
            edit.delete_profile(name)
            del expected[name]
            kept = [each for each in kept if each != name]
    after = edit.result()
    assert {name: dict(after.table(name)) for name in (None, *after.profiles)} == expected
    for name in kept:
        assert f"# {name}\n" in after.text
    assert after.text.count("# = [") >= sum(profiles[name].count("# = [") for name in kept)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("set", None, "heartbeat", 0), "heartbeat = 0: 1 to 3600 seconds are needed"),
        (("set", None, "hartbeat", 5), "did you mean 'heartbeat'?"),
        (("set", None, "strict", True), "unknown setting 'strict'"),
        (("set", "sede", "heartbeat", 5), "unknown profile 'sede': did you mean 'seed'?"),
        (("set", "base", "cert_key", "x"), "[profile.base]: cert_key is set and 'cert' is not"),
        (("unset", "base", "heartbeat"), "[profile.base]: heartbeat is not set there"),
        (("unset", "seed", "parent"), "unknown setting 'parent'"),
        (("unset", None, "profile"), "unknown setting 'profile'"),
        (("remove", None, "seeds", ["c:3"]), "'c:3' is not in seeds"),
        (("new_profile", "seed"), "there is a profile 'seed' already"),
        (("new_profile", "a=b"), "'a=b' is no name of a profile"),
        (("new_profile", "-a"), "'-a' is no name of a profile"),
        (("new_profile", "w", "bsae"), "unknown profile 'bsae': did you mean 'base'?"),
        (("delete_profile", "w"), "unknown profile 'w'"),
        (("delete_profile", "base"), "[profile.seed]: unknown profile 'base'"),
        (("set_parent", "base", "seed"), "profiles are each other's parents: base -> seed"),
        (("set_parent", "base", "base"), "profiles are each other's parents: base -> base"),
    ],
)
def test_what_would_be_wrong_is_refused(path: Path, change: Any, text: str) -> None:
    assert text in refused(path, *change)


def test_a_file_that_is_wrong_already_can_be_mended(path: Path) -> None:
    path.write_text("hartbeat = 5\nheartbeat = 0\n[profile.a]\nparent = 'b'\n")
    assert "heartbeat = 0.5" in refused(path, "set", None, "heartbeat", 0.5)
    for change in (("unset", None, "hartbeat"), ("set", None, "heartbeat", 5)):
        name, *arguments = change
        with editing(path) as edit:
            getattr(edit, name)(*arguments)
    with editing(path) as edit:
        edit.set_parent("a", None)
    assert ConfigFile.read(path).flaws() == []


def test_a_file_that_is_no_toml_is_left_alone(path: Path) -> None:
    path.write_text("heartbeat = \n")
    assert "(at line 1, column 13)" in refused(path, "set", None, "heartbeat", 5)


# -- the file itself -------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_permissions_stay_unless_there_is_a_secret_now(path: Path) -> None:
    path.chmod(0o664)
    with editing(path) as edit:
        edit.set(None, "heartbeat", 6)
    assert mode(path) == 0o664
    with editing(path) as edit:
        edit.set("seed", "secret", SECRET)
    assert mode(path) == 0o600
    path.chmod(0o644)
    assert f"chmod 600 {path}" in refused(path, "set", None, "heartbeat", 7)


def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.toml"
    link.parent.mkdir()
    link.symlink_to(path)
    with editing(link) as edit:
        edit.set(None, "heartbeat", 6)
    assert link.is_symlink()
    assert "heartbeat = 6" in path.read_text()
    assert list(link.parent.iterdir()) == [link]


def test_of_two_edits_at_the_same_moment_neither_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one waits for the lock, and reads when it has it."""
    waiting = threading.Event()
    monkeypatch.setattr(config_edit.time, "sleep", lambda _: waiting.set())

    def other() -> None:
        with editing(path) as edit:
            edit.add(None, "seeds", ["c:3"])

    thread = threading.Thread(target=other)
    with editing(path) as edit:
        thread.start()
        assert waiting.wait(20)
        edit.add(None, "seeds", ["d:4"])
    thread.join(20)
    seeds = ConfigFile.read(path).tables["seeds"]
    assert seeds == ["tcp://a:1", "tcp://b:2", "tcp://d:4", "tcp://c:3"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
def test_what_root_edits_stays_its_owners(path: Path) -> None:
    for each in (path, path.parent):
        os.chown(each, 4321, 1234)
    with editing(path) as edit:
        edit.set(None, "heartbeat", 6)
    for each in (path, path.with_name(f".{path.name}.lock")):
        assert (each.stat().st_uid, each.stat().st_gid) == (4321, 1234)


def test_an_edit_that_takes_too_long_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_edit, "LOCK_SECONDS", 0.0)
    with editing(path), pytest.raises(ConfigError, match="waiting for another edit to end"):
        with editing(path):
            raise AssertionError("two edits at once")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_file.os, step, fail)
    text = refused(path, "set", None, "heartbeat", 6)
    assert text == f"{path}: cannot be written, and is as it was before: No space left on device"
    assert {each.name for each in path.parent.iterdir()} == {path.name, f".{path.name}.lock"}
