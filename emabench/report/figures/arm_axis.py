"""Arms one below the other, with room for their names."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 34


def name_arms(panel: Axes, arms: Sequence[tuple[str, int]]) -> None:
    """Write the names of arms and their n along the left side, the first one on top."""
    names = [textwrap.fill(f"{label} (n={n})", _COLUMNS) for label, n in arms]
    panel.set_yticks(range(len(names)), names, fontsize=8 if _fits(names) else 6)
    panel.set_ylim(len(names) - 0.4, -0.6)


def _fits(names: Sequence[str]) -> bool:
    return all(name.count("\n") < 2 for name in names)
