"""Training in float64 with a small ViT and heads without BatchNorm, in one process or several."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from emabench.cost.meter import CostMeter
from emabench.data.load_with_progress import load_data
from emabench.device import Device
from emabench.methods import byol
from emabench.spec import EmaScope, PretrainSpec
from emabench.training.trainer import Trainer
from emabench.training.world import ALONE, World

STEPS = 20
CPU = Device(torch.device("cpu"), "fp32")
BLOCKS = ["stem", "block1", "block2", "block3", "projector"]
METHODS = ("simclr", "moco", "byol")
OPTIONS = {
    "simclr": {"hidden_dim": 24, "output_dim": 12},
    "moco": {"hidden_dim": 24, "output_dim": 12, "queue_size": 48},
    "byol": {"hidden_dim": 24, "output_dim": 12, "predictor_dim": 24},
    "dino": {"hidden_dim": 24, "output_dim": 12, "prototypes": 16, "frozen_epochs": 2},
    "ressl": {"hidden_dim": 24, "output_dim": 12, "queue_size": 48},
    "supervised": {},
}


def spec(method: str, scope: str, **fields: object) -> PretrainSpec:
    """Return the spec of a run of 20 steps over 16 images each."""
    detached = scope != "none" or method != "simclr"
    return PretrainSpec.parse(
        {
            "method": {"name": method, "options": {**OPTIONS[method], **fields.pop("options", {})}},
            "backbone": {
                "name": "vit_tiny_patch16_224",
                "options": {"embed_dim": 32, "depth": 3, "num_heads": 2},
            },
            "data": {
                "dataset": "fashion-mini",
                "image_size": 16,
                "train_subset": 64,
                "test_subset": 20,
            },
            "ema": {
                "scope": scope,
                "decay": 0.9,
                "target_gradient": "detach" if detached else "attach",
            },
            "epochs": 5,
            "batch_size": 16,
            "threads": 1,
            "device": "cpu",
            "precision": "fp32",
            "optimizer": {"lr": 0.3, "clip_grad_norm": 1.0},
            "probe_images": 0,
            "monitors": {"gradient_every": 4, "representation_images": 0},
            **fields,
        }
    )


def train(wanted: PretrainSpec, world: World = ALONE) -> dict[str, object]:
    """Train, and return the losses, all weights and buffers, and what was recorded."""
    byol.mlp = lambda *sizes, norm: _MLP(*sizes)
    try:
        dataset = load_data(wanted.data, lambda event: None)
        trainer = Trainer(wanted, dataset, CPU, CostMeter(CPU), _Finer(world))
    finally:
        byol.mlp = _MLP
    trainer._augmenters = [_Double(each) for each in trainer._augmenters]
    points = []
    losses = []
    step = trainer.train_step
    trainer.train_step = lambda batch: losses.append(step(batch)) or losses[-1]
    trainer.fit(
        on_event=lambda event: None,
        record=points.extend,
        save=lambda state: None,
        stop=lambda: False,
    )
    return {
        "losses": torch.stack(losses),
        "weights": dict(trainer.learner.state_dict()),
        "points": {(p.step, p.name): p.value for p in points},
    }


_MLP = byol.mlp


class _Finer(World):
    """A world in which learners compute in float64."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattribute__(self, name: str) -> object:
        own = name in ("wrap", "_world")
        return object.__getattribute__(self, name) if own else getattr(self._world, name)

    def wrap(self, learner: torch.nn.Module) -> object:
        return self._world.wrap(learner.double())


class _Double:
    """An augmenter whose views are float64."""

    def __init__(self, augmenter: object) -> None:
        self._augmenter = augmenter

    def __call__(self, *arguments: object) -> torch.Tensor:
        return self._augmenter(*arguments).double()


def train_all(specs: list[PretrainSpec], folder: Path) -> None:
    """Train each spec as one of several processes, and leave what came of it."""
    from emabench.training.distributed import ProcessGroup

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    world = ProcessGroup(torch.device("cpu"))
    for index, each in enumerate(specs):
        torch.save(train(each, world), folder / f"{index}-{world.rank}.pt")
    dist.destroy_process_group()


def launch(specs: list[PretrainSpec], folder: Path, processes: int = 2) -> list[list[dict]]:
    """Train each spec in several processes together; return what each of them came to."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="spawn",
    )
    elastic_launch(config, train_all)(specs, folder)
    return [
        [torch.load(folder / f"{i}-{rank}.pt") for rank in range(processes)]
        for i in range(len(specs))
    ]


def scopes() -> list[str]:
    """Return a scope of every kind, canonical."""
    asked = ["none", "projector", "full", "backbone", "from:block3", "block1+projector", "stem"]
    return [EmaScope.parse(text, BLOCKS).canonical for text in asked]
