"""Whole files: a file is written completely or not at all, whatever goes wrong meanwhile.

What is written goes under another name in the same directory, is told to be on the disk, and gets
its own name in one step. Whoever reads meanwhile sees the old file or the new one, and a full disk
or a crash leaves the old one as it was.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["write_whole"]

# Where they do not exist (Windows) files are bound to their owner by other means.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def write_whole(
    path: Path, data: bytes, *, mode: int, replace: bool, like: os.stat_result | None = None
) -> None:
    """Write a file, complete or not at all.

    Args:
        path: its name; if that is a symbolic link, the link itself is what is replaced.
        data: what it shall hold.
        mode: its permissions, less what the umask takes; it has them from its first byte on.
        replace: whether a file of that name may be there already.
        like: the file it replaces, to keep its owner where that is possible; its permissions are
            `mode` then, whatever the umask.

    Raises:
        FileExistsError: there is such a file, or a link of that name, and `replace` is false.
        OSError: it cannot be written. Nothing was changed, and nothing is left behind.
    """
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, mode)
    try:
        with open(handle, "wb") as file:
            if like is not None and os.name == "posix":
                with suppress(OSError):  # for root alone
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        elif sys.platform == "win32":
            os.rename(draft, path)  # fails there if `path` exists
        else:
            os.link(draft, path, follow_symlinks=False)  # fails if `path` exists, even as a link
    finally:
        draft.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Have the new name of a file survive a crash, where the file system can do that."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
