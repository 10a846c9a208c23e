"""Colour images made from the embedded data set."""

from __future__ import annotations

import numpy as np
from PIL import Image

from emabench.data.sources.fashion_mini import read_split


def tinted(count: int, size: int) -> np.ndarray:
    """Return uint8 [count, size, size, 3] whose tint varies over each image."""
    grey, _ = read_split("test")
    rng = np.random.default_rng(7)
    corner = rng.uniform(0.2, 1.0, (count, 2, 2, 1, 1, 3))
    down = np.linspace(0, 1, size)[:, None, None]
    across = np.linspace(0, 1, size)[None, :, None]
    top = corner[:, 0, 0] * (1 - across) + corner[:, 0, 1] * across
    bottom = corner[:, 1, 0] * (1 - across) + corner[:, 1, 1] * across
    tint = top * (1 - down) + bottom * down
    large = np.stack([np.asarray(Image.fromarray(g).resize((size, size))) for g in grey[:count]])
    return np.clip(30 + large[..., None] * tint, 0, 255).astype(np.uint8)
