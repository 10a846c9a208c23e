"""How likely a question is to be decided at each look, before anything runs.

Studies are simulated: normal differences of a given mean and spread on the grid of the test set,
looked at as they will be. A spread that was measured on few pairs is hardly known itself; its 95 %
interval by chi-square gives the range of the chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from emabench.analysis.looking.looks import Looks
from emabench.analysis.statistics import IntervalRule

_STUDIES = 8000


@dataclass(frozen=True)
class PairSpread:
    """Standard deviation of paired differences.

    Attributes:
        value: in the unit of the metric, of ratios that of their logarithms.
        freedom: degrees of freedom that it was measured with; None where it was stated.
    """

    value: float
    freedom: int | None = None

    def range(self) -> tuple[float, float]:
        """Return its 95 % interval; twice itself where it was stated."""
        if self.freedom is None:
            return self.value, self.value
        from scipy.special import chdtri

        low, high = (
            self.value * math.sqrt(self.freedom / float(chdtri(self.freedom, tail)))
            for tail in (0.025, 0.975)
        )
        return low, high

    @classmethod
    def pooled(cls, spreads: list[PairSpread]) -> PairSpread | None:
        """Return what several measured ones have in common; None for none."""
        freedom = sum(each.freedom or 0 for each in spreads)
        if not freedom:
            return None
        square = sum((each.freedom or 0) * each.value**2 for each in spreads) / freedom
        return cls(math.sqrt(square), freedom)


@cache
def chances(
    looks: Looks, spread: float, margin: float, truth: float = 0.0, resolution: float = 0.0
) -> tuple[float, ...]:
    """Return, for each look, the chance that a question has a verdict by then.

    Args:
        looks: as they are planned.
        spread: standard deviation of the differences.
        margin: 0 is none.
        truth: the mean of the differences.
        resolution: the smallest step of the differences, and the least spread that counts.
    """
    rule = IntervalRule("looks", looks)
    draws = np.random.default_rng(0).standard_normal((_STUDIES, looks.pairs[-1]))
    changes = truth + spread * draws
    if resolution:
        changes = np.round(changes / resolution) * resolution
    decided = np.zeros(_STUDIES, dtype=bool)
    found = []
    for n in looks.pairs:
        some = changes[:, :n]
        spreads = np.maximum(some.std(axis=1, ddof=1), resolution)
        half = rule.reach(n) * spreads / math.sqrt(n)
        centre = some.mean(axis=1)
        # Better and equivalent are not worse; without a margin only the sign decides.
        decided |= (centre - half > -margin) | (centre + half < 0)
        found.append(float(decided.mean()))
    return tuple(found)
