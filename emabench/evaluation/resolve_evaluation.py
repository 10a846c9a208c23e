"""What an evaluation leaves open, settled before it runs: its images and its neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from emabench.data.images import Dataset
from emabench.data.load_with_progress import load_data
from emabench.errors import SpecError, WeightsError
from emabench.evaluation.backbone_fit import check_fit
from emabench.evaluation.few_shot import check_few_shot
from emabench.events import Listener
from emabench.networks.backbone import build_backbone, chosen_stem
from emabench.spec import (
    AlsoSpec,
    DataSpec,
    ExperimentSpec,
    KnnSpec,
    LinearEvalSpec,
    LinearSpec,
    PretrainSpec,
)

_TOP = 5
_MANY_NEIGHBOURS = 200
_FLOAT32_RANGE = 87.0
"""e to a higher power is near the largest number of float32, and to a lower one the smallest."""


def settle_evaluation(
    spec: LinearEvalSpec, data: DataSpec | None, images: Dataset
) -> tuple[dict[str, Any], list[str]]:
    """Settle what an evaluation leaves open.

    Args:
        spec: as the user wrote it.
        data: which images, with their size; None are those of the pretraining.
        images: the images.

    Returns:
        Its fields, and what the user should know. A field that it leaves to its pretraining is not
        among them: it is the same evaluation as one from before there was such a field.

    Raises:
        SpecError: the images have no labels.
    """
    if not images.classes:
        raise SpecError(
            "the images to evaluate on have no labels",
            hint="set evaluation.data.data_dir to a folder of labelled images, one folder per "
            "class, or evaluation.enabled=false",
        )
    notes = []
    neighbours = min(spec.knn.k, len(images.train))
    if neighbours < spec.knn.k:
        notes.append(f"knn: k {spec.knn.k} clamped to the {neighbours} training images")
    knn = spec.knn.model_copy(update={"k": neighbours})
    settled = spec.model_copy(update={"knn": knn, "data": data})
    open_fields = {name for name in ("data", "seed") if getattr(settled, name) is None}
    return settled.model_dump(mode="json", exclude=open_fields | {"enabled"}), notes


def settle_also(
    spec: LinearEvalSpec, image_size: int, on_event: Listener
) -> tuple[tuple[AlsoSpec, ...], list[Dataset]]:
    """Settle and load the further images of an evaluation.

    Args:
        spec: as the user wrote it.
        image_size: of the first images, in pixels.
        on_event: listens.

    Raises:
        SpecError: they have no labels, or too few images.
        DataError: they cannot be read.
    """
    settled, loaded = [], []
    for each in spec.also:
        size = each.image_size or image_size
        images = load_data(each.model_copy(update={"image_size": size}), on_event)
        if not images.classes:
            raise SpecError(
                f"evaluation.also: the images of {each.title} have no labels",
                hint="name a folder of labelled images, one folder per class",
            )
        check_holdout(spec.linear, images)
        check_few_shot(spec.few_shot, images.train, images.classes)
        settled.append(
            each.model_copy(update={"image_size": images.image_size, "name": each.title})
        )
        loaded.append(images)
    return tuple(settled), loaded


def check_holdout(spec: LinearSpec, images: Dataset) -> None:
    """Check that there are images to choose the penalty on, or that there is nothing to choose.

    Raises:
        SpecError: there are too few training images.
    """
    count = len(images.train)
    if count < 2:
        raise SpecError(
            "one training image is not enough for an evaluation",
            hint="evaluate on at least two training images",
        )
    if len(set(spec.weight_decays)) > 1 and np.bincount(images.train.labels).max() < 2:
        raise SpecError(
            f"{count} training images of {count} classes: none can be held out to choose among "
            f"the {len(spec.weight_decays)} penalties of evaluation.linear.weight_decays",
            hint="give it a single one, such as [0.001], or evaluate on more training images",
        )


def knn_revisions(spec: KnnSpec, images: Dataset) -> dict[str, bool]:
    """Say by name which changes of the nearest neighbours' numbers concern an evaluation.

    Args:
        spec: with k as it is, or as the user wrote it.
        images: that are evaluated on.
    """
    classes = len(images.classes)
    sizes = np.sort(np.bincount(images.train.labels, minlength=classes))
    k = min(spec.k, len(images.train))
    # So many classes are too few for a top 5 and may have all the votes.
    possible = k <= sizes[-(min(_TOP, classes) - 1) :].sum() and classes > 1
    many = k >= _MANY_NEIGHBOURS and classes > _TOP
    return {
        "knn-votes": 1 / spec.temperature + math.log(k) > _FLOAT32_RANGE,
        "knn-top5-few": bool(possible and not many),
        "knn-top5": bool(possible and many),
    }


def evaluated_images(
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


def check_size(
    spec: PretrainSpec,
    trained: nn.Module,
    trained_on: Dataset,
    evaluated: Dataset,
    field: str = "evaluation.data",
) -> None:
    """Find out before the training whether its backbone takes the images of the evaluation.

    Args:
        spec: the pretraining.
        trained: its backbone.
        trained_on: its images.
        evaluated: those of the evaluation.
        field: that names them.

    Raises:
        UsageError: it does not.
    """
    if evaluated.image_size == trained_on.image_size:
        return
    stem = chosen_stem(spec.backbone, trained_on.image_size)
    with torch.random.fork_rng(devices=[]):
        other = build_backbone(
            spec.backbone.model_copy(update={"stem": stem}), evaluated.image_size
        )
    try:
        shapes = {name: value.shape for name, value in trained.state_dict().items()}
        check_fit(shapes, other.model, what="the pretraining", backbone=spec.backbone.name)
    except WeightsError as error:
        raise SpecError(
            f"{field}.image_size={evaluated.image_size}: {error.message}",
            hint=f"set it to {trained_on.image_size}, the size of the pretraining",
        ) from None
