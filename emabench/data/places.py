"""Where the bytes of an encoded image are: a file of its own, or a stretch of a larger one.

A place is text, which is small and goes to the processes that decode: the path of a file, or what
``stretch`` makes. ``given_path`` reads the path that a user gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emabench.errors import NotFoundError
from emabench.spec.plain import shown
from emabench.user_paths import home_path

_BETWEEN = "\0"
"""Occurs in no path."""


@dataclass(frozen=True)
class Place:
    """A place, read.

    Attributes:
        file: that holds the bytes.
        offset: of the first byte.
        length: number of bytes; None: to the end of the file.
        shown: what messages call the place.
    """

    file: Path
    offset: int
    length: int | None
    shown: str


def given_path(text: str) -> Path:
    """Return the path that a user gives, ``~`` read as a home; nothing has to be there.

    Raises:
        NotFoundError: nothing can be there: nobody has this home, or a name is too long.
    """
    path = home_path(text)
    try:
        path.exists()
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotFoundError(
            f"{shown(text)} cannot be looked for: {reason}", hint="check the path"
        ) from error
    return path


def is_pattern(text: str) -> bool:
    """Whether a text has braces that stand for several names, as it is not the name of one file."""
    try:
        return "{" in text and not given_path(text).exists()
    except NotFoundError:
        return True


def stretch(file: Path, offset: int, length: int, shown: str) -> str:
    """Return the place of ``length`` bytes of a file, which messages call ``shown``."""
    return _BETWEEN.join((str(file), str(offset), str(length), shown))


def read_place(text: Path | str) -> Place:
    """Return what a place means."""
    file, *rest = str(text).split(_BETWEEN, 3)
    if not rest:
        return Place(Path(text), 0, None, file)
    offset, length, shown = rest
    return Place(Path(file), int(offset), int(length), shown)
