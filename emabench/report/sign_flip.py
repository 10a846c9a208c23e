"""The sign-flip test of paired differences, and Holm's correction for several arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_EXACT_UP_TO = 16
"""Pairs up to which all sign patterns are tried."""
_RESAMPLES = 9999
"""Random sign patterns beyond that."""


@dataclass(frozen=True)
class SignFlip:
    """The two-sided p of the mean under all flips of signs, and the smallest that n can attain."""

    p: float
    smallest: float


def sign_flip(differences: NDArray[np.float64]) -> SignFlip | None:
    """Test that paired differences [n] are as often positive as negative, whatever their size.

    Exact up to 16 pairs; beyond, 9,999 patterns are drawn with a fixed seed, and the observed one
    counts as one more (Phipson and Smyth, arXiv 1603.05766). None for fewer than two pairs.
    """
    n = differences.size
    if n < 2:
        return None
    observed = abs(float(differences.sum()))
    sums = np.abs(_patterns(n) @ differences)
    as_large = sums >= observed - 1e-9 * float(np.abs(differences).sum())
    if n > _EXACT_UP_TO:
        return SignFlip((int(as_large.sum()) + 1) / (_RESAMPLES + 1), 1 / (_RESAMPLES + 1))
    return SignFlip(float(np.mean(as_large)), 2.0 ** (1 - n))


@lru_cache(maxsize=8)
def _patterns(n: int) -> NDArray[np.float64]:
    """Return sign patterns [P, n], the same for all comparisons of n pairs."""
    if n > _EXACT_UP_TO:
        bits = np.random.default_rng(0).integers(0, 2, (_RESAMPLES, n))
    else:
        # The first sign stays: a pattern and its opposite have the same absolute mean.
        bits = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1
    return (1 - 2 * bits).astype(np.float64)


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
