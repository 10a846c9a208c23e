"""A data set as its source gives it, before any subset is drawn; a folder gives the subsets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emabench.data.cache.channels import ChannelStatistics
from emabench.data.cache.image_rows import Images


@dataclass(frozen=True)
class Source:
    """Both splits of a data set at the size asked for."""

    classes: tuple[str, ...]
    size: int
    """Side of the images in pixels."""
    train_images: Images
    """uint8 ``[N, S, S, 3]``, RGB."""
    train_labels: np.ndarray
    """int64 ``[N]``."""
    test_images: Images
    test_labels: np.ndarray
    statistics: ChannelStatistics
    """Of all training images."""
    content_hash: str
    """Hex; the same wherever the content lies and whatever size is asked for."""
    split: str
    """How the test set came about."""
    revisions: tuple[str, ...] = ()
    """Names of the fixes that changed what is trained on."""
