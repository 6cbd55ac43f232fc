"""The per-user secret: made once, read only where nobody else can, refused everywhere else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aemp_core.errors import ConfigError
from aemp_core.secret import new_secret, user_secret, user_secret_path, write_secret
from aemp_core.settings import Settings

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file modes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "aemp" / "secret"


def test_it_is_made_once_and_read_from_then_on(path: Path) -> None:
    first = user_secret(path)
    assert len(first) == 64 and int(first, 16)
    assert user_secret(path) == first
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


@posix
def test_only_its_owner_can_use_the_file_and_its_directory(path: Path) -> None:
    before = os.umask(0)
    try:
        user_secret(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_is_a_secret_as_the_settings_take_it(path: Path) -> None:
    text = path.parent
    assert not text.exists()
    secret = user_secret(path)
    assert Settings.of(secret=path.read_text().strip()).secret == secret


def test_it_lies_beside_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    if sys.platform not in ("win32", "darwin"):
        assert user_secret_path() == tmp_path / "aemp" / "secret"
    monkeypatch.setenv("AEMP_CONFIG", str(tmp_path / "elsewhere" / "config.toml"))
    assert user_secret_path() == tmp_path / "elsewhere" / "secret"


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602])
def test_a_file_others_can_use_is_refused(path: Path, mode: int) -> None:
    user_secret(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{mode:04o}.*chmod 600 {path}"):
        user_secret(path)


@posix
def test_a_directory_others_can_write_to_is_refused(path: Path) -> None:
    user_secret(path)
    path.parent.chmod(0o777)
    with pytest.raises(ConfigError, match=f"chmod go-w {path.parent}"):
        user_secret(path)
    path.unlink()
    with pytest.raises(ConfigError, match=f"chmod go-w {path.parent}"):
        user_secret(path)
    assert not path.exists()


@posix
def test_a_symbolic_link_is_refused_even_to_a_good_file(path: Path, tmp_path: Path) -> None:
    user_secret(tmp_path / "good" / "secret")
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "good" / "secret")
    with pytest.raises(ConfigError, match="symbolic link"):
        user_secret(path)


@posix
def test_a_dangling_link_is_not_written_through(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError, match="symbolic link"):
        user_secret(path)
    with pytest.raises(FileExistsError):
        write_secret(path, new_secret())
    assert not (tmp_path / "target").exists()


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_a_file_of_another_user_is_refused(path: Path) -> None:
    user_secret(path)
    os.chown(path, 12_345, -1)
    with pytest.raises(ConfigError, match="user with ID 12345"):
        user_secret(path)


@posix
def test_a_pipe_in_its_place_does_not_hang(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigError, match="no regular file"):
        user_secret(path)


def test_a_directory_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(ConfigError):
        user_secret(path)


@pytest.mark.parametrize("content", [b"", b"short\n", b"x" * 64, b"0" * 65, b"\xff" * 64])
def test_a_file_that_holds_something_else_is_refused(path: Path, content: bytes) -> None:
    user_secret(path)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"64 hexadecimal digits.*remove it"):
        user_secret(path)


def test_an_error_never_shows_the_secret(path: Path) -> None:
    user_secret(path)
    path.write_text("hunter2" * 5)
    with pytest.raises(ConfigError) as error:
        user_secret(path)
    assert "hunter2" not in str(error.value)


def test_a_directory_that_cannot_be_made_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="AEMP_SECRET"):
        user_secret(tmp_path / "file" / "aemp" / "secret")


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "network.secret"
    write_secret(path, "first")
    with pytest.raises(FileExistsError):
        write_secret(path, "second")
    assert path.read_text() == "first\n"
    assert [each.name for each in tmp_path.iterdir()] == ["network.secret"]


RACER = """
import sys
from pathlib import Path
from aemp_core.secret import user_secret

print("ready", flush=True)
sys.stdin.readline()
print(user_secret(Path(sys.argv[1])).decode(), flush=True)
"""


def test_processes_that_start_together_share_one_secret(path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = {process.communicate()[0].strip() for process in processes}
    assert found == {user_secret(path).decode()}
    assert [each.name for each in path.parent.iterdir()] == ["secret"]
