"""What an evaluation leaves open, settled before it runs: its images and its neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from emabench.data.images import Dataset
from emabench.data.load_with_progress import load_data
from emabench.errors import SpecError, WeightsError
from emabench.evaluation.weights_file import check_fit
from emabench.events import Listener
from emabench.networks.backbone import build_backbone, chosen_stem
from emabench.spec import DataSpec, ExperimentSpec, LinearEvalSpec, PretrainSpec


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
            hint="set evaluation.data.data_dir to a folder of others, with a folder per class, or "
            "evaluation.enabled=false",
        )
    notes = []
    neighbours = min(spec.knn.k, len(images.train))
    if neighbours < spec.knn.k:
        notes.append(f"knn: k {spec.knn.k} clamped to the {neighbours} training images")
    knn = spec.knn.model_copy(update={"k": neighbours})
    settled = spec.model_copy(update={"knn": knn, "data": data})
    open_fields = {name for name in ("data", "seed") if getattr(settled, name) is None}
    return settled.model_dump(mode="json", exclude=open_fields | {"enabled"}), notes


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
    spec: PretrainSpec, trained: nn.Module, trained_on: Dataset, evaluated: Dataset
) -> None:
    """Find out before the training whether its backbone takes the images of the evaluation.

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
            f"evaluation.data.image_size={evaluated.image_size}: {error.message}",
            hint=f"set it to {trained_on.image_size}, the size of the pretraining",
        ) from None
