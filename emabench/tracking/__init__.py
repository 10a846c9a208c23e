"""Mirrors of the store in the trackers that people use, one file each: its name is the tracker's.

A mirror goes one way: it reads records, and nothing in the store depends on it. Each file imports
its tracker only when it is used.
"""

from __future__ import annotations

import importlib
import inspect
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from emabench.errors import UnknownNameError

if TYPE_CHECKING:
    from emabench.tracking._tracker import Tracker


def tracker_names() -> list[str]:
    """Return the names of all trackers, sorted; imports none of them."""
    files = (f.name for f in resources.files(__name__).iterdir())
    return sorted(n.removesuffix(".py") for n in files if n.endswith(".py") and n[0] != "_")


def check_tracker(name: str) -> None:
    """Raise unless there is a tracker of that name.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in tracker_names():
        raise UnknownNameError("tracker", name, tracker_names())


def open_tracker(name: str, place: Path | None = None) -> Tracker:
    """Return a tracker that writes to a place, by default to its own in the current folder.

    Args:
        name: of the tracker.
        place: a folder or file, as the tracker has it; what is missing is made.

    Raises:
        UnknownNameError: there is no such tracker.
        EmabenchError: its package is not installed, somebody else mirrors to the place, or it
            cannot be written.
    """
    from emabench.tracking._tracker import Tracker

    check_tracker(name)
    module = importlib.import_module(f"{__name__}.{name}")
    (kind,) = (
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Tracker) and member.__module__ == module.__name__
    )
    return kind(Path(kind.own_place) if place is None else place)
