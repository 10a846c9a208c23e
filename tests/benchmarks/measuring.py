"""What the benchmarks share: the machine in words, and paired ratios with their interval."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from emabench import device as devices
from emabench import experiment
from emabench.analysis.statistics import paired_ratio
from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device, bind_device
from emabench.spec import ExperimentSpec, PretrainSpec
from emabench.spec.settings import experiment_at
from emabench.training.trainer import Trainer

SMALL = {
    "pretrain.backbone.name": "resnet18",
    "pretrain.backbone.stem": "3x3-stride2",
    "pretrain.backbone.options": {"layers": [1, 1, 1, 1], "channels": [32, 64, 128, 256]},
}
"""A ResNet with one block per stage, 32 to 256 channels and a stem of stride 2."""


def parser(text: str | None) -> argparse.ArgumentParser:
    """Return the flags that every benchmark of training has."""
    result = argparse.ArgumentParser(description=(text or "").partition("\n")[0])
    result.add_argument("--data-dir", type=Path, help="image folder, in the place of --dataset")
    result.add_argument("--dataset", default="fashion-mini")
    result.add_argument("--small", action="store_true", help="a small ResNet, not the ResNet-18")
    result.add_argument("--batch-size", type=int, default=128)
    result.add_argument("--precision", default="auto")
    result.add_argument("--threads", type=int, default=torch.get_num_threads())
    return result


def spec_of(arguments: argparse.Namespace, **fields: object) -> PretrainSpec:
    """Return the resolved pretraining of ``raw_spec_of``."""
    plan = experiment.resolve(raw_spec_of(arguments, **fields), command="")
    return ExperimentSpec.parse(plan.spec).pretrain


def raw_spec_of(arguments: argparse.Namespace, **fields: object) -> ExperimentSpec:
    """Return a SimCLR over the recipe of cifar10, without watching and checkpoints."""
    point = {
        "pretrain.method.name": "simclr",
        "pretrain.ema.scope": "none",
        "pretrain.batch_size": arguments.batch_size,
        "pretrain.precision": arguments.precision,
        "pretrain.threads": arguments.threads,
        "pretrain.data.dataset": arguments.dataset,
        "pretrain.data.image_size": 32,
        "pretrain.checkpoint_epochs": None,
        **(SMALL if arguments.small else {}),
        **{f"pretrain.{name}": value for name, value in fields.items()},
    }
    if arguments.data_dir is not None:
        point |= {"pretrain.data.dataset": "folder"}
        point |= {"pretrain.data.data_dir": str(arguments.data_dir)}
    return experiment_at(point, preset="cifar10")


def trainer_of(
    spec: PretrainSpec, *, captures_steps: bool = False
) -> tuple[Trainer, CostMeter, Device]:
    """Return a trainer of a resolved spec with its meter and device."""
    device = replace(bind_device(spec), captures_steps=captures_steps)
    meter = CostMeter(device)
    return Trainer(spec, load_dataset(spec.data), device, meter), meter, device


def machine(device: Device) -> str:
    """Return what a figure depends on, in one line."""
    return f"{device.label}, torch {torch.__version__}, {devices.available()[0]}"


def ratio(values: Sequence[float], baseline: Sequence[float]) -> str:
    """Return the geometric mean of paired ratios with its 95 % interval, in words."""
    found = paired_ratio(values, baseline)
    if found is None or found.low is None or found.high is None:
        return "unknown: fewer than two pairs"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}], n={found.n}"
