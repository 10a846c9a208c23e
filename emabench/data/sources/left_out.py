"""What of a data set no run sees; a warning says so."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

_MOST_NAMED = 3


class LeftOutWarning(RuntimeWarning):
    """Files, images or labels of a data set that are not used."""


def warn_left_out(note: str) -> None:
    """Warn of what is left out, and why."""
    warnings.warn(note, LeftOutWarning, stacklevel=3)


def some_of(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
