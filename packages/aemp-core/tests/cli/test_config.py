"""``aemp config`` and ``aemp profile`` as processes: what they show, change and refuse."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from cli_kit import Done, aemp, failed, here

SECRET = "0123456789abcdef"
TEXT = """\
# Of all nodes.
heartbeat = 5

[profile.base]
seeds = ["tcp://a:1"]   # the first
rules = [{ node = "ops/*", allow = ["eval"] }]

[profile.worker]
parent = "base"
nodeid = "worker/%u"
"""

Run = Callable[..., Done]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "aemp.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


@pytest.fixture
def run(file: Path) -> Run:
    """Run ``aemp`` with that file, in this process."""
    return partial(here, AEMP_CONFIG=str(file))


@pytest.fixture
def process(file: Path) -> Run:
    """Run ``aemp`` with that file, as a process."""
    return partial(aemp, AEMP_CONFIG=str(file))


def good(result: Done) -> str:
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def rows(text: str) -> dict[str, list[str]]:
    """The lines of a table by their first word."""
    found = [line.split() for line in text.splitlines() if line.strip()]
    return {first: rest for first, *rest in found}


# -- showing -----------------------------------------------------------------------------------


def test_show_tells_every_value_and_where_it_is_from(process: Run, file: Path) -> None:
    shown = rows(good(process("config", "show", "worker", AEMP_ROLE="ordinary", COLUMNS="100")))
    assert shown["file"] == [str(file)]
    assert shown["profile"] == ["worker"]
    assert shown["node"][0].startswith("worker/") and "%" not in shown["node"][0]
    assert shown["nodeid"] == ["worker/%u", "[profile.worker],", "line", "10"]
    assert shown["seeds"] == ["tcp://a:1", "[profile.base],", "line", "5"]
    assert shown["heartbeat"] == ["5", "top", "level,", "line", "2"]
    assert shown["role"] == ["ordinary", "AEMP_ROLE"]
    assert shown["topology"] == ["hub", "default"]
    assert shown["cert"] == ["-", "default"]


def test_show_for_scripts(run: Run, file: Path) -> None:
    told = json.loads(good(run("config", "show", "--json", AEMP_PROFILE="worker")))
    assert (told["file"], told["profile"]) == (str(file), "worker")
    assert told["unique"] is True and told["node_id"].startswith("worker/")
    assert told["settings"]["seeds"] == {
        "value": ["tcp://a:1"],
        "origin": f"{file}: [profile.base]",
        "line": 5,
        "column": 1,
    }
    assert told["settings"]["rules"]["value"] == [{"node": "ops/*", "allow": ["eval"]}]
    assert told["settings"]["topology"] == {
        "value": "hub", "origin": "default", "line": None, "column": None
    }  # fmt: skip


def test_a_fixed_node_id_is_the_same_each_time(run: Run) -> None:
    told = json.loads(good(run("config", "show", "--json", AEMP_NODEID="%n/a")))
    assert told["unique"] is False
    assert told["node_id"].endswith("/a") and "%" not in told["node_id"]


def test_secrets_are_never_shown(run: Run, file: Path) -> None:
    good(run("config", "set", "secret", "-", "--profile", "base", stdin=f"{SECRET}\n"))
    passphrase = {"AEMP_CERT": "x.pem", "AEMP_CERT_PASSPHRASE": "open sesame"}
    for words in (["show", "worker"], ["show", "worker", "--json"]):
        shown = good(run("config", *words, **passphrase))
        assert SECRET not in shown and "sesame" not in shown
    assert good(run("config", "get", "secret", "--profile", "worker")) == "(set, 16 bytes)\n"
    got = json.loads(good(run("config", "get", "secret", "--profile", "worker", "--json")))
    assert got == {"set": True, "bytes": 16}
    assert f'secret = "{SECRET}"\n' in file.read_text()
    line = failed(run("config", "set", "secret", "hunter2"), 2)
    assert "too short" in line and "hunter2" not in line


def test_get_prints_the_value_a_node_would_have(run: Run) -> None:
    assert good(run("config", "get", "heartbeat")) == "5\n"
    assert good(run("config", "get", "seeds")) == good(run("config", "get", "cert")) == ""
    assert good(run("config", "get", "framings")) == "msgpack\njson\n"
    assert good(run("config", "get", "seeds", "--profile", "worker")) == "tcp://a:1\n"
    assert json.loads(good(run("config", "get", "cert", "--json"))) is None
    assert "did you mean 'seeds'?" in failed(run("config", "get", "sedes"), 2)
    assert "did you mean 'worker'?" in failed(run("config", "get", "seeds", "--profile", "work"), 2)


def test_path_is_printed_whether_there_is_a_file_or_not(run: Run, file: Path) -> None:
    file.unlink()
    assert good(run("config", "path")) == f"{file}\n"


# -- checking ----------------------------------------------------------------------------------


def test_check_names_everything_wrong_with_its_place(run: Run, process: Run, file: Path) -> None:
    assert good(run("config", "check")) == f"{file}: nothing is wrong, profiles: base, worker\n"
    file.write_text(TEXT.replace("heartbeat", "hartbeat").replace('"base"', '"bse"'))
    done = process("config", "check", AEMP_SEED="x", AEMP_PROFILE="wroker")
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.splitlines() == [
        f"{file}:2:1: unknown setting 'hartbeat': did you mean 'heartbeat'?",
        f"{file}:9:1: [profile.worker]: unknown profile 'bse': did you mean 'base'?",
        f"{file}: unknown environment variable AEMP_SEED: did you mean AEMP_SEEDS?",
        f"{file}: AEMP_PROFILE: unknown profile 'wroker': did you mean 'worker'?",
    ]
    (first, second) = json.loads(run("config", "check", "--json").stdout)["flaws"]
    assert (first["line"], first["column"], first["profile"]) == (2, 1, None)
    assert (second["line"], second["column"], second["profile"]) == (9, 1, "worker")


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_secret_that_others_may_read_stops_everything(run: Run, file: Path) -> None:
    good(run("config", "set", "secret", SECRET))
    file.chmod(0o644)
    before = file.read_bytes()
    for words in (["run"], ["config", "show"], ["config", "set", "heartbeat", "6"]):
        assert f"run 'chmod 600 {file}'" in failed(run(*words), 2)
    assert f"run 'chmod 600 {file}'" in run("config", "check").stdout
    assert file.read_bytes() == before


# -- changing ----------------------------------------------------------------------------------


def test_changes_keep_comments_and_nothing_is_said(process: Run, file: Path) -> None:
    run = process
    for words in (
        ["config", "set", "heartbeat", "2.5"],
        ["config", "add", "seeds", "b:2", "tcp://a:1", "--profile", "base"],
        ["config", "set", "rules", "{node='x'}", "[{node='y', deny='kil'}]", "--profile=worker"],
        ["config", "add", "services", "['a.b:c', 1]", "d", "--profile=worker"],
        ["config", "unset", "nodeid", "--profile=worker"],
    ):  # fmt: skip
        assert good(run(*words)) == ""
    assert file.read_text() == (
        '# Of all nodes.\nheartbeat = 2.5\n\n[profile.base]\nseeds = ["tcp://a:1", "tcp://b:2"]   '
        '# the first\nrules = [{ node = "ops/*", allow = ["eval"] }]\n\n[profile.worker]\n'
        'parent = "base"\nrules = [{node = "x"}, {node = "y", deny = ["kil"]}]\n'
        'services = [["a.b:c", 1], "d"]\n'
    )
    good(run("config", "remove", "services", "['a.b:c', 1]", "--profile", "worker"))
    assert good(run("config", "get", "services", "--profile", "worker")) == "d\n"


def test_a_first_setting_makes_the_file(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}
    good(aemp("config", "set", "heartbeat", "5", **home))
    path = Path(good(aemp("config", "path", **home)).strip())
    assert path.read_text() == "heartbeat = 5\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_variable_overrules_is_told(run: Run) -> None:
    done = run("config", "set", "heartbeat", "6", AEMP_HEARTBEAT="7")
    assert done.returncode == 0
    assert done.stderr == "aemp config set: AEMP_HEARTBEAT is set here, and is stronger\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["set", "heartbeat", "0"], "heartbeat = 0: 1 to 3600 seconds are needed"),
        (["set", "hearbeat", "5"], "unknown setting 'hearbeat': did you mean 'heartbeat'?"),
        (["set", "heartbeat", "5", "6"], "heartbeat takes one value, not 2"),
        (["set", "heartbeat", "5", "--profile", "wroker"], "did you mean 'worker'?"),
        (["set", "cert_key", "x"], "cert_key is set and 'cert' is not"),
        (["set", "rules", "[{"], "rules = [{: "),
        (["add", "heartbeat", "5"], "heartbeat is no list: use 'aemp config set'"),
        (["remove", "expose", "a.b"], "'a.b' is not in expose"),
        (["unset", "expose"], "expose is not set there"),
    ],
)
def test_a_wrong_change_is_refused_and_nothing_is_written(
    run: Run, file: Path, words: list[str], text: str
) -> None:
    assert text in failed(run("config", *words), 2)
    assert file.read_text() == TEXT


def test_a_malformed_file_is_told_with_line_and_column(run: Run, file: Path) -> None:
    file.write_text("heartbeat = 5\nseeds = [\n")
    for words in (["run"], ["config", "set", "role", "auto"], ["profile", "list"]):
        assert "at line 3, column 1, the end" in failed(run(*words), 2)
    assert run("config", "check").stdout.startswith(f"{file}:3:1: ")


def test_edits_at_the_same_moment_are_all_there(file: Path) -> None:
    environment = {**os.environ, "AEMP_CONFIG": str(file)}
    words = [sys.executable, "-m", "aemp_core", "config", "add", "expose"]
    processes = [
        subprocess.Popen([*words, f"module{number}"], env=environment) for number in range(6)
    ]
    assert [process.wait(timeout=40) for process in processes] == [0] * 6
    got = good(aemp("config", "get", "expose", AEMP_CONFIG=str(file))).split()
    assert sorted(got) == [f"module{number}" for number in range(6)]


# -- where nothing can be written --------------------------------------------------------------


def unchanged(done: Done, file: Path, why: str) -> None:
    """The command failed as it should, and left nothing behind."""
    line = failed(done, 2)
    assert line == f"aemp: {file}: cannot be written, and is as it was before: {why}"
    assert file.read_text() == TEXT
    assert {each.name for each in file.parent.iterdir()} <= {file.name, f".{file.name}.lock"}


def test_a_file_that_may_not_grow_is_left_as_it_was(run: Run, file: Path) -> None:
    """What a quota does: the write itself fails, half-way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        done = run("config", "set", "role", "auto")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    unchanged(done, file, "File too large")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk with no room left but for a few files of no length."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "aemp-test", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root, and a container that lets it")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_file_as_it_was(full_disk: Path) -> None:
    file = full_disk / "aemp.toml"
    file.write_text(TEXT)
    file.chmod(0o600)
    stuffing = full_disk / "stuffing"
    with pytest.raises(OSError), stuffing.open("wb", buffering=0) as rest:
        while True:
            rest.write(bytes(4096))
    done = aemp("config", "set", "role", "auto", AEMP_CONFIG=str(file))
    stuffing.unlink()
    unchanged(done, file, "No space left on device")


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = tmp_path / "file" / "aemp.toml"
    line = failed(aemp("config", "set", "role", "auto", AEMP_CONFIG=str(file)), 2)
    assert f"{file}: cannot be written" in line
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        file = tmp_path / "aemp.toml"
        line = failed(aemp("config", "set", "role", "auto", AEMP_CONFIG=str(file)), 2)
        assert f"{file}: cannot be written" in line
        tmp_path.chmod(0o700)


# -- profiles ----------------------------------------------------------------------------------


def test_profiles_are_listed_made_and_deleted(process: Run, file: Path) -> None:
    run = process
    good(run("profile", "new", "seed", "--parent", "base", "nodeid=seed", "binds=*:4040,*:4041"))
    assert json.loads(good(run("profile", "list", "--json"))) == [
        {"name": "base", "parent": None, "settings": ["seeds", "rules"]},
        {"name": "worker", "parent": "base", "settings": ["nodeid"]},
        {"name": "seed", "parent": "base", "settings": ["nodeid", "binds"]},
    ]
    assert rows(good(run("profile", "list")))["seed"] == ["base", "nodeid,", "binds"]
    good(run("profile", "delete", "seed"))
    assert file.read_text() == TEXT


def test_parents_are_shown_and_changed(run: Run, file: Path) -> None:
    assert good(run("profile", "parent", "worker")) == "base\n"
    assert good(run("profile", "parent", "base")) == ""
    good(run("profile", "parent", "worker", "--none"))
    assert good(run("profile", "parent", "worker")) == ""
    good(run("profile", "parent", "worker", "base"))
    good(run("profile", "new", "top"))
    good(run("profile", "parent", "base", "top"))
    good(run("profile", "delete", "base", "--reparent"))
    assert good(run("profile", "parent", "worker")) == "top\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["delete", "base"], "profile 'base' is the parent of worker"),
        (["delete", "bas"], "unknown profile 'bas': did you mean 'base'?"),
        (["parent", "base", "worker"], "profiles are each other's parents: base -> worker -> base"),
        (["parent", "base", "base"], "profiles are each other's parents: base -> base"),
        (["parent", "base", "wroker"], "did you mean 'worker'?"),
        (["parent", "bse"], "did you mean 'base'?"),
        (["parent", "base", "worker", "--none"], "not both"),
        (["new", "base"], "there is a profile 'base' already"),
        (["new", "a=b"], "'a=b' is no name of a profile"),
        (["new", "x", "heartbeat"], "'heartbeat': write KEY=VALUE"),
        (["new", "x", "heartbeat=0"], "heartbeat = 0"),
    ],
)
def test_a_wrong_change_of_profiles_is_refused(
    run: Run, file: Path, words: list[str], text: str
) -> None:
    assert text in failed(run("profile", *words), 2)
    assert file.read_text() == TEXT


# -- a program and the command give the same node ----------------------------------------------


def test_a_program_and_the_command_give_the_same_node(run: Run, file: Path, tmp_path: Path) -> None:
    """`configure` and ``aemp run`` of one profile differ in nothing but the clock and chance."""
    (tmp_path / "telling.py").write_text(
        "import dataclasses, os, signal\n"
        "import aemp_core as mp\n"
        "def tell():\n"
        "    node = mp.current_node()\n"
        "    print(node.id, node.rules.__dict__, dataclasses.asdict(node.settings), flush=True)\n"
        "    if os.environ.get('BY_COMMAND'):\n"
        "        node.loop.call_later(0, os.kill, os.getpid(), signal.SIGTERM)\n"
    )
    program = (
        "import asyncio, aemp_core as mp\n"
        "async def main():\n"
        "    async with mp.configure('same'):\n"
        "        pass\n"
        "asyncio.run(main())\n"
    )
    good(run("profile", "new", "same", "--parent", "worker", "nodeid=same/%n"))
    good(run("config", "set", "services", "['telling:tell']", "--profile", "same"))
    good(run("config", "set", "secret", SECRET, "--profile", "base"))
    good(run("config", "set", "seeds", "memory://a", "--profile", "same"))  # of core alone
    environment = {
        **os.environ, "AEMP_CONFIG": str(file), "AEMP_SPAWN_LIMIT": "7", "PYTHONPATH": str(tmp_path)
    }  # fmt: skip
    outputs = []
    for words, more in (
        (["-c", program], {}),
        (["-m", "aemp_core", "run", "same"], {"BY_COMMAND": "1"}),
    ):
        done = subprocess.run(
            [sys.executable, *words],
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=30,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.splitlines()[0])
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith("same/") and "'spawn_limit': 7" in outputs[0]
