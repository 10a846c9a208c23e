"""Planned looks: the numbers of pairs at which a study looks, and the level of each interval.

The levels are such that all intervals of a question hold the truth together with 95 %, and the
whole of a look's risk follows (n / last n)², the spending of a study that mostly waits
(``docs/decisions/0023-planned-looks.md``). They hold for Student's t at any number of pairs, not
only in the limit: for normal differences whose spread is unknown, u = sum / √(sum of squares) of
the pairs so far is a Markov chain, whatever the spread is, and the chance of each look is its
integral, computed over cells (Lan and DeMets, Biometrika 70, 1983, for the spending; Jennison and
Turnbull, Group Sequential Methods, 2000, chapters 4, 7 and 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

USUAL_LOOKS = (5, 8, 12, 20)
"""Pairs at which a study looks unless it says otherwise."""
RISK = 0.05
"""The chance that any look's interval misses the truth, shared among the looks."""
_POWER = 2
_CELLS = 160
_NODES = 64
_TABLE = 4001
"""Cells of |u|, nodes of the share, points of a distribution: errors of a level below 1 %."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Looks:
    """Numbers of pairs, ascending, and the two-sided level of the interval at each of them."""

    pairs: tuple[int, ...]
    levels: tuple[float, ...]

    def reached(self, n: int) -> int | None:
        """Return the place of the last look that n pairs are enough for; None before the first."""
        places = [place for place, pairs in enumerate(self.pairs) if pairs <= n]
        return places[-1] if places else None

    def following(self, n: int) -> int | None:
        """Return the number of pairs of the first look that n pairs are too few for, if any."""
        return next((pairs for pairs in self.pairs if pairs > n), None)

    def level(self, place: int, risk: float = RISK) -> float:
        """Return the level of a look where all looks together may risk less than 5 %.

        Less risk is shared in the same proportions, and such that its parts add up to it: the looks
        then hold the truth at least as often as asked, whatever they have in common.
        """
        if risk >= RISK:
            return self.levels[place]
        return self.levels[place] * risk / sum(self.levels)


@cache
def plan_looks(pairs: tuple[int, ...] = USUAL_LOOKS, power: float = _POWER) -> Looks:
    """Return the levels for looks at these numbers of pairs.

    Args:
        pairs: ascending, the first at least 2. One look has the level of a fixed number of pairs.
        power: of the spending; 2, but for who compares spendings.
    """
    spent = np.diff(RISK * (np.asarray(pairs, float) / pairs[-1]) ** power, prepend=0.0)
    bound = _bound(float(spent[0]), pairs[0])
    edges = np.linspace(0, bound, _CELLS + 1)
    chances = np.diff(_within(edges / np.sqrt(pairs[0]), pairs[0]))
    levels = [float(spent[0])]
    for n, following, risk in zip(pairs, pairs[1:], spent[1:], strict=False):
        step = _Step((edges[1:] + edges[:-1]) / 2, n, following)
        bound = step.bound(chances, float(risk))
        edges = np.linspace(0, bound, _CELLS + 1)
        chances = chances @ np.diff([step.below(edge) for edge in edges], axis=0).T
        levels.append(1 - float(_within(np.asarray([bound / np.sqrt(following)]), following)[0]))
    return Looks(tuple(pairs), tuple(levels))


class _Step:
    """From one look to the next: |u| of n pairs becomes that of more.

    The new pairs bring a share of the sum of squares that is beta distributed, and a direction that
    is uniform on their sphere, both independent of all that was seen.

    Args:
        u: sizes to start from.
        n: pairs that they are of.
        following: pairs at the next look.
    """

    def __init__(self, u: Values, n: int, following: int) -> None:
        from scipy.special import betaincinv

        more = following - n
        share = betaincinv(more / 2, n / 2, (np.arange(_NODES) + 0.5) / _NODES)
        self._start = u[:, None] * np.sqrt(1 - share)
        self._reach = np.sqrt(more * share)
        self._most = float(np.sqrt(following))
        self._cosine = np.linspace(-1, 1, _TABLE)
        half = _within(np.abs(self._cosine), more) / 2
        self._chance = 0.5 + np.sign(self._cosine) * half

    def below(self, bound: float) -> Values:
        """Return the chance, for each u, to end between ± a bound."""
        above, below = (
            np.interp((end - self._start) / self._reach, self._cosine, self._chance)
            for end in (bound, -bound)
        )
        mean: Values = (above - below).mean(axis=1)
        return mean

    def bound(self, chances: Values, risk: float) -> float:
        """Return the bound beyond which one ends with so much risk, from u of these chances."""
        from scipy.optimize import brentq

        def excess(bound: float) -> float:
            return float(chances @ (1 - self.below(bound))) - risk

        return float(brentq(excess, 0, self._most))


def _within(value: Values, dimensions: int) -> Values:
    """Return the chance that a coordinate of a point on a unit sphere has at most this size."""
    from scipy.special import betainc

    if dimensions == 1:
        return (value >= 1).astype(np.float64)
    found: Values = betainc(0.5, (dimensions - 1) / 2, np.minimum(value, 1) ** 2)
    return found


def _bound(level: float, n: int) -> float:
    """Return |u| beyond which Student's t of n pairs is beyond its quantile of a level."""
    from scipy.special import betaincinv

    return float(np.sqrt(n * betaincinv(0.5, (n - 1) / 2, 1 - level)))
