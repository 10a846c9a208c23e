"""Means, spreads, and paired differences and ratios with their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emabench.report.sign_flip import sign_flip

CONFIDENCE = 0.95
Interval = Literal["t", "bca"]
"""How an interval is computed: Student's t, or a bias-corrected and accelerated bootstrap."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (n - 1); both None where they are not defined."""

    n: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Paired:
    """A paired comparison with the baseline.

    Attributes:
        kind: ``difference`` (arm - baseline) or ``ratio`` (arm / baseline).
        value: the mean difference, or the geometric mean of the ratios.
        low: lower end of the 95 % interval; None for n = 1.
        high: upper end.
        n: number of pairs.
        sd: standard deviation of the differences, or of the logarithms of the ratios; None for
            n = 1.
        p: of the two-sided sign-flip test that there is no difference; None for n = 1.
        p_smallest: the smallest p that n pairs can attain.
        p_holm: ``p`` corrected for the number of arms by Holm; None with two arms.
        seeds: of the pairs.
        differences: of each pair, or the ratios; in the order of seeds.
    """

    kind: Literal["difference", "ratio"]
    value: float
    low: float | None
    high: float | None
    n: int
    sd: float | None = None
    p: float | None = None
    p_smallest: float | None = None
    p_holm: float | None = None
    seeds: tuple[int, ...] = ()
    differences: tuple[float, ...] = ()

    def by_seed(self, seed: int) -> float | None:
        """Return the difference or ratio of one pair; None if the seed has none."""
        return dict(zip(self.seeds, self.differences, strict=False)).get(seed)


def summary(values: Sequence[float]) -> Summary:
    """Summarise the values of several seeds, in any unit."""
    n = len(values)
    if n == 0:
        return Summary(0, None, None)
    mean = float(np.mean(values))
    return Summary(n, mean, None if n == 1 else float(np.std(values, ddof=1)))


def paired_difference(
    values: Sequence[float], baseline: Sequence[float], interval: Interval = "t"
) -> Paired | None:
    """Compare two arms seed by seed, with a paired t interval unless a bootstrap is asked for.

    Args:
        values: of the arm, in the order of seeds.
        baseline: of the baseline, for the same seeds.
        interval: ``bca`` covers less than 95 % with few pairs; it needs three.

    Returns:
        The mean of arm - baseline in the unit of the values; None without a pair.
    """
    _check_pairs(values, baseline)
    if not values:
        return None
    return _paired("difference", np.asarray(values, float) - np.asarray(baseline, float), interval)


def paired_ratio(
    values: Sequence[float], baseline: Sequence[float], interval: Interval = "t"
) -> Paired | None:
    """Compare two costs seed by seed: the geometric mean of the ratios, t on their logarithms.

    Returns:
        The mean of arm / baseline; None without a pair, or where a cost is not positive, for
        example the bytes of an EMA copy that does not exist.
    """
    _check_pairs(values, baseline)
    if not values or min(*values, *baseline) <= 0:
        return None
    return _paired("ratio", np.log(np.asarray(values, float) / np.asarray(baseline)), interval)


def _paired(kind: Literal["difference", "ratio"], changes: Values, interval: Interval) -> Paired:
    n = changes.size
    low, high = _interval(changes, interval)
    test = sign_flip(changes)

    def shown(change: float) -> float:
        return math.exp(change) if kind == "ratio" else change

    return Paired(
        kind,
        shown(float(np.mean(changes))),
        None if low is None else shown(low),
        None if high is None else shown(high),
        n,
        sd=None if n == 1 else float(np.std(changes, ddof=1)),
        p=None if test is None else test.p,
        p_smallest=None if test is None else test.smallest,
        differences=tuple(shown(float(change)) for change in changes),
    )


def _interval(changes: Values, interval: Interval) -> tuple[float | None, float | None]:
    n = changes.size
    if n == 1:
        return None, None
    if interval == "bca" and n >= 3 and np.ptp(changes) > 0:
        return _bootstrap(changes)
    # Quantile of Student's t; scipy.special loads in a fraction of the time of scipy.stats.
    from scipy.special import stdtrit

    t = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2))
    centre = float(np.mean(changes))
    half = t * float(np.std(changes, ddof=1)) / math.sqrt(n)
    return centre - half, centre + half


def _bootstrap(changes: Values) -> tuple[float, float]:
    from scipy import stats

    found: Any = stats.bootstrap(
        (changes,), np.mean, confidence_level=CONFIDENCE, method="BCa", rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _check_pairs(values: Sequence[float], baseline: Sequence[float]) -> None:
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} values cannot be paired with {len(baseline)}")
