"""The per-user secret: what lets the nodes of one user on one machine trust each other unasked.

Nodes without a configured secret share it, and accept nothing but this machine. It is a text of
64 hexadecimal digits, 32 random bytes, in a file that only its owner can read, next to the
configuration. The first node that needs it makes the file: it is written under another name and
linked to its own in one step, so of two nodes that start together both read what one of them
wrote, and neither reads half of it.

A file that is not plainly the user's own secret is refused, never mended: somebody may know it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from .config import config_path
from .errors import ConfigError
from .whole_file import write_whole

__all__ = ["FILE_NAME", "new_secret", "user_secret", "user_secret_path", "write_secret"]

FILE_NAME = "secret"
SECRET_BYTES = 32
_DIGITS = frozenset(b"0123456789abcdef")
# Where they do not exist (Windows) files are bound to their owner by other means.
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_POSIX = os.name == "posix"

_OTHER_WAY = (
    "or set a secret of its own for the node: AEMP_SECRET, or 'secret' in the configuration"
)


def new_secret(entropy: Callable[[int], bytes] = os.urandom) -> str:
    """A fresh secret: 32 random bytes as 64 hexadecimal digits."""
    return entropy(SECRET_BYTES).hex()


def user_secret_path() -> Path:
    """Where the per-user secret is: beside the configuration file, wherever that is."""
    return config_path().parent / FILE_NAME


def user_secret(path: Path | None = None) -> bytes:
    """The per-user secret, made if there is none yet.

    Args:
        path: its file; None: `user_secret_path`.

    Returns:
        the digits as ASCII, just what configuring them as ``secret`` would give.

    Raises:
        ConfigError: the file cannot be made, or is not plainly ours: somebody else owns it, may
            read it or may replace it. The text names the file and the remedy.
    """
    path = user_secret_path() if path is None else path
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_directory(path.parent)
        write_secret(path, new_secret())
    except FileExistsError:
        pass  # another node was faster: its secret is the one
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot make the per-user secret: {error.strerror or error}; "
            f"make the directory writable for you, {_OTHER_WAY}"
        ) from None
    try:
        return _read(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: the per-user secret vanished: start again") from None


def write_secret(path: Path, secret: str) -> None:
    """Write `secret` and a line end to a new file that only its owner can read, all or nothing.

    Raises:
        FileExistsError: there is such a file, or a link of that name; it is left as it was.
        OSError: the file cannot be written; nothing is left behind.
    """
    write_whole(path, f"{secret}\n".encode("ascii"), mode=0o600, replace=False)


def _read(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | _NOFOLLOW | _CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise
    except OSError as error:
        if path.is_symlink():
            _refuse(path, "is a symbolic link", f"replace it by the file itself, {_OTHER_WAY}")
        _refuse(path, f"cannot be read: {error.strerror or error}", f"mend that, {_OTHER_WAY}")
    try:
        _check_file(path, os.fstat(handle))
        text = os.read(handle, SECRET_BYTES * 2 + 3).rstrip(b"\r\n")
    finally:
        os.close(handle)
    _check_directory(path.parent)
    if len(text) != SECRET_BYTES * 2 or not _DIGITS.issuperset(text):
        _refuse(
            path,
            f"does not hold {SECRET_BYTES * 2} hexadecimal digits",
            f"remove it, so that a new one is made, {_OTHER_WAY}",
        )
    return text


def _check_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        _refuse(path, "is no regular file", f"remove it, {_OTHER_WAY}")
    if not _POSIX:
        return
    if status.st_uid != os.geteuid():
        _refuse(
            path,
            f"belongs to the user with ID {status.st_uid}, not to {os.geteuid()}",
            f"run the node as its owner, point AEMP_CONFIG to a directory of yours, {_OTHER_WAY}",
        )
    if status.st_mode & 0o077:
        _refuse(
            path,
            f"can be used by others (mode {stat.S_IMODE(status.st_mode):04o})",
            f"run 'chmod 600 {path}', and if anyone may have seen it remove it, "
            "so that a new one is made",
        )


def _check_directory(directory: Path) -> None:
    """Refuse a directory in which others may replace the file."""
    status = directory.stat()
    if not _POSIX:
        return
    if status.st_uid not in (os.geteuid(), 0):
        _refuse(
            directory,
            f"belongs to the user with ID {status.st_uid}, not to {os.geteuid()}",
            f"point AEMP_CONFIG to a directory of yours, {_OTHER_WAY}",
        )
    # In a sticky directory (/tmp) others may not replace what is ours.
    if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        _refuse(
            directory,
            f"can be written to by others (mode {stat.S_IMODE(status.st_mode):04o})",
            f"run 'chmod go-w {directory}'",
        )


def _refuse(path: Path, flaw: str, remedy: str) -> NoReturn:
    raise ConfigError(f"{path} {flaw}, so the per-user secret is not safe there: {remedy}")
