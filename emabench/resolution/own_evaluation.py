"""The evaluation of a run by itself, settled after its pretraining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from emabench.data.images import Dataset
from emabench.data.load_with_progress import load_data
from emabench.errors import SpecError, WeightsError
from emabench.evaluation.backbone_fit import check_fit
from emabench.evaluation.few_shot import check_few_shot
from emabench.events import Listener
from emabench.networks.backbone import build_backbone, chosen_stem
from emabench.resolution.evaluation import (
    check_holdout,
    knn_revisions,
    settle_also,
    settle_evaluation,
)
from emabench.resolution.pretraining import SettledPretraining
from emabench.spec import DataSpec, ExperimentSpec, LinearEvalSpec
from emabench.spec.revisions import EVALUATION, named


@dataclass(frozen=True)
class SettledEvaluation:
    """An evaluation of which nothing is open.

    Attributes:
        fields: of the resolved spec.
        identity: what else it is known by.
        notes: what the user should know.
    """

    fields: dict[str, Any]
    identity: dict[str, Any]
    notes: list[str]

    @property
    def images(self) -> list[dict[str, Any]]:
        """The fields of all data sets that it names."""
        first = self.fields.get("data")
        return [*([first] if first else []), *self.fields.get("also", ())]


def settle_own_evaluation(
    spec: ExperimentSpec, training: SettledPretraining, *, evaluates: bool, on_event: Listener
) -> SettledEvaluation:
    """Settle what the evaluation of a run leaves open, and check it against the pretraining.

    Args:
        spec: as the user wrote it.
        training: its pretraining.
        evaluates: whether the evaluation is made at all; if not, nothing about it can be wrong.
        on_event: listens.

    Raises:
        EmabenchError: as ``experiment.resolve`` says.
    """
    asked = spec.evaluation
    if asked.network == "average" and spec.pretrain.ema.evaluation_decay is None:
        raise SpecError(
            "evaluation.network=average: no average is kept",
            hint="set ema.evaluation_decay, 0.999 for example",
        )
    if not asked.enabled:
        return _off()
    data, images = _images(spec, training.dataset, on_event)
    identity: dict[str, Any] = {}
    if images is not training.dataset:
        _check_size(training, images, "evaluation.data")
        identity["evaluation_data"] = images.content_hash
    if not (evaluates or images.classes):
        return _off(identity)
    if not training.steps:
        asked = asked.model_copy(update={"floors": False})  # it is one of them
    fields, notes = settle_evaluation(asked, data, images)
    also, further = settle_also(asked, images.image_size, on_event)
    for each in further:
        _check_size(training, each, "evaluation.also")
    if also:
        fields["also"] = [each.model_dump(mode="json") for each in also]
        hashes = (each.content_hash for each in further)
        identity["also"] = dict(zip((each.title for each in also), hashes, strict=True))
    if evaluates:
        check_holdout(asked.linear, images)
        check_few_shot(asked.few_shot, images.train, images.classes)
        concerned = knn_revisions(asked.knn, images)
        if images is not training.dataset:
            concerned |= dict.fromkeys(images.revisions, True)
        if revisions := named(concerned):
            identity[EVALUATION] = revisions
    return SettledEvaluation(fields, identity, notes)


def _off(identity: dict[str, Any] | None = None) -> SettledEvaluation:
    """Return no evaluation: how there would be one makes no other run."""
    off = LinearEvalSpec(enabled=False)
    return SettledEvaluation(
        off.model_dump(mode="json", exclude={"data", "seed"}), identity or {}, []
    )


def _images(
    spec: ExperimentSpec, trained_on: Dataset, on_event: Listener
) -> tuple[DataSpec | None, Dataset]:
    """Return the images that a run is evaluated on; None and the training's own if it is these."""
    data = spec.evaluation.data
    if data is None:
        return None, trained_on
    size = trained_on.image_size
    data = data.model_copy(update={"image_size": data.image_size or size})
    if data == spec.pretrain.data.model_copy(update={"image_size": size}):
        return None, trained_on
    return data, load_data(data, on_event)


def _check_size(training: SettledPretraining, images: Dataset, field: str) -> None:
    """Find out before the training whether its backbone takes the images of the evaluation.

    Args:
        training: the pretraining.
        images: those of the evaluation.
        field: that names them.

    Raises:
        SpecError: it does not.
    """
    size = training.dataset.image_size
    if images.image_size == size:
        return
    spec = training.spec.backbone
    stem = chosen_stem(spec, size)
    with torch.random.fork_rng(devices=[]):
        other = build_backbone(spec.model_copy(update={"stem": stem}), images.image_size)
    try:
        trained = training.backbone.model.state_dict()
        shapes = {name: value.shape for name, value in trained.items()}
        check_fit(shapes, other.model, what="the pretraining", backbone=spec.name)
    except WeightsError as error:
        raise SpecError(
            f"{field}.image_size={images.image_size}: {error.message}",
            hint=f"set it to {size}, the size of the pretraining",
        ) from None
