"""Images that the tests of the data floor share: real ones, from the embedded data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest_images import tinted
from PIL import Image


@pytest.fixture(scope="session")
def colour_images() -> torch.Tensor:
    return torch.from_numpy(tinted(24, 32))


@pytest.fixture(scope="session")
def large_images() -> torch.Tensor:
    return torch.from_numpy(tinted(12, 96))


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    """Make a tree of small PNG and JPEG files: a folder per part, in it one per class."""

    def make(
        *parts: str,
        classes: tuple[str, ...] = ("ape", "bee", "cat"),
        count: int = 6,
        size: int = 12,
    ) -> Path:
        root = tmp_path / "images"
        parts = parts or ("",)
        pictures = iter(tinted(len(parts) * len(classes) * count, size))
        for part in parts:
            for name in classes:
                folder = root / part / name
                folder.mkdir(parents=True)
                for number in range(count):
                    suffix = "jpg" if number % 2 else "png"
                    Image.fromarray(next(pictures)).save(folder / f"{number}.{suffix}")
        return root

    return make
