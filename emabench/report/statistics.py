"""Means, spreads, and paired differences and ratios with their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

CONFIDENCE = 0.95


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
    """

    kind: Literal["difference", "ratio"]
    value: float
    low: float | None
    high: float | None
    n: int


def summary(values: Sequence[float]) -> Summary:
    """Summarise the values of several seeds, in any unit."""
    n = len(values)
    if n == 0:
        return Summary(0, None, None)
    mean = float(np.mean(values))
    return Summary(n, mean, None if n == 1 else float(np.std(values, ddof=1)))


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> Paired | None:
    """Compare two arms seed by seed, with a paired t interval.

    Args:
        values: of the arm, in the order of seeds.
        baseline: of the baseline, for the same seeds.

    Returns:
        The mean of arm - baseline in the unit of the values; None without a pair.
    """
    _check_pairs(values, baseline)
    if not values:
        return None
    centre, low, high = _t_interval(np.asarray(values) - np.asarray(baseline))
    return Paired("difference", centre, low, high, len(values))


def paired_ratio(values: Sequence[float], baseline: Sequence[float]) -> Paired | None:
    """Compare two costs seed by seed: the geometric mean of the ratios, t on their logarithms.

    Returns:
        The mean of arm / baseline; None without a pair, or where a cost is not positive, for
        example the bytes of an EMA copy that does not exist.
    """
    _check_pairs(values, baseline)
    if not values or min(*values, *baseline) <= 0:
        return None
    logs = np.log(np.asarray(values, dtype=float)) - np.log(np.asarray(baseline, dtype=float))
    centre, low, high = _t_interval(logs)
    return Paired(
        "ratio",
        math.exp(centre),
        None if low is None else math.exp(low),
        None if high is None else math.exp(high),
        len(values),
    )


def _t_interval(differences: np.ndarray) -> tuple[float, float | None, float | None]:
    n = differences.size
    centre = float(np.mean(differences))
    if n == 1:
        return centre, None, None
    # Quantile of Student's t; scipy.special loads in a fraction of the time of scipy.stats.
    from scipy.special import stdtrit

    t = float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2))
    half = t * float(np.std(differences, ddof=1)) / math.sqrt(n)
    return centre, centre - half, centre + half


def _check_pairs(values: Sequence[float], baseline: Sequence[float]) -> None:
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} values cannot be paired with {len(baseline)}")
