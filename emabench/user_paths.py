"""Paths that a user names: where they lead, and where a command may write."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from emabench.errors import NotFoundError, UsageError

_KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
"""What a rename would replace as if it were a file."""


def home_path(text: str | os.PathLike[str]) -> Path:
    """Return a path, ``~`` read as a home; nothing has to be there.

    Raises:
        NotFoundError: nobody has this home.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise NotFoundError(
            f"{os.fspath(text)!r} begins with a home that nobody has here", hint="check the path"
        ) from None


def is_there(path: Path) -> bool:
    """Whether something lies at a path; where nobody may look, nothing does."""
    with contextlib.suppress(OSError):
        return path.exists()
    return False


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; where nobody may look, it does not."""
    with contextlib.suppress(OSError):
        return path.is_dir()
    return False


def check_output(path: Path) -> None:
    """Refuse a place where something lies that a file must not replace; links are followed.

    Raises:
        UsageError: it is a device or its like.
    """
    with contextlib.suppress(OSError):  # nothing is there; whoever writes says what else is wrong
        kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
        if kind is not None:
            raise UsageError(f"{path} is {kind}: it is not overwritten", hint="name a file")
