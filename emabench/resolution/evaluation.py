"""What an evaluation leaves open, settled before it runs: its images and its neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emabench.data.images import Dataset
from emabench.data.load_with_progress import load_data
from emabench.errors import SpecError
from emabench.evaluation.few_shot import check_few_shot
from emabench.events import Listener
from emabench.spec import AlsoSpec, DataSpec, KnnSpec, LinearEvalSpec, LinearSpec

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
