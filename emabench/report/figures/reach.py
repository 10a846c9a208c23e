"""How far an axis reaches: wide intervals of few seeds must not hide what differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emabench.analysis.statistics import MeanInterval

_BEYOND = 1.5
"""An interval is shown as far as so many times the distance of the outermost means beyond them."""


def bounds(
    estimates: Sequence[MeanInterval], values: Iterable[float] = ()
) -> tuple[float, float] | None:
    """Return between which values intervals are shown; None where all of them fit.

    With two seeds Student's t makes an interval of 13 standard errors to each side, beside which no
    difference of means would be seen.

    Args:
        estimates: that are shown.
        values: single values that are shown too.
    """
    centres = [*(each.mean for each in estimates), *values]
    ends = [end for each in estimates for end in (each.low, each.high) if end is not None]
    if not centres or not ends:
        return None
    least, most = min(centres), max(centres)
    beyond = _BEYOND * (most - least)
    if not beyond or (min(ends) >= least - beyond and max(ends) <= most + beyond):
        return None
    return max(least - beyond, min(*ends, least)), min(most + beyond, max(*ends, most))
