"""How far the finite test set alone may move a paired difference of accuracies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Packed = tuple[bytes, int]
"""One bit per test image, the first in the highest bit of the first byte; number of images."""


@dataclass(frozen=True)
class ImageError:
    """The error that other test images would bring, with the trained networks as they are.

    It is paired: both arms classify the same images. For one pair of runs its square is McNemar's
    variance; over several the mean over them is taken image by image.

    Attributes:
        se: standard error of the difference in percentage points.
        low: lower end of the 95 % interval of the difference, from the normal distribution.
        high: upper end.
        images: number of test images.
        n: pairs of runs.
        gained: images that only the arm classified rightly, mean over pairs.
        lost: images that only the baseline classified rightly, mean over pairs.
    """

    se: float
    low: float
    high: float
    images: int
    n: int
    gained: float
    lost: float


def image_error(pairs: Sequence[tuple[Packed, Packed]]) -> ImageError | None:
    """Return the test-set error of arm - baseline over pairs of runs.

    Args:
        pairs: which images arm and baseline classified rightly, for each pair of runs.

    Returns:
        None without a pair, or where the runs were not tested on the same number of images.
    """
    counts = {count for pair in pairs for _, count in pair}
    if len(counts) != 1 or not (images := counts.pop()):
        return None
    differences = np.zeros(images)
    gained = lost = 0
    for arm, baseline in pairs:
        difference = _unpacked(arm) - _unpacked(baseline)
        gained += int((difference > 0).sum())
        lost += int((difference < 0).sum())
        differences += difference
    differences /= len(pairs)
    se = 100 * float(differences.std()) / math.sqrt(images)
    centre = 100 * float(differences.mean())
    reach = _QUANTILE * se
    n = len(pairs)
    return ImageError(se, centre - reach, centre + reach, images, n, gained / n, lost / n)


_QUANTILE = 1.959963984540054
"""Of the normal distribution, for a two-sided 95 % interval."""


def _unpacked(packed: Packed) -> np.ndarray:
    bits, count = packed
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=count).astype(np.int8)
