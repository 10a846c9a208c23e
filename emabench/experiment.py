"""OPEN FIRST: an experiment from spec to figures. It knows no database.

    resolve     raw spec → resolved spec with an identity: what exactly will be run
    pretrain    train the online network of a resolved spec, leave its weights in a folder
    evaluate    features of those weights → kNN and linear accuracy

The queue calls the last two as jobs, and writes what they return into the store.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from emabench import device as devices
from emabench.cost.meter import CostMeter
from emabench.data.images import Dataset, load_dataset
from emabench.device import Device
from emabench.errors import SpecError
from emabench.evaluation.features import extract_features
from emabench.evaluation.knn import correct_at, knn_scores
from emabench.evaluation.linear import fit_linear_probe
from emabench.methods import load_method
from emabench.networks.backbone import build_backbone, chosen_stem
from emabench.records import CostReading, Event, MetricPoint, Notice, PhaseProgress, PlannedRun
from emabench.spec import EmaScope, ExperimentSpec, PretrainSpec, fingerprint
from emabench.spec.scope import PROJECTOR
from emabench.training.checkpoint import newest_checkpoint, save_checkpoint
from emabench.training.optimizer import build_optimizer
from emabench.training.trainer import Trainer
from emabench.training.weights import save_weights

Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Outcome:
    """What a finished job gives.

    Attributes:
        results: final figures by name; accuracies in percent.
        cost: what the attempt cost.
        correct: for an accuracy, one byte per test image, 1 where it was right and 0 elsewhere.
    """

    results: Mapping[str, float]
    cost: CostReading
    correct: Mapping[str, bytes]


def resolve(
    spec: ExperimentSpec,
    *,
    command: str,
    name: str | None = None,
    on_event: Listener = lambda event: None,
) -> PlannedRun:
    """Settle everything that a spec leaves open, and check it against method, network and data.

    Args:
        spec: as the user wrote it.
        command: the command that reproduces the run.
        name: a label for the user, no part of the identity.
        on_event: told of the decoding of images.

    Raises:
        UsageError: a name, a scope or a value does not go with the others.
        DataError: the images cannot be read.
    """
    pretrain = spec.pretrain
    device = bind_device(pretrain)
    method = load_method(pretrain.method.name)
    options = method.parse_options(pretrain.method.name, pretrain.method.options)
    dataset = _load_data(pretrain, on_event)
    if pretrain.batch_size > len(dataset.train):
        raise SpecError(
            f"batch of {pretrain.batch_size} is larger than {len(dataset.train)} training images",
            hint=f"set --batch-size to {len(dataset.train)} or less",
        )
    options, notes = method.fit_options(options, len(dataset.train), pretrain.batch_size)
    with torch.random.fork_rng(devices=[]):
        backbone = build_backbone(pretrain.backbone, dataset.image_size)
        build_optimizer(pretrain.optimizer, nn.Linear(1, 1), pretrain.batch_size)
    scope = EmaScope.parse(pretrain.ema.scope, [*backbone.block_names, PROJECTOR])
    neighbours = min(spec.evaluation.knn.k, len(dataset.train))
    if neighbours < spec.evaluation.knn.k:
        notes.append(f"knn: k {spec.evaluation.knn.k} clamped to the {neighbours} training images")
    for note in notes:
        on_event(Notice(note))
    fields = spec.model_dump(mode="json")
    inner = fields["pretrain"]
    inner["method"]["options"] = options.model_dump(mode="json")
    inner["backbone"]["stem"] = chosen_stem(pretrain.backbone, dataset.image_size)
    inner["data"]["image_size"] = dataset.image_size
    inner["ema"]["scope"] = scope.canonical
    inner["ema"]["target_gradient"] = _target_gradient(pretrain, scope, method.stop_gradient)
    inner["device"], inner["precision"] = str(device.torch), device.precision
    inner["threads"] = pretrain.threads or torch.get_num_threads()
    fields["evaluation"]["knn"]["k"] = neighbours
    identity = {
        "device_kind": device.kind,
        "precision": device.precision,
        "threads": inner["threads"],
        "data": dataset.content_hash,
    }
    return PlannedRun(
        spec=fields,
        identity=identity,
        fingerprint=fingerprint({"spec": _what_counts(fields), "identity": identity}),
        command=command,
        name=name,
        smoke=spec.smoke,
        warnings=tuple(notes),
    )


def pretrain(
    spec: PretrainSpec,
    *,
    folder: Path,
    earlier: Sequence[Path] = (),
    on_event: Listener,
    record: Callable[[Iterable[MetricPoint]], None],
    stop: Callable[[], bool],
    meter: CostMeter,
) -> Outcome:
    """Train a resolved spec and leave the weights of its backbones in a folder.

    Args:
        spec: the resolved spec.
        folder: of this attempt; gets checkpoints and, at the end, the weights. The checkpoints
            are left to the caller: a result that was not recorded yet can be had again.
        earlier: folders of earlier attempts, newest first: training goes on from there.
        on_event: told of progress.
        record: given the metrics of every epoch.
        stop: asked after every step whether to stop.
        meter: measures; the caller reads it when the attempt fails.

    Raises:
        TrainingError: the loss is not finite.
        InterruptedRunError: it was stopped; a checkpoint is there.
    """
    device = bind_device(spec)
    with (
        devices.threads(spec.threads or torch.get_num_threads()),
        torch.random.fork_rng(devices=[]),
    ):
        with meter.phase("data_prep"):
            dataset = _load_data(spec, on_event)
        trainer = Trainer(spec, dataset, device, meter)
        with meter.phase("checkpoint"):
            state = newest_checkpoint([folder, *earlier], lambda text: on_event(Notice(text)))
            if state is not None:
                trainer.load_state_dict(state)
                on_event(Notice(f"resumed after step {trainer.step} of {trainer.total_steps}"))

        def save(state: dict[str, Any]) -> None:
            with meter.phase("checkpoint"):
                save_checkpoint(folder, state)

        trainer.fit(on_event=on_event, record=record, save=save, stop=stop)
        with meter.phase("checkpoint"):
            save_weights(trainer, spec, folder)
        cost = meter.read(ema_bytes=trainer.learner.target.ema_bytes)
    results = {} if trainer.online_top1 is None else {"online_top1": trainer.online_top1}
    return Outcome(results, cost, {})


def evaluate(
    spec: ExperimentSpec, *, weights: Path, on_event: Listener, meter: CostMeter
) -> Outcome:
    """Evaluate the frozen backbone that a pretraining left behind.

    Args:
        spec: the resolved experiment.
        weights: safetensors file of the backbone.
        on_event: told of progress.
        meter: measures.
    """
    device = bind_device(spec.pretrain)
    threads = spec.pretrain.threads or torch.get_num_threads()
    with devices.threads(threads), torch.random.fork_rng(devices=[]):
        with meter.phase("data_prep"):
            dataset = _load_data(spec.pretrain, on_event)
        backbone = build_backbone(spec.pretrain.backbone, dataset.image_size)
        if backbone.model.state_dict():
            backbone.model.load_state_dict(load_file(weights))
        model = backbone.model.to(device.torch).to(memory_format=torch.channels_last)
        with meter.phase("eval"):
            results, correct = _accuracies(spec, dataset, model, device, on_event)
    return Outcome(results, meter.read(), correct)


def bind_device(spec: PretrainSpec) -> Device:
    """Return the device and the precision that a spec asks for."""
    chosen = devices.choose(spec.device)
    return Device(chosen, devices.choose_precision(chosen, spec.precision))


def _load_data(spec: PretrainSpec, on_event: Listener) -> Dataset:
    def progress(done: int, total: int) -> None:
        on_event(PhaseProgress("decoding images", done, total))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load_dataset(spec.data, progress=progress)
    for warning in caught:
        on_event(Notice(str(warning.message)))
    return dataset


def _target_gradient(spec: PretrainSpec, scope: EmaScope, stop_gradient: bool) -> str:
    """Settle whether the target is detached.

    Raises:
        SpecError: a gradient is asked for where the scope or the method has none.
    """
    asked = spec.ema.target_gradient
    if asked != "attach":
        return "detach" if scope.averaged or stop_gradient or asked == "detach" else "attach"
    if scope.averaged or stop_gradient:
        reason = f"EMA scope {scope.canonical}" if scope.averaged else f"method {spec.method.name}"
        raise SpecError(
            f"ema.target_gradient=attach: {reason} has no gradient through its target",
            hint="leave ema.target_gradient at auto",
        )
    return "attach"


def _what_counts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what changes no result: where things lie, and how often a state is saved.

    The identity has the data's content and the device's kind.
    """
    copied: dict[str, Any] = json.loads(json.dumps(fields))
    inner = copied["pretrain"]
    del inner["data"]["data_dir"], inner["device"]
    for name in ("checkpoint_epochs", "checkpoint_steps", "checkpoint_minutes"):
        del inner[name]
    return copied


def _accuracies(
    spec: ExperimentSpec, dataset: Dataset, model: nn.Module, device: Device, on_event: Listener
) -> tuple[dict[str, float], dict[str, bytes]]:
    """Extract features once; score nearest neighbours and the linear probe on them."""

    def features(part: str) -> tuple[Tensor, Tensor]:
        return extract_features(
            model,
            dataset.train if part == "training" else dataset.test,
            mean=dataset.mean,
            std=dataset.std,
            device=device,
            batch_size=spec.evaluation.batch_size,
            on_progress=lambda d, n: on_event(PhaseProgress(f"{part} features", d, n)),
        )

    train, test = features("training"), features("test")
    classes = len(dataset.classes)
    on_event(PhaseProgress("nearest neighbours"))
    votes = knn_scores(spec.evaluation.knn, train, test[0], classes)
    on_event(PhaseProgress("linear probe"))
    probe = fit_linear_probe(spec.evaluation.linear, *train, classes, spec.pretrain.seed)
    scores = probe.scores(test[0])
    right = {
        "top1": correct_at(scores, test[1], 1),
        "top5": correct_at(scores, test[1], 5),
        "knn_top1": correct_at(votes, test[1], 1),
        "knn_top5": correct_at(votes, test[1], 5),
    }
    results = {name: 100 * int(bits.sum()) / len(bits) for name, bits in right.items()}
    results |= {"holdout_top1": probe.holdout_top1, "probe_weight_decay": probe.weight_decay}
    flags = {name: bits.to(torch.uint8).cpu().numpy().tobytes() for name, bits in right.items()}
    return results, flags
