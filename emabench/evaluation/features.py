"""Features of a whole data set, extracted once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from emabench.data.augmentation.augment import normalize
from emabench.data.images import ImageSet
from emabench.data.reading import read_batches
from emabench.device import Device
from emabench.errors import WeightsError

Statistics = tuple[float, float, float]


@torch.no_grad()
def extract_features(
    model: nn.Module,
    images: ImageSet,
    *,
    mean: Statistics,
    std: Statistics,
    device: Device,
    batch_size: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Tensor, Tensor]:
    """Run a frozen model in evaluation mode over images without augmentation.

    Args:
        model: maps images [N, 3, S, S] to features [N, D]; its mode is restored afterwards.
        images: the images and their labels.
        mean: per-channel mean of the training images, in 0..1.
        std: per-channel standard deviation of the training images, in 0..1.
        device: where and in which precision to compute.
        batch_size: images per forward pass.
        on_progress: called with the images done and their total.

    Returns:
        Features [N, D] in float32 and labels [N], both on the device.
    """
    was_training = model.training
    model.eval()
    features: list[Tensor] = []
    try:
        starts = range(0, len(images), batch_size)
        rows = (np.arange(start, min(start + batch_size, len(images))) for start in starts)
        for start, batch in zip(starts, read_batches(images.images, rows), strict=True):
            views = normalize(torch.from_numpy(batch).to(device.torch), mean, std)
            with device.autocast():
                features.append(model(views).float())
            on_progress(min(start + batch_size, len(images)), len(images))
    finally:
        model.train(was_training)
    return torch.cat(features), torch.from_numpy(images.labels.copy()).to(device.torch)


def check_features(features: Tensor, model: nn.Module, *, part: str) -> None:
    """Check that features can be reckoned with.

    Args:
        features: [N, D].
        model: that gave them.
        part: of the images, for the message.

    Raises:
        WeightsError: some are not finite, or so large that their variance would not be.
    """
    largest = (torch.finfo(features.dtype).max / len(features)) ** 0.5
    bad = int((~(features.norm(dim=1) < largest)).sum())
    if not bad:
        return
    broken = [
        name
        for name, value in model.state_dict().items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    reason = f": {broken[0]} has numbers that are not" if broken else " or too large"
    raise WeightsError(
        f"the features of {bad} of {len(features)} {part} images are not finite{reason}",
        hint="such weights come from a training that diverged or from a damaged file; "
        "evaluate others",
    )
