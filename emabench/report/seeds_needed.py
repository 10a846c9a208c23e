"""How many more seeds would probably settle an open comparison."""

from __future__ import annotations

import math

from emabench.report.statistics import CONFIDENCE

PROBABLY = 0.8
"""Chance of a verdict that is asked for."""
MOST = 1000
"""Beyond so many more seeds the answer is that seeds will not do."""


def more_seeds(centre: float, sd: float, n: int, margin: float) -> int | None:
    """Return the fewest further pairs with which an interval is probably decisive.

    It takes the mean and spread of the pairs so far for the true ones, so it is a guess, the
    rougher the fewer pairs there are. Decisive is an interval that lies above -margin or below 0.

    Args:
        centre: mean of the differences so far, oriented so that more is better.
        sd: their standard deviation.
        n: number of pairs so far, at least 2.
        margin: what counts as no difference; 0 asks for the sign.

    Returns:
        At least 1; None if more than 1000 would be needed.
    """
    if sd == 0:
        return None
    if _chance(centre, sd, n + MOST, margin) < PROBABLY:
        return None
    few, many = 1, MOST
    while few < many:
        middle = (few + many) // 2
        if _chance(centre, sd, n + middle, margin) < PROBABLY:
            few = middle + 1
        else:
            many = middle
    return few


def _chance(centre: float, sd: float, n: int, margin: float) -> float:
    """Return the chance that the interval of n pairs is decisive."""
    from scipy.special import ndtr, stdtrit

    error = sd / math.sqrt(n)
    half = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * error
    not_worse = ndtr((centre + margin - half) / error)
    worse = ndtr((-half - centre) / error)
    return min(1.0, float(not_worse + worse))
