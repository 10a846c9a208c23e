"""Random images, for timing where no data set is at hand: there is nothing to be learned."""

from __future__ import annotations

import hashlib

import numpy as np

from emabench.data.cache.channels import channel_statistics
from emabench.data.sources.source import Source
from emabench.errors import SpecError
from emabench.spec.data import DataSpec

TRAIN, TEST, CLASSES, SIZE = 1024, 128, 10, 32


def load_synthetic(spec: DataSpec) -> Source:
    """Return images of independent uniform pixels; as many as the subsets of the spec ask for.

    Raises:
        SpecError: the spec names a folder, which this data set does not read.
    """
    if spec.data_dir is not None:
        raise SpecError(
            f"data_dir={spec.data_dir!r} does not apply to {spec.dataset}",
            hint="for your own images, set dataset=folder",
        )
    size = spec.image_size or SIZE
    train, test = spec.train_subset or TRAIN, spec.test_subset or TEST
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (train + test, size, size, 3), dtype=np.uint8)
    labels = np.arange(train + test, dtype=np.int64) % CLASSES
    return Source(
        classes=tuple(f"class {label}" for label in range(CLASSES)),
        size=size,
        train_images=images[:train],
        train_labels=labels[:train],
        test_images=images[train:],
        test_labels=labels[train:],
        statistics=channel_statistics(images[:train]),
        content_hash=hashlib.sha256(f"synthetic {train} {test}".encode()).hexdigest(),
        split="random",
    )
