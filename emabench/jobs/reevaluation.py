"""A separate evaluation: finished weights, of a run or a file, as one job.

    resolve_evaluation     weights and what the user asks for → a resolved spec with an identity

``experiment.evaluate`` then does it. Like that file, this one knows no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from emabench import device as devices
from emabench.data.load_with_progress import load_data
from emabench.data.sources.plugged import DATASET_PLUGINS
from emabench.device import bind_device
from emabench.errors import NotFoundError, SpecError, UsageError
from emabench.evaluation.few_shot import check_few_shot
from emabench.evaluation.foreign_weights.backbone_in import account_of, find_backbone
from emabench.evaluation.weights_file import digest, read_header
from emabench.events import Listener, Notice
from emabench.extensions.plugin_reference import PLUGINS
from emabench.extensions.plugins_at_hand import command_with, expect_plugins, plugins_used
from emabench.networks.backbone import Backbone, build_backbone, chosen_stem
from emabench.networks.backbone_plugins import BACKBONE_PLUGINS
from emabench.records import PlannedRun, RunRecord
from emabench.resolution.evaluation import (
    check_holdout,
    knn_revisions,
    settle_also,
    settle_evaluation,
)
from emabench.spec import DataSpec, EmaScope, ExperimentSpec, PretrainSpec, fingerprint
from emabench.spec.fingerprint import without_places
from emabench.spec.linear_eval import Network
from emabench.spec.paths import SHORT_NAMES, nest, value_at
from emabench.spec.revisions import EVALUATION, named
from emabench.spec.scope import PROJECTOR
from emabench.spec.settings import overlay, without
from emabench.training.weights import weights_file

BACKBONE = SHORT_NAMES["backbone"]
_MACHINE = ("pretrain.device", "pretrain.precision", "pretrain.threads")
"""Fields that say where to compute; those of the pretraining unless they are given."""
_DATASET = "evaluation.data.dataset"


def resolve_evaluation(
    weights: RunRecord | Path,
    changes: Mapping[str, Any],
    *,
    artifacts: Path,
    command: str,
    on_event: Listener = lambda event: None,
) -> PlannedRun:
    """Settle everything that an evaluation of finished weights leaves open, and check it.

    What nothing is said of is as in the run itself; for a file, as in the pretraining that it
    names, and the defaults of the fields.

    Args:
        weights: of a run, or a file.
        changes: complete paths of fields with the values that they shall have.
        artifacts: the folder in which the weights of runs lie.
        command: the command that reproduces the evaluation.
        on_event: listens.

    Returns:
        The plan. Its fingerprint depends on the content of the weights, not on where they lie.

    Raises:
        UsageError: a field does not go with the others, or the file needs one more.
        NotFoundError: the run has no weights.
        WeightsError: the file cannot be read, or does not fit the backbone.
        PluginError: a plugin of backbone or data is not here, or cannot be loaded.
        DataError: the images cannot be read.
    """
    source = _source(weights)
    _check_paths(source, changes)
    spec = _spec(source, changes)
    if not spec.evaluation.enabled:
        raise SpecError("evaluation.enabled=false leaves nothing to do", hint="leave it out")
    if spec.evaluation.floors:
        raise SpecError(
            "evaluation.floors: these weights are finished, and a run measures its own floors",
            hint="emabench run with --set evaluation.floors=true",
        )
    if "pretrain.device" not in changes:
        spec = _on_this_machine(spec, on_event)
    device = bind_device(spec.pretrain)
    data = spec.evaluation.data or spec.pretrain.data
    data = _sized(data, data.image_size or spec.pretrain.data.image_size)
    if isinstance(weights, RunRecord):
        needed = (BACKBONE_PLUGINS, spec.pretrain.backbone.name), (DATASET_PLUGINS, data.dataset)
        for note in expect_plugins(source.title, weights.identity, *needed):
            on_event(Notice(note))
    images = load_data(data, on_event)
    pretrain = _with_stem(spec.pretrain, images.image_size)
    with torch.random.fork_rng(devices=[]):
        backbone = build_backbone(pretrain.backbone, images.image_size)
    file, network = _network(source, spec, backbone, artifacts, on_event)
    for note in _fit(source, spec, file, network, backbone):
        on_event(Notice(note))
    evaluation, notes = settle_evaluation(
        spec.evaluation.model_copy(update={"network": network}),
        _sized(data, images.image_size),
        images,
    )
    check_holdout(spec.evaluation.linear, images)
    check_few_shot(spec.evaluation.few_shot, images.train, images.classes)
    also, further = settle_also(spec.evaluation, images.image_size, on_event)
    if also:
        evaluation["also"] = [each.model_dump(mode="json") for each in also]
    for other in {each.image_size for each in further} - {images.image_size}:
        with torch.random.fork_rng(devices=[]):
            resized = build_backbone(pretrain.backbone, other)
        _fit(source, spec, file, network, resized)
    for note in notes:
        on_event(Notice(note))
    threads = pretrain.threads or torch.get_num_threads()
    machine = {"device": str(device.torch), "precision": device.precision, "threads": threads}
    known = pretrain.model_dump(mode="json")
    if source.pretrain is None:
        known = {"backbone": known["backbone"]}  # nobody knows how they were trained
    shown = [data, *also]
    used = plugins_used(
        (BACKBONE_PLUGINS, pretrain.backbone.name),
        *((DATASET_PLUGINS, each.dataset) for each in shown),
    )
    identity: dict[str, Any] = {
        "device_kind": device.kind,
        "precision": device.precision,
        "threads": threads,
        "data": images.content_hash,
        "weights": digest(file),
    }
    if further:
        hashes = (each.content_hash for each in further)
        identity["also"] = dict(zip((each.title for each in also), hashes, strict=True))
    concerned = knn_revisions(spec.evaluation.knn, images)
    if revisions := named(concerned | dict.fromkeys(images.revisions, True)):
        identity[EVALUATION] = revisions
    if used:
        identity[PLUGINS] = [str(plugin.reference) for plugin in used]
    counts = {
        "backbone": known["backbone"],
        "evaluation": without(without_places(evaluation), ("seed",)),
        "seed": pretrain.seed if spec.evaluation.seed is None else spec.evaluation.seed,
        "identity": identity,
    }
    return PlannedRun(
        spec={
            "pretrain": known | machine,
            "evaluation": evaluation,
            "smoke": spec.smoke,
            "weights": source.reference,
        },
        identity=identity,
        fingerprint=fingerprint(counts),
        command=command_with(command, used),
        name=source.name,
        smoke=spec.smoke,
        warnings=tuple(notes),
    )


@dataclass(frozen=True)
class _Source:
    """Weights, and what is known of them.

    Attributes:
        reference: what stands in the spec: id of a run, or absolute path of a file.
        title: what stands in a message.
        file: the file, unless they are those of a run.
        pretrain: fields of the pretraining; None is unknown.
        evaluation: fields of the evaluation that the run had.
        network: whose backbone the file is; None where it does not say.
    """

    reference: str
    title: str
    file: Path | None
    pretrain: Mapping[str, Any] | None
    evaluation: Mapping[str, Any]
    network: str | None = None
    name: str | None = None
    smoke: bool = False


def _source(weights: RunRecord | Path) -> _Source:
    if isinstance(weights, Path):
        file = weights.resolve()
        header = read_header(file)
        says = header.pretrain is not None and header.network in get_args(Network)
        network = header.network if says else None
        evaluation = {"network": network} if says else {}
        return _Source(str(file), str(weights), file, header.pretrain, evaluation, network)
    if weights.unreadable is not None:
        raise SpecError(
            f"{weights.title}: its spec is damaged: {weights.unreadable}",
            hint="evaluate its weights by their file: emabench eval FILE",
        )
    if weights.is_evaluation:
        evaluated = str(weights.spec.get("weights"))
        raise UsageError(
            f"{weights.id} is an evaluation; it has no weights of its own",
            hint=f"emabench eval {evaluated}",
        )
    return _Source(
        reference=weights.id,
        title=f"run {weights.id}",
        file=None,
        pretrain=weights.spec["pretrain"],
        evaluation=without(weights.spec.get("evaluation", {}), ("enabled", "floors")),
        name=weights.name,
        smoke=weights.smoke,
    )


def _check_paths(source: _Source, changes: Mapping[str, Any]) -> None:
    """Refuse fields that an evaluation does not have, and ask for those that a file leaves open."""
    for path in changes:
        if path.startswith("evaluation.") or path in _MACHINE:
            continue
        short = path.removeprefix("pretrain.")
        if not path.startswith("pretrain.backbone."):
            raise SpecError(
                f"{short} is not a field of an evaluation",
                hint="set a field of evaluation, for example evaluation.knn.k=20",
            )
        if source.pretrain is not None:
            raise SpecError(
                f"{short}: {source.title} already says which backbone it has: "
                f"{value_at({'pretrain': source.pretrain}, BACKBONE)}",
                hint="leave it out",
            )
    if source.pretrain is None and BACKBONE not in changes:
        raise UsageError(
            f"{source.title} does not say which backbone it is",
            hint="name a timm model, such as --backbone resnet18 --set backbone.stem=original",
        )


def _spec(source: _Source, changes: Mapping[str, Any]) -> ExperimentSpec:
    """Lay the changes over what is known of the weights."""
    evaluation = dict(source.evaluation)
    before = value_at({"evaluation": evaluation}, _DATASET)
    if changes.get(_DATASET, before) != before:
        evaluation.pop("data", None)  # its subsets mean nothing to another data set
    known = {
        "pretrain": dict(source.pretrain or {}),
        "evaluation": evaluation,
        "smoke": source.smoke,
        "weights": source.reference,
    }
    return ExperimentSpec.parse(overlay(known, nest(changes)), what=source.title)


def _on_this_machine(spec: ExperimentSpec, on_event: Listener) -> ExperimentSpec:
    """Take the best device of this machine where it does not have that of the pretraining."""
    try:
        devices.choose(spec.pretrain.device)
    except UsageError as error:
        on_event(Notice(f"{error.message}: computing on {devices.choose()}"))
        pretrain = spec.pretrain.model_copy(update={"device": "auto"})
        return spec.model_copy(update={"pretrain": pretrain})
    return spec


def _sized(data: DataSpec, size: int | None) -> DataSpec:
    return data.model_copy(update={"image_size": size})


def _with_stem(pretrain: PretrainSpec, image_size: int) -> PretrainSpec:
    stem = chosen_stem(pretrain.backbone, image_size)
    backbone = pretrain.backbone.as_timm().model_copy(update={"stem": stem})
    return pretrain.model_copy(update={"backbone": backbone})


def _fit(
    source: _Source, spec: ExperimentSpec, file: Path, network: str, backbone: Backbone
) -> list[str]:
    """Check that a file has the weights of the backbone; say what of a foreign one is taken.

    Raises:
        WeightsError: it does not.
        SpecError: it has none of this network, or several.
    """
    tensors = read_header(file).tensors
    if not backbone.model.state_dict():
        return []
    fit = {"what": source.title, "backbone": backbone.name}
    if source.pretrain is not None:
        size = spec.pretrain.data.image_size
        fit["hint"] = f"set --image-size to that of the pretraining, {size} pixels"
    found = find_backbone(tensors, backbone.model, network=network, **fit)
    if source.pretrain is not None:
        return []
    if network != "online" and found.network is None:
        raise SpecError(
            f"{source.title} does not say how it was trained: it has no {network}",
            hint="leave --network out",
        )
    return [account_of(found, tensors, **fit)]


def _network(
    source: _Source,
    spec: ExperimentSpec,
    backbone: Backbone,
    artifacts: Path,
    on_event: Listener,
) -> tuple[Path, str]:
    """Return the file that is evaluated, and whose backbone it holds.

    A file holds one backbone; where it does not say whose, the user may. The weights of a run hold
    that of the target only where it has one of its own.
    """
    asked = spec.evaluation.network
    if asked == "target" and source.pretrain is not None:
        scope = EmaScope.parse(spec.pretrain.ema.scope, [*backbone.block_names, PROJECTOR])
        if all(block == PROJECTOR for block in scope.averaged):
            on_event(
                Notice(
                    f"{source.title}: EMA scope {scope.canonical} averages no block of the "
                    "backbone, so the target's backbone is the online one"
                )
            )
            asked = "online"
    if (
        asked == "average"
        and source.pretrain is not None
        and spec.pretrain.ema.evaluation_decay is None
    ):
        raise SpecError(
            f"{source.title} keeps no average of its weights",
            hint="leave --network out; runs with ema.evaluation_decay set keep one",
        )
    if source.file is not None:
        if source.network not in (None, asked):
            raise SpecError(
                f"{source.title} has the backbone of the {source.network} network, not of the "
                f"{asked} one",
                hint="leave --network out, or evaluate the run or its other file",
            )
        return source.file, asked
    file = weights_file(artifacts, source.reference, asked)
    if file.stem != asked:
        raise NotFoundError(
            f"{source.title} has no weights of its {asked} network: {file.parent} holds only "
            f"{file.name}",
            hint="leave --network out to evaluate the online network",
        )
    return file, asked
