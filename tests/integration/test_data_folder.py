"""Folders of images through the whole floor: two processes at once, and real images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from emabench.data.images import load_dataset
from emabench.data.sources.fashion_mini import read_split
from emabench.spec.data import DataSpec

LOAD = """
import sys
from pathlib import Path
from emabench.data.images import load_dataset
from emabench.spec.data import DataSpec
spec = DataSpec(dataset="folder", data_dir=sys.argv[1], image_size=20)
data = load_dataset(spec, cache_dir=Path(sys.argv[2]))
print(data.content_hash, int(data.train.images.sum()), type(data.train.images).__name__)
"""


def test_two_processes_that_start_together_share_one_cache(tmp_path: Path) -> None:
    images, labels = read_split("test")
    for index in range(200):
        folder = tmp_path / "images" / f"class {labels[index]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[index]).save(folder / f"{index:03}.png")
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", LOAD, str(tmp_path / "images"), str(cache)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    answers = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    spec = DataSpec(dataset="folder", data_dir=str(tmp_path / "images"), image_size=20)
    data = load_dataset(spec, cache_dir=cache)
    expected = f"{data.content_hash} {int(data.train.images.sum())} memmap\n"
    assert answers == [expected, expected]
    assert len(list(cache.glob("*.npy"))) == 2
    assert not list(cache.rglob("*.tmp"))


if "EMABENCH_TEST_IMAGES" in os.environ:

    def test_real_images_load_as_they_are(tmp_path: Path) -> None:
        root = Path(os.environ["EMABENCH_TEST_IMAGES"])
        spec = DataSpec(dataset="folder", data_dir=str(root), test_subset=100)
        data = load_dataset(spec, cache_dir=tmp_path)
        folders = sorted(path for path in (root / "train").iterdir())
        assert data.classes == tuple(path.name for path in folders)
        for label in (0, len(folders) - 1):
            first = sorted(folders[label].iterdir())[0]
            with Image.open(first) as image:
                expected = np.asarray(image.convert("RGB"))
            row = int(np.flatnonzero(data.train.labels == label)[0])
            assert (data.train.images[row] == expected).all()
