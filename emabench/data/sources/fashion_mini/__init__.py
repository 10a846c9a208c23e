"""fashion-mini: 12,000 images of Fashion-MNIST that are part of the package.

Source, licence and checksums are in ``PROVENANCE.md``, the drawing in ``make.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SIZE = 28


def read_split(split: Literal["train", "test"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the grey images, uint8 ``[N, 28, 28]``, and the labels, int64 ``[N]``."""
    folder = Path(__file__).parent
    labels = np.load(folder / f"{split}-labels.npy").astype(np.int64)
    with Image.open(folder / f"{split}.png") as picture:
        images = np.asarray(picture).reshape(len(labels), SIZE, SIZE)
    return images, labels
