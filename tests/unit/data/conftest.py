"""Images that the tests of the data floor share: real ones, from the embedded data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from emabench.data.fashion_mini import read_split


def tinted(count: int, size: int) -> np.ndarray:
    """Colour images uint8 [count, size, size, 3] whose tint varies over each image."""
    grey, _ = read_split("test")
    rng = np.random.default_rng(7)
    corners = rng.uniform(0.2, 1.0, (count, 2, 2, 3))
    ramp = np.linspace(0, 1, size)
    rows = corners[:, 0, None] * (1 - ramp)[:, None, None] + corners[:, 1, None] * ramp[:, None, None]
    tint = rows[:, :, 0, None] * (1 - ramp)[:, None] + rows[:, :, 1, None] * ramp[:, None]
    big = np.stack([np.asarray(Image.fromarray(g).resize((size, size))) for g in grey[:count]])
    return np.clip(30 + big[..., None] * tint, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def colour_images() -> torch.Tensor:
    return torch.from_numpy(tinted(24, 32))


@pytest.fixture(scope="session")
def large_images() -> torch.Tensor:
    return torch.from_numpy(tinted(12, 96))


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    def make(
        *parts: str, classes: tuple[str, ...] = ("ape", "bee", "cat"), count: int = 6, size: int = 12
    ) -> Path:
        root = tmp_path / "images"
        pictures = iter(tinted(len(parts or ("",)) * len(classes) * count, size))
        for part in parts or ("",):
            for name in classes:
                folder = root / part / name
                folder.mkdir(parents=True)
                for number in range(count):
                    suffix = "jpg" if number % 2 else "png"
                    Image.fromarray(next(pictures)).save(folder / f"{number}.{suffix}")
        return root

    return make
