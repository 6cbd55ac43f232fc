"""Settings: every wrong value is refused with a text that names it and the remedy."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from aemp_core.config import parse_text
from aemp_core.errors import ConfigError
from aemp_core.requests import Rules
from aemp_core.settings import Rule, Settings


def test_the_defaults_are_those_documented() -> None:
    settings = Settings()
    assert settings.nodeid == "anon/"
    assert settings.heartbeat == 10.0
    assert settings.monitor_timeout == 30.0
    assert settings.framings == ("msgpack", "json")
    assert settings.auth_accept == ("hmac_sha3_512_role",)
    assert settings.secret is None


def test_lists_become_tuples_and_a_text_is_a_list_of_one() -> None:
    settings = Settings.of(binds=["tcp://*:1", "unix:///run/a"], seeds="memory://bob")
    assert settings.binds == ("tcp://*:1", "unix:///run/a")
    assert settings.seeds == ("memory://bob",)


def test_an_address_without_a_scheme_means_tcp() -> None:
    settings = Settings.of(binds=["*:4040", "[::1]:0", ":80", "a.example:1"])
    assert settings.binds == ("tcp://*:4040", "tcp://[::1]:0", "tcp://:80", "tcp://a.example:1")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().nodeid = "other"  # type: ignore[misc]


def test_a_secret_is_bytes_and_never_shown() -> None:
    settings = Settings.of(secret="sechzehn Zeichen!")
    assert settings.secret == b"sechzehn Zeichen!"
    assert "sechzehn" not in repr(settings)


def test_checking_settings_twice_changes_nothing() -> None:
    once = Settings.of(
        rules=[{"node": "ops/*", "allow": ["eval"]}], services=[["a.b:c", 1]], heartbeat=2
    )
    given = {each.name: getattr(once, each.name) for each in dataclasses.fields(once)}
    assert Settings.of(**given) == once


def test_a_rule_is_written_as_a_table() -> None:
    (rule,) = Settings.of(rules=[{"node": "ops/*", "allow": ["eval"], "deny": "kil"}]).rules
    assert rule == Rule("ops/*", ("eval",), ("kil",))


def test_a_rule_may_be_about_groups() -> None:
    table = {"node": "guest/*", "groups": ["lobby", "chat/*"]}
    settings = Settings.of(rules=[table, {"node": "mute/*", "groups": []}, {"node": "*"}])
    assert settings.rules[0] == Rule("guest/*", groups=("lobby", "chat/*"))
    rules = Rules(Settings.of(rules=settings.rules).rules)
    assert rules.allow_group("guest/1", "lobby")
    assert rules.allow_group("guest/1", "chat/1")
    assert not rules.allow_group("guest/1", "admins")
    assert not rules.allow_group("mute/1", "lobby")
    assert rules.allow_group("anybody", "admins")
    with pytest.raises(ConfigError, match="did you mean 'groups'"):
        Settings.of(rules=[{"node": "*", "group": ["lobby"]}])
    with pytest.raises(ConfigError, match="17 is no pattern of groups"):
        Settings.of(rules=[{"node": "*", "groups": [17]}])


@pytest.mark.parametrize("word", ["bind", "seed", "heartbeats", "sekret"])
def test_an_unknown_setting_is_told_the_nearest(word: str) -> None:
    near = {"bind": "binds", "seed": "seeds", "heartbeats": "heartbeat", "sekret": "secret"}[word]
    with pytest.raises(ConfigError, match=f"unknown setting '{word}': did you mean '{near}'"):
        Settings.of(**{word: "x"})


def test_an_unknown_setting_like_no_other_is_told_all() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'zzz': use one of advertise, auth_"):
        Settings.of(zzz=1)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("nodeid", "a b", "nodeid = 'a b': use at most 255 characters out of A-Z"),
        ("nodeid", "x" * 256, "use at most 255 characters"),
        ("nodeid", 5, "nodeid = 5"),
        ("binds", ["localhost"], "'localhost' is no address: write tcp://HOST:PORT"),
        ("binds", ["tcp://"], "'tcp://' is no address"),
        ("binds", {"a": 1}, "a list is needed"),
        ("seeds", [4040], "4040 is no address"),
        ("services", ["not a module"], "'not a module' is no service: write 'package.module'"),
        ("services", [["a.b", 1]], "is no service"),
        ("expose", ["a.b:c"], "'a.b:c' is no module"),
        ("heartbeat", 0.5, "heartbeat = 0.5: 1 to 3600 seconds are needed"),
        ("heartbeat", True, "1 to 3600 seconds"),
        ("heartbeat", float("nan"), "1 to 3600 seconds"),
        ("monitor_timeout", 10, "more than 10 to 86400 seconds"),
        ("connect_interval", 0, "more than 0"),
        ("framings", [], "at least one name is needed"),
        ("auth_offer", ["cleartext"], "never sent as clear text"),
        ("send_limit", 0, "a whole number from 1"),
        ("send_limit", 1.5, "a whole number"),
        ("frame_limit", 65_535, "a whole number from 65536 to 1073741824 bytes"),
        ("mailbox_limit", True, "a whole number"),
        ("rules", {"node": "*"}, "a list of rules is needed"),
        ("rules", [{"allow": ["eval"]}], "is no rule"),
        ("rules", [{"node": "*", "allow": ["evil"]}], "unknown word of a rule 'evil'"),
        ("rules", [{"node": "*", "alow": ["eval"]}], "did you mean 'allow'"),
        ("strict", 1, "true or false"),
        ("topology", "ring", "use one of hub, mesh"),
        ("role", "leader", "use one of auto, global, ordinary"),
        ("log_level", "LOUD", "use one of CRITICAL, ERROR"),
    ],
)
def test_a_wrong_value_is_refused_by_name(key: str, value: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)) as caught:
        Settings.of(**{key: value})
    assert str(caught.value).startswith(key)


def test_a_wrong_secret_is_refused_without_showing_it() -> None:
    for secret in ("hunter2", b"hunter2", 7777777):
        with pytest.raises(ConfigError, match="secret: ") as caught:
            Settings.of(secret=secret)
        assert "hunter2" not in str(caught.value)
        assert "7777777" not in str(caught.value)


def test_links_that_can_be_read_are_refused_as_soon_as_there_is_a_certificate() -> None:
    assert not Settings().only_private
    assert Settings.of(cert="alice.pem").only_private
    assert Settings.of(require_tls=True).only_private
    assert not Settings.of(cert="alice.pem", require_tls=False).only_private
    assert parse_text("require_tls", "false") is False
    with pytest.raises(ConfigError, match="true or false"):
        Settings.of(require_tls="perhaps")


@pytest.mark.parametrize("key", ["cert_key", "cert_trust", "cert_passphrase"])
def test_what_belongs_to_a_certificate_needs_one(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} is set and 'cert' is not"):
        Settings.of(**{key: "something"})
    assert "something" not in repr(Settings.of(cert="a.pem", cert_passphrase="something"))
    with pytest.raises(ConfigError, match=r"^cert_passphrase: a text is needed"):
        Settings.of(cert="a.pem", cert_passphrase=17)
