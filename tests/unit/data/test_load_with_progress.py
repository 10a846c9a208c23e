"""A data set that many runs ask for is read once, and what is said of it is said to each."""

from __future__ import annotations

import numpy as np
from PIL import Image

from emabench.data.load_with_progress import load_data, loading_once
from emabench.events import Notice
from emabench.spec.data import DataSpec


def test_runs_that_are_planned_together_read_their_images_once(tmp_path, monkeypatch):
    monkeypatch.setenv("EMABENCH_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for shade in range(10):
            picture = Image.fromarray(np.full((8, 8, 3), shade, dtype=np.uint8))
            picture.save(tmp_path / "images" / name / f"{shade}.png")
    (tmp_path / "images" / "a" / ".hidden").write_bytes(b"")
    spec = DataSpec(dataset="folder", data_dir=str(tmp_path / "images"))

    def load(spec):
        said = []
        return load_data(spec, said.append), [each for each in said if isinstance(each, Notice)]

    with loading_once():
        (first, said), (again, said_again) = load(spec), load(spec.model_copy())
        smaller, _ = load(spec.model_copy(update={"image_size": 4}))
    assert again is first
    assert said_again == said != []
    assert smaller.image_size == 4
    assert load(spec)[0] is not first
