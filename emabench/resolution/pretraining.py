"""What a pretraining leaves open, settled before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from emabench.data.images import Dataset
from emabench.data.load_with_progress import load_data
from emabench.device import Device, bind_device, check_compiler
from emabench.events import Listener
from emabench.methods import load_method
from emabench.methods._method import Method
from emabench.networks.backbone import Backbone, build_backbone, chosen_stem, unseen_edge
from emabench.resolution.identity import training_revisions, training_steps
from emabench.resolution.parts_fit import (
    check_batch,
    check_tokens,
    check_trainable,
    check_unlabelled,
    settle_local_views,
)
from emabench.resolution.target import settle_scope, settle_target_gradient
from emabench.spec import EmaScope, EmaSpec, PretrainSpec, SpecModel
from emabench.spec.pretrain import EXTENDS
from emabench.spec.revisions import PRETRAINING
from emabench.training.given_weights import Given, KeptWeights, find_given
from emabench.training.optimizer import warmup_note


@dataclass(frozen=True)
class SettledPretraining:
    """A pretraining of which nothing is open.

    Attributes:
        spec: as the user wrote it, with the backbone that timm knows.
        fields: of the resolved spec.
        identity: what else it is known by.
        notes: what the user should know.
        dataset: the images.
        backbone: with weights of no meaning.
        given: the weights that it is given.
        steps: of the optimiser.
    """

    spec: PretrainSpec
    fields: dict[str, Any]
    identity: dict[str, Any]
    notes: list[str]
    dataset: Dataset
    backbone: Backbone
    given: Given
    steps: int


def settle_pretraining(
    spec: PretrainSpec, *, kept: KeptWeights | None, on_event: Listener
) -> SettledPretraining:
    """Settle what a pretraining leaves open, and check that its parts go together.

    Args:
        spec: as the user wrote it.
        kept: where the runs are looked up whose weights it is given; None: nowhere.
        on_event: listens.

    Raises:
        EmabenchError: as ``experiment.resolve`` says.
    """
    spec = spec.model_copy(update={"backbone": spec.backbone.as_timm()})
    device = bind_device(spec)
    method = load_method(spec.method.name)
    options = method.parse_options(spec.method.name, spec.method.options)
    dataset = load_data(spec.data, on_event)
    if spec.compile:
        check_compiler(device)
    check_batch(spec, len(dataset.train))
    options, of_options = method.fit_options(options, len(dataset.train), spec.batch_size)
    notes = list(of_options)
    if not dataset.classes:
        notes += check_unlabelled(spec, method)
    with torch.random.fork_rng(devices=[]):
        any_size = spec.augmentation.local_views.count > 0
        backbone = build_backbone(spec.backbone, dataset.image_size, any_size=any_size)
        notes += check_tokens(spec, method, options, backbone)
        check_trainable(spec, method, options, backbone, device)
    local = settle_local_views(spec, method, backbone.model, dataset.image_size)
    scope, of_scope = settle_scope(spec, method, backbone.block_names)
    given = find_given(spec, method, options, backbone, dataset.image_size, scope, kept)
    gradient = settle_target_gradient(spec, scope, method.stop_gradient)
    notes += [*of_scope, *_notes_on_training(spec, method, backbone, dataset, given)]
    fields = _settled_fields(spec, method, options, dataset, device, scope, given)
    fields["augmentation"] |= local
    fields["ema"]["target_gradient"] = gradient
    identity: dict[str, Any] = {
        "device_kind": device.kind,
        "precision": device.precision,
        "threads": fields["threads"],
        "data": dataset.content_hash,
        **given.digests(),
    }
    if revisions := training_revisions(PretrainSpec.parse(fields), backbone, dataset):
        identity[PRETRAINING] = revisions
    if spec.extends.run is not None:
        identity[EXTENDS] = [spec.extends.fingerprint, spec.extends.checkpoint]
    return SettledPretraining(
        spec=spec,
        fields=fields,
        identity=identity,
        notes=notes,
        dataset=dataset,
        backbone=backbone,
        given=given,
        steps=training_steps(spec, method, len(dataset.train)),
    )


def _settled_fields(
    spec: PretrainSpec,
    method: type[Method],
    options: SpecModel,
    dataset: Dataset,
    device: Device,
    scope: EmaScope,
    given: Given,
) -> dict[str, Any]:
    """Return the fields of the resolved spec, but for local views and the target's gradient."""
    fields = spec.model_dump(mode="json")
    fields["method"]["options"] = options.model_dump(mode="json")
    fields["backbone"]["stem"] = chosen_stem(spec.backbone, dataset.image_size)
    fields["data"]["image_size"] = dataset.image_size
    fields["augmentation"].pop("local_views", None)
    fields["ema"]["scope"] = scope.canonical
    if given.init is not None:
        fields["init"] = given.init.reference
    if given.teacher is not None:
        frozen = EmaSpec(
            scope=scope.canonical,
            decay=1.0,
            schedule="constant",
            evaluation_decay=spec.ema.evaluation_decay,
            teacher=given.teacher.reference,
        )
        fields["ema"] = frozen.model_dump(mode="json")
    if not method.trains:
        fields["epochs"] = 0
    if not dataset.classes:
        fields["probe_images"] = 0
    fields["device"], fields["precision"] = str(device.torch), device.precision
    fields["threads"] = spec.threads or torch.get_num_threads()
    return fields


def _notes_on_training(
    spec: PretrainSpec, method: type[Method], backbone: Backbone, dataset: Dataset, given: Given
) -> list[str]:
    """Say what a user may not expect of a training."""
    notes: list[str | None] = []
    if method.tunes_given_weights and given.init is None:
        notes.append(
            f"method {spec.method.name} tunes given weights, and this encoder is untrained: "
            "--init names a run or a file"
        )
    if given.teacher is not None:
        notes.append(
            "ema.teacher: the target is run in eval mode and never moves, so that decay and "
            "schedule mean nothing, and the first loss is not that of other arms"
        )
    steps_per_epoch = len(dataset.train) // spec.batch_size
    epochs = spec.epochs if method.trains else 0
    notes.append(warmup_note(spec.schedule, epochs, steps_per_epoch, spec.max_steps))
    notes.append(unseen_edge(backbone.model, dataset.image_size))
    return [note for note in notes if note is not None]
