"""The sign-flip test of paired differences, and Holm's correction for several arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXACT_UP_TO = 12
"""Pairs up to which all sign patterns are tried here: scipy.stats takes longer to load."""
_RESAMPLES = 9999
"""Random sign patterns beyond that."""


@dataclass(frozen=True)
class SignFlip:
    """The two-sided p of the mean under all flips of signs, and the smallest that n can attain."""

    p: float
    smallest: float


def sign_flip(differences: NDArray[np.float64]) -> SignFlip | None:
    """Test that paired differences [n] are as often positive as negative, whatever their size.

    Exact up to 12 pairs; beyond, 9,999 patterns are drawn with a fixed seed
    (``scipy.stats.permutation_test``). None for fewer than two pairs.
    """
    n = differences.size
    if n < 2:
        return None
    if n > _EXACT_UP_TO:
        return _drawn(differences)
    # The first sign stays: a pattern and its opposite have the same absolute mean.
    patterns = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1
    sums = np.abs((1 - 2 * patterns) @ differences)
    observed = abs(float(differences.sum()))
    as_large = sums >= observed - 1e-9 * float(np.abs(differences).sum())
    return SignFlip(float(np.mean(as_large)), 2.0 ** (1 - n))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct the p of several comparisons by Holm's method; None stays None.

    The family are all that are given: the chance that any of them is below 0.05 although there is
    no difference anywhere stays at most 5 % (Holm, 1979).
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[place] = largest
    return corrected


def _drawn(differences: NDArray[np.float64]) -> SignFlip:
    from scipy import stats

    found: Any = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    # scipy doubles the smaller tail, in which the observed pattern counts.
    return SignFlip(
        float(found.pvalue), max(2 / (_RESAMPLES + 1), math.ldexp(1.0, 1 - differences.size))
    )
