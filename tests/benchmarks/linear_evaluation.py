"""The linear evaluation against a probe of 100 epochs of SGD with crop and flip.

    python tests/benchmarks/linear_evaluation.py --db results.db [--runs 3] [--train 2000]

Takes the newest finished runs of a store, for example those of

    emabench run --method simclr --dataset folder --data-dir PATH --seed 0..2

with their data set. Ours is the program's: features once, an L-BFGS fit for each penalty, the best
on held-out training images, a last fit. The other is the field's: 100 epochs of SGD (momentum 0.9,
no weight decay, batch 256, steps at 60 and 80) on the features of a random crop and flip, made anew
by the frozen backbone in every epoch; classifiers of several learning rates learn beside each other
from the same features, which costs next to nothing, and the best on held-out training images
counts. Both see the same training images and are tested on the same test images. Everything counts
as time but loading the images and the weights.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from emabench.artifacts.layout import artifacts_folder
from emabench.data.augmentation.augment import Augmenter
from emabench.data.images import Dataset, load_dataset
from emabench.device import Device
from emabench.evaluation.features import extract_features
from emabench.evaluation.knn import correct_at
from emabench.evaluation.linear import fit_linear_probe
from emabench.evaluation.weights_file import load_weights
from emabench.networks.backbone import build_backbone
from emabench.records import RunRecord
from emabench.spec import ExperimentSpec
from emabench.spec.data import ViewSpec
from emabench.store import RunStore
from emabench.training.weights import weights_file

CPU = torch.device("cpu")
BATCH = 256
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
CROP_AND_FLIP = ViewSpec(jitter_probability=0.0, grey_probability=0.0)


def ours(
    model: nn.Module, data: Dataset, device: Device, spec: ExperimentSpec, seed: int
) -> tuple[float, dict[str, float]]:
    """Return the top-1 in percent, and the seconds of the parts."""
    start = time.perf_counter()
    statistics = {"mean": data.mean, "std": data.std}
    size = spec.evaluation.batch_size
    train, test = (
        extract_features(model, part, **statistics, device=device, batch_size=size)
        for part in (data.train, data.test)
    )
    middle = time.perf_counter()
    probe = fit_linear_probe(spec.evaluation.linear, *train, len(data.classes), seed)
    right = correct_at(probe.scores(test[0]), test[1], 1)
    parts = {"features": middle - start, "probe": time.perf_counter() - middle}
    return 100 * right.float().mean().item(), parts


class Heads(nn.Module):
    """Linear classifiers that learn beside each other, one per learning rate."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(features, classes) for _ in RATES)
        groups = [
            {"params": head.parameters(), "lr": rate}
            for head, rate in zip(self.heads, RATES, strict=True)
        ]
        self.optimizer = torch.optim.SGD(groups, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, [60, 80])

    def learn(self, features: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        sum(F.cross_entropy(head(features), labels) for head in self.heads).backward()
        self.optimizer.step()

    @torch.no_grad()
    def right(self, features: Tensor, labels: Tensor) -> list[float]:
        return [correct_at(head(features), labels, 1).float().mean().item() for head in self.heads]


def theirs(
    model: nn.Module, data: Dataset, device: Device, epochs: int, seed: int
) -> tuple[float, float, float]:
    """Return top-1 in percent, the seconds it took, and the learning rate that was chosen."""
    start = time.perf_counter()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    images = torch.from_numpy(data.train.images[:])
    labels = torch.from_numpy(data.train.labels)
    order = torch.randperm(len(labels), generator=generator)
    held_out, train = order[: len(order) // 10], order[len(order) // 10 :]
    augment = Augmenter(CROP_AND_FLIP, data.image_size, data.mean, data.std, CPU)
    chosen = _fit(model, device, augment, images, labels, train, epochs, generator)
    best = int(np.argmax(chosen.right(*_plain(model, data, device, held_out))))
    test = extract_features(
        model, data.test, mean=data.mean, std=data.std, device=device, batch_size=512
    )
    top1 = 100 * chosen.right(*test)[best]
    return top1, time.perf_counter() - start, RATES[best]


def _fit(
    model: nn.Module,
    device: Device,
    augment: Augmenter,
    images: Tensor,
    labels: Tensor,
    train: Tensor,
    epochs: int,
    generator: torch.Generator,
) -> Heads:
    model.eval()
    heads: Heads | None = None
    for _ in range(epochs):
        for rows in train[torch.randperm(len(train), generator=generator)].split(BATCH):
            with torch.no_grad(), device.autocast():
                features = model(augment(images[rows], generator)).float()
            heads = heads or Heads(features.shape[1], int(labels.max()) + 1)
            heads.learn(features, labels[rows])
        assert heads is not None
        heads.schedule.step()
    assert heads is not None
    return heads


def _plain(model: nn.Module, data: Dataset, device: Device, rows: Tensor) -> tuple[Tensor, Tensor]:
    part = data.train.take(rows.numpy())
    return extract_features(
        model, part, mean=data.mean, std=data.std, device=device, batch_size=512
    )


def measure(run: RunRecord, folder: Path, arguments: argparse.Namespace) -> tuple[float, ...]:
    """Return the top-1 of ours and of the other, and their seconds."""
    spec = ExperimentSpec.parse(run.spec)
    data = load_dataset(
        spec.pretrain.data.model_copy(
            update={"train_subset": arguments.train, "test_subset": arguments.test}
        )
    )
    device = Device(CPU, spec.pretrain.precision)
    backbone = build_backbone(spec.pretrain.backbone, data.image_size)
    load_weights(weights_file(folder, run.id, "online"), backbone.model, backbone=backbone.name)
    model = backbone.model.to(memory_format=torch.channels_last)
    seed = spec.pretrain.seed
    first = data.train.take(np.arange(min(512, len(data.train))))
    extract_features(model, first, mean=data.mean, std=data.std, device=device, batch_size=512)
    top1, parts = ours(model, data, device, spec, seed)
    other, seconds, rate = theirs(model, data, device, arguments.epochs, seed)
    own = sum(parts.values())
    print(
        f"  {run.id}: {top1:.2f} % in {own:.2f} s (features {parts['features']:.2f} s), "
        f"{other:.2f} % in {seconds:.1f} s (lr {rate:g}): {seconds / own:.1f}x",
        flush=True,
    )
    return top1, other, own, seconds


def interval(values: list[float]) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval by t."""
    mean, error = float(np.mean(values)), float(stats.sem(values))
    low, high = stats.t.interval(0.95, len(values) - 1, mean, error)
    return mean, float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--db", required=True)
    parser.add_argument("--artifacts", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with RunStore.open(arguments.db, mode="read") as store:
        runs = [run for run in store.runs() if run.state == "done"][-arguments.runs :]
    folder = artifacts_folder(arguments.db, arguments.artifacts)
    pretrain = runs[0].spec["pretrain"]
    print(f"{platform.machine()}, torch {torch.__version__}, {arguments.threads} threads,", end=" ")
    print(f"{pretrain['precision']}, {pretrain['backbone']['name']}")
    print(f"{arguments.train} training and {arguments.test} test images", end=" ")
    print(f"of {pretrain['data']['dataset']}, {arguments.epochs} epochs of the other probe")
    found = [measure(run, folder, arguments) for run in runs]
    mean, low, high = interval([top1 - other for top1, other, _, _ in found])
    print(f"top-1 minus the other's: {mean:+.2f} [{low:+.2f}, {high:+.2f}], n={len(found)}")
    mean, low, high = map(np.exp, interval([float(np.log(b / a)) for _, _, a, b in found]))
    print(f"seconds of the other ÷ ours: {mean:.1f} [{low:.1f}, {high:.1f}], n={len(found)}")


if __name__ == "__main__":
    main()
