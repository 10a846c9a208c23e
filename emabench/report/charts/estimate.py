"""The mean of an arm over its seeds, with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from emabench.report.statistics import CONFIDENCE


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: in the unit of the values.
        low: lower end of the 95 % interval of the mean (Student's t); None for one seed.
        high: upper end.
        n: number of seeds whose value is known.
    """

    mean: float
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Estimate | None:
        """Summarise one value per seed; None if no finite one is known."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        if not known:
            return None
        mean, n = float(np.mean(known)), len(known)
        if n == 1:
            return cls(mean, None, None, n)
        # Quantile of Student's t; scipy.special loads in a fraction of the time of scipy.stats.
        from scipy.special import stdtrit

        t = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2))
        half = t * float(np.std(known, ddof=1)) / math.sqrt(n)
        return cls(mean, mean - half, mean + half, n)
