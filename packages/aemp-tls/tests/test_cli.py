"""``aemp ca``: what it prints, what it writes and where, and what it refuses."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from aemp_core.cli.entry import _run
from aemp_tls.trust import Trust


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Aemp = Callable[..., Done]


@pytest.fixture
def aemp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Aemp]:
    """Runs ``aemp ca``, in a directory of its own; no key may ever be printed."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("AEMP_CONFIG", str(tmp_path / "config.toml"))
    printed: list[str] = []

    def aemp(*words: str) -> Done:
        code = _run(["ca", *words])
        out, err = capsys.readouterr()
        printed.extend((out, err))
        return Done(code, out, err)

    yield aemp
    keys = [
        line
        for path in tmp_path.rglob("*")
        if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
        for line in path.read_text().partition("PRIVATE KEY-----\n")[2].splitlines()[:1]
    ]
    assert not any(key in text for key in keys for text in printed)


def test_the_three_commands(aemp: Aemp, tmp_path: Path) -> None:
    for words in (("init", "example"), ("issue", "alice"), ("issue", "bob")):
        done = aemp(*words)
        assert (done.code, done.err) == (0, "")
    assert sorted(os.listdir()) == ["alice.pem", "bob.pem", "network.pem"]
    assert stat.S_IMODE(os.stat("alice.pem").st_mode) == 0o600
    assert Path("network.pem").read_bytes() == (tmp_path / "ca" / "network.pem").read_bytes()
    assert Path("alice.pem").read_text().startswith("# aemp://example/alice, until 20")


def test_show_is_a_table_that_a_person_can_read(aemp: Aemp) -> None:
    aemp("init", "example")
    assert "no certificates yet: 'aemp ca issue NODEID' makes one" in aemp("show").out
    aemp("issue", "alice", "--days", "30")
    aemp("issue", "anon/*", "--pattern")
    aemp("revoke", "alice")
    lines = aemp("show").out.splitlines()
    assert lines[0].startswith("network example, CA in ")
    assert lines[1].startswith("CA 1: AEMP CA 1 of example, until 20")
    (alice,) = [line for line in lines if " alice " in line]
    (anon,) = [line for line in lines if " anon/* " in line]
    assert " revoked 20" in alice
    assert " valid, 365 days left " in anon
    found = json.loads(aemp("show", "--json").out)
    assert found["network"] == "example"
    assert [(each["name"], each["state"]) for each in found["issued"]] == [
        ("alice", "revoked"), ("anon/*", "valid"),
    ]  # fmt: skip
    assert found["issued"][0]["serial"] in alice


def test_a_pattern_is_never_issued_by_a_slip(aemp: Aemp) -> None:
    aemp("init", "example")
    done = aemp("issue", "anon/*")
    assert done.code == 2
    assert "add --pattern if you mean it" in done.err
    assert "it has no '*' at its end" in aemp("issue", "alice", "--pattern").err
    assert os.listdir() == []
    assert aemp("issue", "anon/*", "--pattern").code == 0
    assert sorted(os.listdir()) == ["anon-any.pem", "network.pem"]


def test_where_there_is_no_ca(aemp: Aemp, tmp_path: Path) -> None:
    for words in (("issue", "alice"), ("renew", "a.pem"), ("revoke", "a"), ("show",), ("rotate",)):
        done = aemp(*words)
        assert done.code == 2
        assert f"run 'aemp ca init NETWORK --dir {tmp_path / 'ca'}'" in done.err


def test_nothing_is_written_over(aemp: Aemp) -> None:
    aemp("init", "example")
    assert "there is a CA here already" in aemp("init", "example").err
    aemp("issue", "alice")
    before = Path("alice.pem").read_bytes()
    done = aemp("issue", "alice")
    assert done.code == 2
    assert "'aemp ca renew alice.pem' makes a new certificate in its place" in done.err
    assert Path("alice.pem").read_bytes() == before


def test_the_trust_file_of_another_network_is_left_alone(aemp: Aemp) -> None:
    aemp("init", "one", "--dir", "one")
    aemp("init", "two", "--dir", "two")
    aemp("issue", "alice", "--dir", "one")
    before = Path("network.pem").read_bytes()
    done = aemp("issue", "bob", "--dir", "two")
    assert done.code == 2
    assert "network.pem: is the trust file of another network" in done.err
    assert not Path("bob.pem").exists()
    assert Path("network.pem").read_bytes() == before
    Path("network.pem").write_text("my notes")
    assert "is there already and no trust file" in aemp("issue", "bob", "--dir", "one").err
    assert Path("network.pem").read_text() == "my notes"
    Path("apart").mkdir()
    assert aemp("issue", "bob", "--dir", "two", "--output", "apart/x.pem").code == 0


def test_renewing_and_revoking(aemp: Aemp, tmp_path: Path) -> None:
    aemp("init", "example", "--ed25519")
    aemp("issue", "alice")
    before = Path("alice.pem").read_bytes()
    done = aemp("renew", "alice.pem", "--days", "10")
    assert done.out.startswith("alice.pem: aemp://example/alice until 20")
    assert Path("alice.pem").read_bytes() != before
    done = aemp("revoke", "alice")
    assert done.out.count("revoked: alice, serial number ") == 2
    assert f"now copy {tmp_path / 'ca' / 'network.pem'} to every node" in done.out
    assert "nothing to do" in aemp("revoke", "alice").out
    done = aemp("revoke", "alic")
    assert (done.code, "did you mean 'alice'?" in done.err) == (2, True)
    assert "was revoked on" in aemp("renew", "alice.pem").err


def test_another_ca_takes_over(aemp: Aemp) -> None:
    aemp("init", "example")
    aemp("issue", "alice")
    assert "there is one CA only" in aemp("rotate", "--finish").err
    assert "CA 2 issues from now on" in aemp("rotate").out
    done = aemp("rotate", "--finish")
    assert (done.code, "no certificate of the new CA yet: alice" in done.err) == (2, True)
    aemp("renew", "alice.pem")
    assert len(Trust.read("network.pem").authorities) == 2
    assert "CA 1 is not believed any more" in aemp("rotate", "--finish").out
    assert "former CA" in aemp("show").out


def test_passphrases_from_files(aemp: Aemp) -> None:
    for name, text in (("ca", "of the CA"), ("node", "of the node"), ("none", "")):
        Path(name).write_text(text + "\n")
        Path(name).chmod(0o600)
    assert aemp("init", "example", "--passphrase-file", "ca").code == 0
    done = aemp("issue", "alice")
    assert (done.code, "--passphrase-file" in done.err) == (2, True)
    both = ("--passphrase-file", "ca", "--key-passphrase-file", "node")
    assert aemp("issue", "alice", *both).code == 0
    assert "BEGIN ENCRYPTED PRIVATE KEY" in Path("alice.pem").read_text()
    assert "passphrase, too" in aemp("renew", "alice.pem", *both[:2]).err
    assert aemp("renew", "alice.pem", *both).code == 0
    assert "empty passphrase" in aemp("issue", "bob", "--passphrase-file", "none").err
    Path("ca").chmod(0o644)
    assert "others may read it" in aemp("issue", "bob", *both).err


def test_a_passphrase_that_is_asked_for(aemp: Aemp, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["open sesame", "open sesame", "open sesame"]
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: answers.pop(0))
    done = aemp("init", "example", "--passphrase-file", "-")
    assert done.code == 0 and "sesame" not in done.out + done.err
    assert aemp("issue", "alice", "--passphrase-file", "-").code == 0
    assert answers == []


def test_the_help_of_the_command_loads_no_cryptography() -> None:
    """``aemp --help`` loads every plugin, and must not take long."""
    import subprocess

    program = (
        "import sys\n"
        "from aemp_core.cli.entry import _run\n"
        "assert _run(['--help']) == 0\n"
        "assert not {'cryptography', 'ssl', 'rich'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Make and look after the certificates of a network" in done.stdout
