"""The configuration file: where everything is in it, and everything wrong with it at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aemp_core.config_file import ConfigFile, Flaw, Place
from aemp_core.errors import ConfigError

PATH = Path("aemp.toml")

HARD = '''\
# heartbeat = 1
heartbeat = 5   # [profile.no]
  nodeid = "a # = [b"
expose = [      # one
    "a.b",      # x = 1
    'c.d',
]
"log_level" = \'\'\'INFO\'\'\'
cert = """x.pem"""
rules = [{ node = "a", allow = ["eval"] }, { node = "b" }]

[profile]
  [profile.one]   # = here
  heartbeat = 5
[profile."two.b"]
binds = []
[ profile . three ]
parent = "one"
profile.x = 1
'''


def flaws(text: str) -> list[str]:
    return [str(flaw) for flaw in ConfigFile.of(PATH, text).flaws()]


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (("heartbeat",), (2, 1)),
        (("nodeid",), (3, 3)),
        (("expose",), (4, 1)),
        (("log_level",), (8, 1)),
        (("cert",), (9, 1)),
        (("rules",), (10, 1)),
        (("rules", "allow"), (10, 1)),
        (("profile",), (12, 1)),
        (("profile", "one"), (13, 3)),
        (("profile", "one", "heartbeat"), (14, 3)),
        (("profile", "two.b", "binds"), (16, 1)),
        (("profile", "three"), (17, 1)),
        (("profile", "three", "parent"), (18, 1)),
        (("profile", "three", "profile", "x"), (19, 1)),
        (("x",), None),
    ],
)
def test_places_of_headers_and_keys(keys: tuple[str, ...], place: tuple[int, int] | None) -> None:
    """Also where comments, strings and lists hold what looks like a key or a header."""
    assert ConfigFile.of(PATH, HARD).place(*keys) == (place and Place(*place))


def test_places_with_the_line_ends_of_windows_and_without_a_last_one() -> None:
    file = ConfigFile.of(PATH, "heartbeat = 5\r\n[profile.a]\r\nnodeid = 'x'")
    assert file.place("profile", "a", "nodeid") == (3, 1)


def test_a_multi_line_text_is_no_place_for_keys() -> None:
    file = ConfigFile.of(PATH, 'cert = """\nheartbeat = 1\\""""""\nheartbeat = 2\n')
    assert file.tables["cert"] == 'heartbeat = 1"""'
    assert file.place("heartbeat") == (3, 1)


def test_a_good_file_has_no_flaws() -> None:
    text = "heartbeat = 5\n[profile.a]\nparent = 'b'\n[profile.b]\ncert = 'x'\ncert_key = 'y'\n"
    assert flaws(text) == flaws("") == []


def test_everything_wrong_is_told_at_once_in_its_order() -> None:
    assert flaws(
        "heartbeat = 0\nhartbeat = 5\n[profile.a]\nbind = []\nseeds = ['nowhere']\n"
        "[profile.'b c']\n"
    ) == [
        "heartbeat = 0: 1 to 3600 seconds are needed (at line 1, column 1)",
        "unknown setting 'hartbeat': did you mean 'heartbeat'? (at line 2, column 1)",
        "[profile.a]: unknown setting 'bind': did you mean 'binds'? (at line 4, column 1)",
        "[profile.a]: seeds = ['nowhere']: 'nowhere' is no address: write tcp://HOST:PORT, or "
        "HOST:PORT which means the same (at line 5, column 1)",
        "'b c' is no name of a profile: use letters, digits and _ . / : - (at line 6, column 1)",
    ]


def test_profiles_are_checked_whoever_uses_them() -> None:
    assert flaws("[profile.a]\nparent = 'b'\n[profile.b]\nparent = 5\n") == [
        "[profile.b]: parent = 5: no profile's name (at line 4, column 1)"
    ]
    assert flaws("[profile.a]\nparent = 'b'\n[profile.b]\nparent = 'd'\n") == [
        "[profile.b]: unknown profile 'd': use one of a, b (at line 4, column 1)"
    ]
    circle = "[profile.c]\nparent = 'a'\n[profile.a]\nparent = 'b'\n[profile.b]\nparent = 'a'\n"
    assert flaws(circle) == ["profiles are each other's parents: a -> b -> a (at line 4, column 1)"]


def test_what_values_amount_to_is_checked_where_it_goes_wrong() -> None:
    """A child of a flawed profile is not told of again; one that mends it is right."""
    text = (
        "[profile.a]\ncert_key = 'x'\n[profile.b]\nparent = 'a'\n"
        "[profile.c]\nparent = 'a'\ncert = 'y'\n"
    )
    assert flaws(text) == [
        "[profile.a]: cert_key is set and 'cert' is not: set 'cert', or leave it out "
        "(at line 2, column 1)"
    ]


@pytest.mark.parametrize("text", ["profile = 5\n", "[profile]\na = 5\n"])
def test_a_profile_is_a_table(text: str) -> None:
    (flaw,) = flaws(text)
    assert "[profile." in flaw


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_secret_that_others_may_read_is_a_flaw_that_shows_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "aemp.toml"
    path.write_text("[profile.a]\nsecret = '0123456789abcdef'\n")
    path.chmod(0o640)
    (flaw,) = ConfigFile.read(path).flaws()
    assert flaw == Flaw(flaw.text)
    assert f"run 'chmod 600 {path}'" in flaw.text
    file = ConfigFile.read(path)
    assert "0123456789abcdef" not in repr((file, file.flaws()))
    path.chmod(0o600)
    assert ConfigFile.read(path).flaws() == []


def test_a_file_that_is_not_there_is_empty_unless_it_must_be(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    file = ConfigFile.read(path)
    assert (file.text, file.tables, file.status, file.flaws()) == ("", {}, None, [])
    with pytest.raises(ConfigError, match="there is no such file"):
        ConfigFile.read(path, must_exist=True)
    with pytest.raises(ConfigError, match=r"Is a directory"):
        ConfigFile.read(tmp_path)
