"""What a run holds in memory: the same after every epoch, and of EMA copies their bytes alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import gc, json, sys
from pathlib import Path
import psutil, torch
from emabench import experiment
from emabench.device import bind_device
from emabench.cost.meter import CostMeter
from emabench.events import EpochProgress
from emabench.spec import ExperimentSpec
from emabench.spec.settings import experiment_at

def held():
    # Of everything that Python knows of: weights, copies, optimiser, queues, images.
    gc.collect()
    storages = {}
    for each in gc.get_objects():
        if isinstance(each, torch.Tensor):
            for tensor in (each, each.grad if each.is_leaf else None):
                if tensor is not None:
                    storage = tensor.untyped_storage()
                    storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())

scope, epochs, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
point = {
    "pretrain.method.name": "moco",
    "pretrain.ema.scope": scope,
    "pretrain.epochs": epochs,
    "pretrain.data.train_subset": 512,
    "pretrain.data.test_subset": 200,
    "pretrain.threads": 1,
}
raw = experiment_at(point, preset="quick")
spec = ExperimentSpec.parse(experiment.resolve(raw, command="").spec).pretrain
resident, tensors = [], []

def on_event(event):
    if isinstance(event, EpochProgress):
        resident.append(psutil.Process().memory_info().rss)
        tensors.append(held())

folder.mkdir()
outcome = experiment.pretrain(
    spec,
    folder=folder,
    on_event=on_event,
    record=lambda points: None,
    stop=lambda: False,
    meter=CostMeter(bind_device(spec)),
)
print(json.dumps({"resident": resident, "tensors": tensors, "ema": outcome.cost.ema_bytes}))
"""


def measured(scope: str, epochs: int, folder: Path) -> dict[str, list[int] | int]:
    command = [sys.executable, "-c", SCRIPT, scope, str(epochs), str(folder)]
    done = subprocess.run(command, env=os.environ, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_memory_does_not_grow_over_epochs(tmp_path: Path) -> None:
    found = measured("full", 16, tmp_path / "attempt")
    assert len(found["resident"]) == 16
    # The first epochs fill the allocator and the caches of torch.
    assert max(found["resident"][6:]) - found["resident"][5] <= 8 * 2**20
    assert len(set(found["tensors"][1:])) == 1


@pytest.mark.slow
def test_copies_cost_exactly_their_bytes(tmp_path: Path) -> None:
    found = {scope: measured(scope, 2, tmp_path / scope) for scope in ("none", "projector", "full")}
    assert found["none"]["ema"] == 0
    assert 0 < found["projector"]["ema"] < found["full"]["ema"]
    for scope in ("projector", "full"):
        extra = found[scope]["tensors"][-1] - found["none"]["tensors"][-1]
        assert extra == found[scope]["ema"]
