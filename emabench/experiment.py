"""OPEN FIRST: an experiment from spec to figures. It knows no database.

    resolve     raw spec → resolved spec with an identity: what exactly will be run
    pretrain    train the online network of a resolved spec, leave its weights in a folder
    evaluate    features of those weights → kNN and linear accuracy

The queue calls the last two as jobs, and writes what they return into the store.
"""

from __future__ import annotations

import math
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
from emabench.data.sources.plugged import DATASET_PLUGINS
from emabench.device import Device
from emabench.errors import SpecError, WeightsError
from emabench.evaluation.accuracies import accuracies
from emabench.evaluation.few_shot import check_few_shot
from emabench.evaluation.floors import floors
from emabench.evaluation.resolve_evaluation import (
    check_holdout,
    check_size,
    evaluated_images,
    knn_revisions,
    settle_also,
    settle_evaluation,
)
from emabench.evaluation.weights_file import check_origin, load_weights
from emabench.events import CheckpointSaved, Listener, Notice, PhaseProgress, RevisionsFound
from emabench.extensions.plugin_reference import PLUGINS
from emabench.extensions.plugin_shelf import Plugin
from emabench.extensions.plugins_at_hand import command_with, plugins_used
from emabench.methods import METHOD_PLUGINS, load_method, method_names
from emabench.methods._masked import MaskedMethod
from emabench.methods._method import Method, TrainingSet
from emabench.networks.backbone import (
    Backbone,
    build_backbone,
    chosen_stem,
    feature_dim_at,
    unseen_edge,
)
from emabench.networks.backbone_plugins import BACKBONE_PLUGINS
from emabench.networks.drop_rates import drop_rates
from emabench.networks.small_maps import has_miscomputed
from emabench.records import CostReading, MetricPoint, PlannedRun
from emabench.spec import (
    AlsoSpec,
    DataSpec,
    EmaScope,
    EmaSpec,
    ExperimentSpec,
    LinearEvalSpec,
    PretrainSpec,
    SpecModel,
)
from emabench.spec.fingerprint import fingerprint, run_fingerprints
from emabench.spec.pretrain import EXTENDS, GIVEN
from emabench.spec.revisions import EVALUATION, PRETRAINING, named
from emabench.spec.scope import PROJECTOR
from emabench.training.checkpoint import save_checkpoint, saved_states
from emabench.training.extension import extended_state, take_over
from emabench.training.given_weights import (
    NOTHING,
    Given,
    KeptWeights,
    check_scope,
    find_init,
    find_teacher,
    given_at,
    load_teacher,
)
from emabench.training.learner import has_batch_statistics
from emabench.training.optimizer import build_optimizer, check_device, warmup_note
from emabench.training.profiling import traced_steps
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
    """Settle everything that a spec leaves open, and check it against method, network and data.

    Args:
        spec: as the user wrote it.
        command: the command that reproduces the run.
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
    backbone_spec = spec.pretrain.backbone.as_timm()
    pretrain = spec.pretrain.model_copy(update={"backbone": backbone_spec})
    spec = spec.model_copy(update={"pretrain": pretrain})
    if spec.weights is not None:
        raise SpecError(
            "weights: a run evaluates its own",
            hint="emabench eval evaluates other weights",
        )
    if spec.bench is not None:
        raise SpecError("bench: a run has none", hint="emabench bench times steps")
    device = bind_device(pretrain)
    method = load_method(pretrain.method.name)
    options = method.parse_options(pretrain.method.name, pretrain.method.options)
    dataset = load_data(pretrain.data, on_event)
    if pretrain.compile:
        devices.check_compiler(device)
    if pretrain.batch_size > len(dataset.train):
        raise SpecError(
            f"batch of {pretrain.batch_size} is larger than {len(dataset.train)} training images",
            hint=f"set --batch-size to {len(dataset.train)} or less",
        )
    options, notes = method.fit_options(options, len(dataset.train), pretrain.batch_size)
    if not dataset.classes:
        notes = [*notes, *_without_labels(pretrain, method)]
    with torch.random.fork_rng(devices=[]):
        any_size = pretrain.augmentation.local_views.count > 0
        backbone = build_backbone(pretrain.backbone, dataset.image_size, any_size=any_size)
        if issubclass(method, MaskedMethod):
            notes = [*notes, *_check_tokens(pretrain, method, options, backbone)]
        if method.trains:
            build_optimizer(pretrain.optimizer, nn.Linear(1, 1), pretrain.batch_size)
            check_device(pretrain.optimizer, device.kind)
        if pretrain.devices > 1 or pretrain.optimizer.predictor_lr != 1:
            projector = method.build_projector(options, backbone.feature_dim)
            heads = method(options, backbone.feature_dim, TrainingSet(1, 1, tokens=backbone.tokens))
            if pretrain.optimizer.predictor_lr != 1 and not hasattr(heads, "predictor"):
                raise SpecError(
                    f"optimizer.predictor_lr={pretrain.optimizer.predictor_lr:g}: method "
                    f"{pretrain.method.name} has no predictor",
                    hint="leave it out, or choose a method that has one, such as byol",
                )
            if pretrain.devices > 1:
                _check_devices(pretrain, device, backbone.model, projector, heads)
    local = _settle_local_views(pretrain, method, backbone.model, dataset.image_size)
    scope = EmaScope.parse(pretrain.ema.scope, [*backbone.block_names, PROJECTOR])
    if PROJECTOR in scope.averaged and issubclass(method, MaskedMethod) and method.target_views:
        asked, scope = scope.canonical, scope.without(PROJECTOR)
        notes = [
            *notes,
            f"method {pretrain.method.name} has no projector: EMA scope {asked} is "
            f"{scope.canonical}",
        ]
    if scope.averaged and not method.target_views:
        raise SpecError(
            f"method {pretrain.method.name} has no target network: EMA scope {scope.canonical} "
            "has nothing to average",
            hint="use --ema-scope none for it",
        )
    given = _find_given(pretrain, method, options, backbone, dataset.image_size, scope, kept)
    fields = spec.model_dump(mode="json", exclude={"weights", "bench"})
    evaluated = dataset
    if spec.evaluation.network == "average" and pretrain.ema.evaluation_decay is None:
        raise SpecError(
            "evaluation.network=average: no average is kept",
            hint="set ema.evaluation_decay, 0.999 for example",
        )
    data: DataSpec | None = None
    also: tuple[AlsoSpec, ...] = ()
    further: list[Dataset] = []
    if spec.evaluation.enabled:
        data, evaluated = evaluated_images(spec, dataset, on_event)
    if spec.evaluation.enabled and (evaluates or evaluated.classes):
        fields["evaluation"], more = settle_evaluation(spec.evaluation, data, evaluated)
        notes = [*notes, *more]
        also, further = settle_also(spec.evaluation, evaluated.image_size, on_event)
        if also:
            fields["evaluation"]["also"] = [each.model_dump(mode="json") for each in also]
        for images in further:
            check_size(pretrain, backbone.model, dataset, images, "evaluation.also")
    else:  # how it would be evaluated makes no other run
        off = LinearEvalSpec(enabled=False)
        fields["evaluation"] = off.model_dump(mode="json", exclude={"data", "seed"})
    if method.tunes_given_weights and given.init is None:
        notes.append(
            f"method {pretrain.method.name} tunes given weights, and this encoder is untrained: "
            "--init names a run or a file"
        )
    if given.teacher is not None:
        notes.append(
            "ema.teacher: the target is run in eval mode and never moves, so that decay and "
            "schedule mean nothing, and the first loss is not that of other arms"
        )
    if spec.profile:
        notes.append("it is profiled, so its costs are left out of comparisons")
    steps_per_epoch = len(dataset.train) // pretrain.batch_size
    epochs = pretrain.epochs if method.trains else 0
    notes += [
        note
        for note in (
            warmup_note(pretrain.schedule, epochs, steps_per_epoch, pretrain.max_steps),
            unseen_edge(backbone.model, dataset.image_size),
        )
        if note is not None
    ]
    for note in notes:
        on_event(Notice(note))
    inner = fields["pretrain"]
    inner["method"]["options"] = options.model_dump(mode="json")
    inner["backbone"]["stem"] = chosen_stem(pretrain.backbone, dataset.image_size)
    inner["data"]["image_size"] = dataset.image_size
    inner["augmentation"].pop("local_views", None)
    inner["augmentation"] |= local
    inner["ema"]["scope"] = scope.canonical
    if given.init is not None:
        inner["init"] = given.init.reference
    if given.teacher is not None:
        frozen = EmaSpec(
            scope=scope.canonical,
            decay=1.0,
            schedule="constant",
            evaluation_decay=pretrain.ema.evaluation_decay,
            teacher=given.teacher.reference,
        )
        inner["ema"] = frozen.model_dump(mode="json")
    if not method.trains:
        inner["epochs"] = 0
    if not dataset.classes:
        inner["probe_images"] = 0
    inner["ema"]["target_gradient"] = _target_gradient(pretrain, scope, method.stop_gradient)
    inner["device"], inner["precision"] = str(device.torch), device.precision
    inner["threads"] = pretrain.threads or torch.get_num_threads()
    identity: dict[str, Any] = {
        "device_kind": device.kind,
        "precision": device.precision,
        "threads": inner["threads"],
        "data": dataset.content_hash,
    }
    identity |= given.digests()
    if evaluated is not dataset:
        check_size(pretrain, backbone.model, dataset, evaluated)
        identity["evaluation_data"] = evaluated.content_hash
    if further:
        hashes = (images.content_hash for images in further)
        identity["also"] = dict(zip((each.title for each in also), hashes, strict=True))
    if revisions := _revisions(pretrain, method, options, backbone, dataset):
        identity[PRETRAINING] = revisions
    if pretrain.extends.run is not None:
        identity[EXTENDS] = [pretrain.extends.fingerprint, pretrain.extends.checkpoint]
    if evaluates and spec.evaluation.enabled:
        check_holdout(spec.evaluation.linear, evaluated)
        check_few_shot(spec.evaluation.few_shot, evaluated.train, evaluated.classes)
        concerned = knn_revisions(spec.evaluation.knn, evaluated)
        if evaluated is not dataset:
            concerned |= dict.fromkeys(evaluated.revisions, True)
        if revisions := named(concerned):
            identity[EVALUATION] = revisions
    for problem in METHOD_PLUGINS.problems():
        on_event(Notice(problem))
    evaluated_on = [fields["evaluation"].get("data"), *fields["evaluation"].get("also", ())]
    plugins = _plugins(pretrain, *filter(None, evaluated_on))
    if plugins:
        identity[PLUGINS] = [str(plugin.reference) for plugin in plugins]
    *earlier, today = run_fingerprints(fields, identity)
    return PlannedRun(
        spec=fields,
        identity=identity,
        fingerprint=today,
        command=command_with(given.in_command(command, pretrain), plugins),
        name=name,
        smoke=spec.smoke,
        warnings=tuple(notes),
        earlier_fingerprints=tuple(earlier),
        steps=_steps(pretrain, method, len(dataset.train)),
    )


def _steps(spec: PretrainSpec, method: type[Method], images: int) -> int:
    """Return the optimiser steps of a training on so many images."""
    steps = spec.epochs * (images // spec.batch_size) if method.trains else 0
    return steps if spec.max_steps is None else min(steps, spec.max_steps)


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

    Raises:
        TrainingError: the loss is not finite.
        InterruptedRunError: it was stopped; a checkpoint is there.
        CheckpointError: the one that it is to go on from is gone, or another one.
    """
    device = bind_device(spec)
    with (
        devices.threads(spec.threads or torch.get_num_threads()),
        torch.random.fork_rng(devices=[]),
    ):
        with meter.phase("data_prep"):
            dataset = load_data(spec.data, on_event)
        assert (given.init is None, given.teacher is None) == (
            spec.init is None,
            spec.ema.teacher is None,
        )
        trainer = Trainer(spec, dataset, device, meter, world, given)
        revisions = _revisions_of(trainer, spec, dataset)
        on_event(RevisionsFound(tuple(revisions)))
        owner = training_owner(spec)
        resumed = False
        with meter.phase("checkpoint"):
            for state in saved_states(
                [folder, *earlier],
                owner=owner,
                revisions=revisions,
                on_note=lambda text: on_event(Notice(text)),
            ):
                try:
                    trainer.load_state_dict(state)
                except Exception as error:  # of an earlier version: without a digest, or otherwise
                    text = f"the checkpoint does not fit ({error}); trying the one before"
                    on_event(Notice(" ".join(text.split())))
                    # A part of it was loaded.
                    trainer = Trainer(spec, dataset, device, meter, world, given)
                    continue
                resumed = True
                on_event(Notice(f"resumed after step {trainer.step} of {trainer.total_steps}"))
                break
            if not resumed and spec.extends.run is not None:
                state = extended_state(
                    spec.extends,
                    extended,
                    revisions=revisions,
                    on_note=lambda text: on_event(Notice(text)),
                )
                on_event(Notice(take_over(trainer, state, spec.extends)))

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


def given_weights(spec: PretrainSpec, digests: Mapping[str, str], *, artifacts: Path) -> Given:
    """Return the weights that a resolved spec names, if they are still those of its identity.

    Args:
        spec: the resolved spec.
        digests: of ``init`` and ``teacher``, as its identity has them.
        artifacts: the folder of all artefacts.

    Raises:
        WeightsError: they are gone, or others.
    """
    name = spec.backbone.name
    init = teacher = None
    if spec.init is not None:
        init = given_at(spec.init, artifacts, backbone=name)
    if spec.ema.teacher is not None:
        teacher = given_at(spec.ema.teacher, artifacts, backbone=name, whole=True)
    given = Given(init, teacher)
    for what, digest in given.digests().items():
        if digest != digests.get(what):
            raise WeightsError(
                f"{GIVEN[what].removeprefix('pretrain.')}: the weights are not those that the run "
                "was queued for",
                hint="the command of the run, given again, takes what is there now",
            )
    return given


def evaluate(
    spec: ExperimentSpec,
    *,
    weights: Path,
    trained_with: Sequence[str] = (),
    on_event: Listener,
    meter: CostMeter,
) -> Outcome:
    """Evaluate the frozen backbone that a pretraining left behind.

    Args:
        spec: the resolved experiment.
        weights: file of the backbone.
        trained_with: names of the revisions that its pretraining had.
        on_event: listens.
        meter: measures.

    Raises:
        WeightsError: the file cannot be read, or does not fit the backbone.
    """
    device = bind_device(spec.pretrain)
    threads = spec.pretrain.threads or torch.get_num_threads()
    with devices.threads(threads), torch.random.fork_rng(devices=[]):
        with meter.phase("data_prep"):
            dataset = load_data(spec.evaluation.data or spec.pretrain.data, on_event)
            further = {each.title: load_data(each, on_event) for each in spec.evaluation.also}
        images = {*dataset.revisions}
        if spec.evaluation.data is None:  # then the pretraining names them, unless it was before
            images -= {*trained_with}
        concerned = knn_revisions(spec.evaluation.knn, dataset) | dict.fromkeys(images, True)
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
        if spec.evaluation.floors and spec.pretrain.epochs and spec.weights is None:
            for title, floor in floors(spec.pretrain, dataset.image_size).items():
                on_event(PhaseProgress(f"floor: {title}"))
                score(title, dataset, floor, lambda event: None)
    return Outcome(results, meter.read(), correct)


def bind_device(spec: PretrainSpec) -> Device:
    """Return the device and the precision that a spec asks for."""
    chosen = devices.choose(spec.device)
    return Device(chosen, devices.choose_precision(chosen, spec.precision))


def _find_given(
    spec: PretrainSpec,
    method: type[Method],
    options: SpecModel,
    backbone: Backbone,
    image_size: int,
    scope: EmaScope,
    kept: KeptWeights | None,
) -> Given:
    """Find the weights that a pretraining is given, and find out whether they fit.

    Raises:
        SpecError: the scope has no frozen teacher.
        NotFoundError: they are not there.
        WeightsError: they do not fit.
    """
    init = teacher = None
    if spec.init is not None:
        init = find_init(spec.init, backbone.name, kept)
        load_weights(init.backbone, backbone.model, backbone=backbone.name)
    if spec.ema.teacher is not None:
        with torch.random.fork_rng(devices=[]):
            projector = method.build_projector(options, backbone.feature_dim)
        check_scope(scope, backbone, projector)
        projects = bool(projector.state_dict())
        teacher = find_teacher(spec.ema.teacher, kept, projects=projects)
        blocks = nn.ModuleDict({**backbone.blocks, PROJECTOR: projector})
        load_teacher(teacher, spec.backbone, image_size, blocks)
    return Given(init, teacher)


def _plugins(spec: PretrainSpec, *evaluated_on: Mapping[str, Any]) -> list[Plugin[Any]]:
    """Return the plugins that a pretraining uses, and the data sets that it is evaluated on."""
    return plugins_used(
        (METHOD_PLUGINS, spec.method.name),
        (BACKBONE_PLUGINS, spec.backbone.name),
        (DATASET_PLUGINS, spec.data.dataset),
        *((DATASET_PLUGINS, data["dataset"]) for data in evaluated_on),
    )


def training_owner(spec: PretrainSpec) -> str:
    """Return what tells the checkpoints of a training from those of other ones, or of other code.

    Its weights need no more than its spec: an evaluation does not have the method that made them.
    """
    plugins = [str(plugin.reference) for plugin in _plugins(spec)]
    key = spec.training_key()
    return fingerprint({"training": key, PLUGINS: plugins}) if plugins else key


def _check_devices(spec: PretrainSpec, device: Device, *networks: nn.Module) -> None:
    """Check that a run on several devices is the same run as on one.

    Raises:
        SpecError: it would not be, or there are not that many.
    """
    count = spec.devices
    if spec.batch_size % count:
        raise SpecError(
            f"devices={count} cannot share a batch of {spec.batch_size} images evenly",
            hint=f"set --batch-size to a multiple of {count}",
        )
    if device.kind == "cpu" and has_batch_statistics(*networks):
        raise SpecError(
            f"devices={count} on a CPU: method {spec.method.name} with backbone "
            f"{spec.backbone.name} has BatchNorm, which torch synchronises on accelerators only",
            hint="leave --devices at 1, or take a backbone and a method without it, such as a ViT",
        )
    names = [name for name in devices.available() if name.startswith(f"{device.kind}:")]
    if device.kind != "cpu" and (device.torch.index or 0) + count > len(names):
        raise SpecError(
            f"devices={count} from {device.torch} on, but this machine has {len(names)}",
            hint="lower --devices, or choose another first one with --device",
        )


def _settle_local_views(
    spec: PretrainSpec, method: type[Method], model: nn.Module, image_size: int
) -> dict[str, Any]:
    """Return the field of the local views with their size; none where there are no such views.

    Raises:
        SpecError: the method has no use for them, or the backbone does not take them.
    """
    views = spec.augmentation.local_views
    if not views.count:
        return {}
    if not method.takes_local_views:
        able = [name for name in method_names() if load_method(name).takes_local_views]
        raise SpecError(
            f"augmentation.local_views.count={views.count}: method {spec.method.name} takes none",
            hint=f"these do: {', '.join(able)}",
        )
    size = views.size or max(8, image_size // 2)
    feature_dim_at(
        model,
        spec.backbone.name,
        size,
        of="local views",
        hint="set augmentation.local_views.size, or choose another backbone",
    )
    return {"local_views": views.model_copy(update={"size": size}).model_dump(mode="json")}


def _check_tokens(
    spec: PretrainSpec, method: type[MaskedMethod], options: Any, backbone: Backbone
) -> list[str]:
    """Check that a backbone passes on the tokens that a masked method needs; say what to know.

    Raises:
        SpecError: it has none, or too few, or weights that the method would not train.
    """
    name = f"method {spec.method.name} with backbone {spec.backbone.name}"
    if backbone.tokens is None:
        raise SpecError(
            f"{name}: it makes no square of tokens whose patches could be hidden",
            hint="choose a ViT, such as --backbone small-vit or vit_tiny_patch16_224",
        )
    if any(True for _ in backbone.pooling.parameters()):
        raise SpecError(
            f"{name}: its pooling has weights, which are not trained with tokens",
            hint="set backbone.options.fc_norm=false, or backbone.options.global_pool=avg or token",
        )
    return method.check_grid(options, backbone.tokens)


def _without_labels(spec: PretrainSpec, method: type[Method]) -> list[str]:
    """Check that a run does without labels, and say what it lacks then.

    Raises:
        SpecError: the method learns from them.
    """
    if method.labels == "classes":
        raise SpecError(
            f"method {spec.method.name} needs labels, and the images of {spec.data.data_dir} have "
            "none",
            hint="put them into a folder per class, or choose another method",
        )
    if not spec.probe_images:
        return []
    return ["the images have no labels: online_top1 is not measured"]


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


def _revisions_of(trainer: Trainer, spec: PretrainSpec, dataset: Dataset) -> list[str]:
    method = load_method(spec.method.name)
    options = method.parse_options(spec.method.name, spec.method.options)
    return _revisions(spec, method, options, trainer.learner.backbone[0], dataset)


def _revisions(
    spec: PretrainSpec,
    method: type[Method],
    options: SpecModel,
    backbone: Backbone,
    dataset: Dataset,
) -> list[str]:
    """Name the changes of numbers that concern a pretraining: those that touch its steps."""
    concerned = dict.fromkeys(dataset.revisions, True)
    steps = len(dataset.train) // spec.batch_size
    total = spec.epochs * steps if method.trains else 0
    if spec.max_steps is not None:
        total = min(total, spec.max_steps)
    if not total:
        return named(concerned)
    scope = EmaScope.parse(spec.ema.scope, [*backbone.block_names, PROJECTOR])
    first: int | None = 0 if method.targets_alone() else scope.first
    again = [] if first is None else list(backbone.blocks.values())[first:]
    concerned["drop-rates"] = backbone.quietened or bool(drop_rates(*again))
    concerned |= method.revisions(
        options, epochs=math.ceil(total / steps), epoch_images=steps * spec.batch_size
    )
    local = spec.augmentation.local_views
    sizes = {dataset.image_size} | ({local.size or dataset.image_size} if local.count else set())
    concerned["bf16-small-maps"] = has_miscomputed(bind_device(spec), backbone.model, sizes)
    return named(concerned)
