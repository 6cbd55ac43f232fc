"""Configuration: files, profiles, variables, and which of them wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from aemp_core.config import config_dir, config_path, gather, load, parse_text
from aemp_core.errors import ConfigError
from aemp_core.settings import Rule

SECRET = "0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "aemp.toml"
    path.touch(0o600)
    monkeypatch.setenv("AEMP_CONFIG", str(path))
    return path


def refused(profile: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(profile)
    return str(caught.value)


def test_without_a_file_the_program_and_the_defaults_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert config_dir() == tmp_path / "aemp"
    assert config_path() == tmp_path / "aemp" / "config.toml"
    settings = load(None, {"heartbeat": 20})
    assert (settings.heartbeat, settings.connect_interval) == (20.0, 5.0)


def test_a_relative_xdg_directory_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "here")
    monkeypatch.setattr("sys.platform", "linux")
    assert config_dir() == Path.home() / ".config" / "aemp"


def test_first_found_wins(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words, variables, profile, parent, top level, program, defaults: in that order."""
    file.write_text(
        "send_limit = 5\nheartbeat = 5\nmailbox_limit = 5\nspawn_limit = 5\nconnect_interval = 5\n"
        "[profile.base]\nheartbeat = 4\nmailbox_limit = 4\nspawn_limit = 4\nconnect_interval = 4\n"
        "[profile.child]\nparent = 'base'\n"
        "mailbox_limit = 3\nspawn_limit = 3\nconnect_interval = 3\n"
    )
    monkeypatch.setenv("AEMP_SPAWN_LIMIT", "2")
    monkeypatch.setenv("AEMP_CONNECT_INTERVAL", "2")
    program = dict.fromkeys(("frame_limit", "send_limit", "heartbeat"), 2**17) | {"heartbeat": 6}
    found = load("child", program, {"connect_interval": 1})
    assert found.connect_interval == 1  # word
    assert found.spawn_limit == 2  # variable
    assert found.mailbox_limit == 3  # profile
    assert found.heartbeat == 4  # parent
    assert found.send_limit == 5  # top level
    assert found.frame_limit == 2**17  # program
    assert found.monitor_timeout == 30  # defaults


def test_gather_says_where_each_value_is_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("heartbeat = 5\n[profile.a]\nnodeid = 'x'\n")
    monkeypatch.setenv("AEMP_SEEDS", "tcp://a:1,tcp://b:2")
    found = gather("a", {"log_level": "info"})
    assert {key: sourced.origin for key, sourced in found.items()} == {
        "heartbeat": str(file),
        "nodeid": f"{file}: [profile.a]",
        "seeds": "environment",
        "log_level": "program",
    }
    assert found["seeds"].value == ("tcp://a:1", "tcp://b:2")


def test_the_profile_may_come_from_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[profile.a]\nnodeid = 'x'\n")
    monkeypatch.setenv("AEMP_PROFILE", "a")
    assert load().nodeid == "x"


def test_an_unknown_profile_names_the_nearest_and_the_file(file: Path) -> None:
    file.write_text("[profile.worker]\n[profile.seed]\n")
    assert refused("wroker") == f"{file}: unknown profile 'wroker': did you mean 'worker'?"


def test_an_unknown_parent_names_who_wants_it(file: Path) -> None:
    file.write_text("[profile.worker]\nparent = 'bse'\n[profile.base]\n")
    assert refused("worker") == (
        f"{file}: [profile.worker]: unknown profile 'bse': did you mean 'base'? "
        "(at line 2, column 1)"
    )


def test_a_circle_of_parents_is_an_error(file: Path) -> None:
    file.write_text(
        "[profile.a]\nparent = 'b'\n[profile.b]\nparent = 'c'\n[profile.c]\nparent = 'b'\n"
    )
    assert refused("a") == (
        f"{file}: profiles are each other's parents: b -> c -> b (at line 4, column 1)"
    )


def test_an_unknown_key_names_the_nearest_and_the_place(file: Path) -> None:
    file.write_text("hartbeat = 5\n")
    assert refused() == (
        f"{file}: unknown setting 'hartbeat': did you mean 'heartbeat'? (at line 1, column 1)"
    )
    file.write_text("[profile.a]\nbind = 'x'\n")
    assert refused() == (
        f"{file}: [profile.a]: unknown setting 'bind': did you mean 'binds'? (at line 2, column 1)"
    )


def test_strict_is_for_programs_only(file: Path) -> None:
    assert load(None, {"strict": True}).strict
    file.write_text("strict = true\n")
    assert "unknown setting 'strict'" in refused()


def test_a_wrong_value_names_the_place(file: Path) -> None:
    file.write_text("[profile.a]\nheartbeat = 0\n")
    assert refused("a") == (
        f"{file}: [profile.a]: heartbeat = 0: 1 to 3600 seconds are needed (at line 2, column 1)"
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("heartbeat = 5\nbinds = [,]\n", "at line 2, column 10"),
        ("heartbeat = 5\nbinds = [", "at line 2, column 10, the end"),
    ],
)
def test_malformed_toml_names_line_and_column(file: Path, text: str, place: str) -> None:
    file.write_text(text)
    message = refused()
    assert message.startswith(f"{file}: ")
    assert place in message


def test_a_file_that_is_not_utf8_names_line_and_column(file: Path) -> None:
    file.write_bytes(b"heartbeat = 5\nnodeid = '\xff'\n")
    assert refused() == f"{file}: not UTF-8 (at line 2, column 11)"


@pytest.mark.parametrize("text", ["profile = 5\n", "[profile]\na = 5\n"])
def test_a_profile_is_a_table(file: Path, text: str) -> None:
    file.write_text(text)
    assert "[profile." in refused()


def test_a_file_that_is_named_must_be_there(file: Path) -> None:
    file.unlink()
    assert refused() == f"{file}: there is no such file, but AEMP_CONFIG names it"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_can_read_is_refused_with_the_remedy(file: Path, mode: int) -> None:
    file.write_text(f"[profile.a]\nsecret = '{SECRET}'\n")
    file.chmod(mode)
    message = refused()
    assert f"run 'chmod 600 {file}'" in message
    assert SECRET not in message
    file.chmod(0o600)
    assert load("a").secret == SECRET.encode()


def test_a_file_without_a_secret_may_be_read_by_anyone(file: Path) -> None:
    file.write_text("heartbeat = 5\n")
    file.chmod(0o644)
    assert load().heartbeat == 5


def test_variables_set_every_kind_of_value(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "SECRET": SECRET,
        "BINDS": "tcp://*:4040, unix:///run/a",
        "HEARTBEAT": "2.5",
        "SEND_LIMIT": "1000",
        "SERVICES": "a.b,c.d",
        "RULES": "[{node = 'ops/*', allow = ['eval']}]",
    }.items():
        monkeypatch.setenv(f"AEMP_{name}", text)
    settings = load()
    assert settings.secret == SECRET.encode()
    assert settings.binds == ("tcp://*:4040", "unix:///run/a")
    assert settings.heartbeat == 2.5
    assert settings.send_limit == 1000
    assert settings.services == ("a.b", "c.d")
    assert settings.rules == (Rule("ops/*", ("eval",)),)


def test_a_wrong_variable_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEMP_HEARTBEAT", "soon")
    assert refused() == (
        "environment variable AEMP_HEARTBEAT: heartbeat = 'soon': 1 to 3600 seconds are needed"
    )


def test_a_variable_written_wrong_is_refused_and_a_foreign_one_is_not(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Container platforms define AEMP_SERVICE_HOST and the like for a service named aemp."""
    monkeypatch.setenv("AEMP_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("AEMP_PORT_4040_TCP", "tcp://10.0.0.1:4040")
    load()
    monkeypatch.setenv("AEMP_SEED", "tcp://a:1")
    assert refused() == "unknown environment variable AEMP_SEED: did you mean AEMP_SEEDS?"


def test_words_are_read_as_variables_are() -> None:
    assert parse_text("services", "[['a.b:c', 1], 'd']") == (("a.b:c", 1), "d")
    assert parse_text("nodeid", "%n/%u") == "%n/%u"
    assert parse_text("seeds", "") == ()
    with pytest.raises(ConfigError, match=r"rules = \[\{: .* \(at line 1"):
        parse_text("rules", "[{")
    with pytest.raises(ConfigError, match=r"send_limit = 1000\.0: a whole number"):
        parse_text("send_limit", "1e3")
