"""The files of the demo: which there are below the given paths, found once, before the work."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterable, Sequence

from ...errors import UsageError

__all__ = ["Listing", "list_files", "standard_library"]


class Listing:
    """The files to count, and the directories that could not be read.

    Attributes:
        files: paths as bytes, each once, in the order of the walk.
        unreadable: path and text of each directory whose files are not known.
    """

    def __init__(self) -> None:
        self.files: list[bytes] = []
        self.unreadable: list[tuple[bytes, str]] = []

    def walk(self, top: str, leave_out: Sequence[str] = ()) -> None:
        """Add what is below `top`, without directories named in `leave_out`."""

        def refused(error: OSError) -> None:
            name = error.filename if error.filename is not None else top
            self.unreadable.append((os.fsencode(name), error.strerror or str(error)))

        for folder, folders, names in os.walk(top, onerror=refused):
            folders[:] = sorted(name for name in folders if name not in leave_out)
            self.files += (os.fsencode(os.path.join(folder, name)) for name in sorted(names))


def standard_library() -> str:
    """The directory of the running Python's standard library."""
    return sysconfig.get_path("stdlib")


def list_files(paths: Iterable[str]) -> Listing:
    """The files below `paths`, or of the standard library if there are none.

    Raises `UsageError` for a path that is not there; what vanishes later is only reported.
    """
    listing = Listing()
    paths = list(paths)
    for path in paths:
        path = os.path.abspath(path)
        if os.path.isdir(path):
            listing.walk(path)
        elif os.path.lexists(path):
            listing.files.append(os.fsencode(path))
        else:
            raise UsageError(f"{path}: there is no such file or directory")
    if not paths:
        # What is installed besides the standard library is not part of it.
        listing.walk(standard_library(), ("site-packages", "dist-packages"))
    listing.files = list(dict.fromkeys(listing.files))
    return listing
