"""OPEN FIRST: an experiment from spec to figures. It knows no database.

    resolve     raw spec → resolved spec with an identity: what exactly will be run
    pretrain    train the online network of a resolved spec, leave its weights in a folder
    evaluate    features of those weights → kNN and linear accuracy

The queue calls the last two as jobs, and writes what they return into the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from emabench import device as devices
from emabench.cost.meter import CostMeter
from emabench.data.images import Dataset
from emabench.data.load_with_progress import load_data
from emabench.device import bind_device
from emabench.errors import OtherImagesError, SpecError
from emabench.evaluation.accuracies import accuracies
from emabench.evaluation.floors import floors
from emabench.evaluation.weights_file import check_origin, load_weights
from emabench.events import CheckpointSaved, Listener, Notice, PhaseProgress, RevisionsFound
from emabench.extensions.plugin_reference import PLUGINS
from emabench.extensions.plugins_at_hand import command_with
from emabench.methods import METHOD_PLUGINS
from emabench.networks.backbone import build_backbone
from emabench.records import CostReading, MetricPoint, PlannedRun
from emabench.resolution.evaluation import knn_revisions
from emabench.resolution.identity import run_plugins, training_owner, training_revisions
from emabench.resolution.own_evaluation import settle_own_evaluation
from emabench.resolution.pretraining import settle_pretraining
from emabench.spec import ExperimentSpec, PretrainSpec
from emabench.spec.fingerprint import run_fingerprints
from emabench.spec.revisions import named
from emabench.training.checkpoint import save_checkpoint
from emabench.training.given_weights import NOTHING, Given, KeptWeights
from emabench.training.profiling import traced_steps
from emabench.training.resumption import at_its_start
from emabench.training.trainer import Trainer
from emabench.training.weights import save_weights
from emabench.training.world import ALONE, World


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
    evaluates: bool = True,
    kept: KeptWeights | None = None,
) -> PlannedRun:
    """Settle a spec with its own seed, see ``resolve_seeds``."""
    (planned,) = resolve_seeds(
        spec,
        {spec.pretrain.seed: command},
        name=name,
        on_event=on_event,
        evaluates=evaluates,
        kept=kept,
    )
    return planned


def resolve_seeds(
    spec: ExperimentSpec,
    commands: Mapping[int, str],
    *,
    name: str | None = None,
    on_event: Listener = lambda event: None,
    evaluates: bool = True,
    kept: KeptWeights | None = None,
) -> list[PlannedRun]:
    """Settle everything that a spec leaves open, and check it against method, network and data.

    None of it depends on the seed, so that all seeds take as long as one.

    Args:
        spec: as the user wrote it.
        commands: by the seed of each run, in the order of the runs, the command that reproduces it.
        name: a label for the user, no part of the identity.
        on_event: listens.
        evaluates: whether the evaluation is made at all; if not, nothing about it can be wrong.
        kept: where the runs are looked up whose weights it is given; None: nowhere.

    Raises:
        UsageError: a name, a scope or a value does not go with the others.
        PluginError: a plugin cannot be loaded, or several have a name.
        DataError: the images cannot be read.
        NotFoundError: weights that it is given are not there.
        WeightsError: they do not fit.
    """
    if spec.weights is not None:
        raise SpecError(
            "weights: a run evaluates its own",
            hint="emabench eval evaluates other weights",
        )
    if spec.bench is not None:
        raise SpecError("bench: a run has none", hint="emabench bench times steps")
    training = settle_pretraining(spec.pretrain, kept=kept, on_event=on_event)
    evaluation = settle_own_evaluation(spec, training, evaluates=evaluates, on_event=on_event)
    notes = [*training.notes, *evaluation.notes]
    if spec.profile:
        notes.append("it is profiled, so its costs are left out of comparisons")
    for note in [*notes, *METHOD_PLUGINS.problems()]:
        on_event(Notice(note))
    fields = spec.model_dump(mode="json", exclude={"weights", "bench"})
    fields |= {"pretrain": training.fields, "evaluation": evaluation.fields}
    identity = training.identity | evaluation.identity
    plugins = run_plugins(training.spec, *evaluation.images)
    if plugins:
        identity[PLUGINS] = [str(plugin.reference) for plugin in plugins]
    planned = []
    for seed, command in commands.items():
        seeded = {**fields, "pretrain": {**training.fields, "seed": seed}}
        *earlier, today = run_fingerprints(seeded, identity)
        planned.append(
            PlannedRun(
                spec=seeded,
                identity=dict(identity),
                fingerprint=today,
                command=command_with(training.given.in_command(command, training.spec), plugins),
                name=name,
                smoke=spec.smoke,
                warnings=tuple(notes),
                earlier_fingerprints=tuple(earlier),
                steps=training.steps,
            )
        )
    return planned


def pretrain(
    spec: PretrainSpec,
    *,
    folder: Path,
    earlier: Sequence[Path] = (),
    extended: Sequence[Path] = (),
    on_event: Listener,
    record: Callable[[Iterable[MetricPoint]], None],
    stop: Callable[[], bool],
    meter: CostMeter,
    profile: bool = False,
    world: World = ALONE,
    given: Given = NOTHING,
    images: str | None = None,
) -> Outcome:
    """Train a resolved spec and leave the weights of its backbones in a folder.

    Args:
        spec: the resolved spec.
        folder: of this attempt; gets checkpoints and, at the end, the weights. The checkpoints
            are left to the caller: a result that was not recorded yet can be had again.
        earlier: folders of earlier attempts, newest first: training goes on from there.
        extended: those of the attempts at the run that it extends.
        on_event: listens.
        record: given the metrics of every epoch.
        stop: asked after every step whether to stop.
        meter: measures; the caller reads it when the attempt fails.
        profile: whether to leave a trace of some steps in the folder.
        world: the processes that train together; the first one writes the files.
        given: the weights that the spec names; see ``given_weights``.
        images: digest of those that are expected; None: whatever is there.

    Raises:
        TrainingError: the loss is not finite.
        InterruptedRunError: it was stopped; a checkpoint is there.
        CheckpointError: the one that it is to go on from is gone, or another one.
        OtherImagesError: the images are not those that are expected.
    """
    device = bind_device(spec)
    with (
        devices.threads(spec.threads or torch.get_num_threads()),
        torch.random.fork_rng(devices=[]),
    ):
        with meter.phase("data_prep"):
            dataset = _expected(images, load_data(spec.data, on_event))
        assert (given.init is None, given.teacher is None) == (
            spec.init is None,
            spec.ema.teacher is None,
        )

        def fresh() -> Trainer:
            return Trainer(spec, dataset, device, meter, world, given)

        trainer = fresh()
        revisions = training_revisions(spec, trainer.learner.backbone[0], dataset)
        on_event(RevisionsFound(tuple(revisions)))
        made = spec.model_copy(update={"max_steps": spec.extends.step})
        revisions_of_extended = training_revisions(made, trainer.learner.backbone[0], dataset)
        owner = training_owner(spec)
        with meter.phase("checkpoint"):
            trainer, resumed = at_its_start(
                trainer,
                spec,
                again=fresh,
                folders=[folder, *earlier],
                extended=extended,
                owner=owner,
                revisions=revisions,
                revisions_of_extended=revisions_of_extended,
                on_event=on_event,
            )

        def save(state: dict[str, Any]) -> None:
            with meter.phase("checkpoint"):
                if world.is_first:
                    save_checkpoint(folder, state, owner=owner, revisions=revisions)
                    on_event(CheckpointSaved(trainer.step, resumed))

        with traced_steps(folder) if profile else nullcontext(lambda: None) as on_step:
            trainer.fit(on_event=on_event, record=record, save=save, stop=stop, on_step=on_step)
        with meter.phase("checkpoint"):
            if world.is_first:
                save_weights(trainer, spec, folder)
        cost = meter.read()
    results = dict(trainer.representation)
    if trainer.online_top1 is not None:
        results["online_top1"] = trainer.online_top1
    return Outcome(results, cost, {})


def _expected(digest: str | None, found: Dataset) -> Dataset:
    """Return images, if they are those that a job was queued for.

    Raises:
        OtherImagesError: they are others.
    """
    if digest not in (None, found.content_hash):
        raise OtherImagesError(
            f"the images of {found.name} are not those that the run was queued for",
            hint="put them back, or give its command again for those that are there now",
        )
    return found


def evaluate(
    spec: ExperimentSpec,
    *,
    weights: Path,
    trained_with: Sequence[str] = (),
    images: Mapping[str, str] | None = None,
    on_event: Listener,
    meter: CostMeter,
) -> Outcome:
    """Evaluate the frozen backbone that a pretraining left behind.

    Args:
        spec: the resolved experiment.
        weights: file of the backbone.
        trained_with: names of the revisions that its pretraining had.
        images: digests of those that are expected, by title, ``""`` for the first; of a title that
            is left out, and for None, whatever is there.
        on_event: listens.
        meter: measures.

    Raises:
        WeightsError: the file cannot be read, or does not fit the backbone.
        OtherImagesError: the images are not those that are expected.
    """
    device = bind_device(spec.pretrain)
    threads = spec.pretrain.threads or torch.get_num_threads()
    with devices.threads(threads), torch.random.fork_rng(devices=[]):
        with meter.phase("data_prep"):
            known = images or {}
            first = load_data(spec.evaluation.data or spec.pretrain.data, on_event)
            dataset = _expected(known.get(""), first)
            further = {
                each.title: _expected(known.get(each.title), load_data(each, on_event))
                for each in spec.evaluation.also
            }
        of_images = {*dataset.revisions}
        if spec.evaluation.data is None:  # then the pretraining names them, unless it was before
            of_images -= {*trained_with}
        concerned = knn_revisions(spec.evaluation.knn, dataset) | dict.fromkeys(of_images, True)
        on_event(RevisionsFound(tuple(named(concerned))))
        if spec.weights is None or not Path(spec.weights).is_absolute():  # those of a run
            check_origin(weights, spec.pretrain, lambda text: on_event(Notice(text)))
        name, network = spec.pretrain.backbone.name, spec.evaluation.network
        results: dict[str, float] = {}
        correct: dict[str, bytes] = {}

        def score(title: str, shown: Dataset, model: nn.Module, listener: Listener) -> None:
            model = model.to(device.torch).to(memory_format=torch.channels_last)
            with meter.phase("eval"):
                found, right = accuracies(
                    spec.evaluation,
                    shown,
                    model,
                    device,
                    seed=spec.pretrain.seed,
                    on_event=listener,
                )
            at = f"@{title}" if title else ""
            results.update((f"{name}{at}", value) for name, value in found.items())
            correct.update((f"{name}{at}", bits) for name, bits in right.items())

        for title, shown in {"": dataset, **further}.items():
            backbone = build_backbone(spec.pretrain.backbone, shown.image_size)
            load_weights(weights, backbone.model, backbone=name, network=network)
            score(title, shown, backbone.model, on_event)
        # Plans leave floors to trained runs; one that was queued before they did may not.
        if spec.evaluation.floors and spec.pretrain.epochs and spec.weights is None:
            for title, floor in floors(spec.pretrain, dataset.image_size).items():
                on_event(PhaseProgress(f"floor: {title}"))
                score(title, dataset, floor, lambda event: None)
    return Outcome(results, meter.read(), correct)
