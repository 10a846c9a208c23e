"""Mean and standard deviation of each channel, exact and in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Triple = tuple[float, float, float]
_PIECE = 2**22


@dataclass(frozen=True)
class ChannelStatistics:
    """Per-channel statistics of uint8 images, in 0..1 units, red, green, blue."""

    mean: Triple
    std: Triple
    """A channel that never changes has the value 1, so that it can be divided by."""

    @property
    def has_spread(self) -> bool:
        """Whether any channel changes; what does deviates by half its range at most."""
        return min(self.std) < 1


class ChannelHistogram:
    """Counts the values of each channel, piece by piece.

    Counting is exact whatever the pieces are, so a cache that is written in pieces gives the
    same statistics to the last bit as an array in memory.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), dtype=np.int64)

    def add(self, images: np.ndarray) -> None:
        """Count the values of ``images``, uint8 ``[N, H, W, 3]``."""
        pixels = images.reshape(-1, 3)
        for start in range(0, len(pixels), _PIECE):
            for channel in range(3):
                values = pixels[start : start + _PIECE, channel]
                self._counts[channel] += np.bincount(values, minlength=256)

    def statistics(self) -> ChannelStatistics:
        """Return the statistics of all that was counted."""
        means, deviations = [], []
        levels = np.arange(256, dtype=np.float64) / 255
        for counts in self._counts:
            mean = float((counts * levels).sum() / counts.sum())
            variance = float((counts * (levels - mean) ** 2).sum() / counts.sum())
            means.append(mean)
            deviations.append(variance**0.5 or 1.0)
        return ChannelStatistics(
            (means[0], means[1], means[2]), (deviations[0], deviations[1], deviations[2])
        )


def channel_statistics(images: np.ndarray) -> ChannelStatistics:
    """Return the statistics of ``images``, uint8 ``[N, H, W, 3]``."""
    histogram = ChannelHistogram()
    histogram.add(images)
    return histogram.statistics()
