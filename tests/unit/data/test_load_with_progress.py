"""A data set that many runs ask for is read once, and what is said of it is said to each."""

from __future__ import annotations

import gc
import weakref

import numpy as np
from PIL import Image

from emabench.data import load_with_progress
from emabench.data.load_with_progress import load_data, loading_once
from emabench.events import Notice
from emabench.plans.grids import GridPoint, resolve_all
from emabench.spec.data import DataSpec
from emabench.spec.settings import experiment_at


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


def test_a_grid_holds_one_data_set_at_a_time(monkeypatch):
    loaded, held, read = [], [], load_with_progress.load_dataset

    def load(spec, **more):
        found = read(spec, **more)
        loaded.append(weakref.ref(found))
        gc.collect()
        held.append(sum(each() is not None for each in loaded))
        return found

    monkeypatch.setattr(load_with_progress, "load_dataset", load)
    fields = {"pretrain.device": "cpu", "pretrain.threads": 1}
    points = [
        GridPoint(
            experiment_at(
                {**fields, "pretrain.method.name": method, "pretrain.data.subset_seed": seed},
                preset="smoke",
            ),
            f"{method} {seed}",
        )
        for seed in range(3)
        for method in ("simclr", "moco")
    ]
    plans = resolve_all(points, on_event=lambda event: None)
    assert [plan.command for plan in plans] == [point.command for point in points]
    assert held == [1, 1, 1]
