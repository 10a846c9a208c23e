"""Accuracy with a few labels a class: the nearest class mean, which has nothing to choose.

Wang et al., "SimpleShot", arXiv 1911.04623: features are centred by the mean of all training
images, which takes no label, and scaled to unit length.
"""

from __future__ import annotations

import statistics

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emabench.data.images import ImageSet
from emabench.errors import SpecError
from emabench.spec.streams import derive

DRAWS = 10
"""How often the labelled images are drawn; the same images for every run on a data set."""
_SEED = 0


def few_shot_accuracies(
    shots: int, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> list[float]:
    """Return the top-1 in percent of each draw of so many labelled images a class.

    A smaller number of a draw is a part of its larger ones.

    Args:
        shots: labelled images a class.
        train: features [N, D] and labels [N]; each class has so many images.
        test: features [M, D] and labels [M].
    """
    (known, labels), (asked, truth) = train, test
    mean = known.mean(dim=0)
    known, asked = F.normalize(known - mean, dim=1), F.normalize(asked - mean, dim=1)
    members = [
        np.flatnonzero(labels.cpu().numpy() == label) for label in range(int(labels.max()) + 1)
    ]
    found = []
    for draw in range(DRAWS):
        generator = np.random.Generator(np.random.PCG64(derive(_SEED, "few_shot", draw)))
        chosen = [torch.from_numpy(generator.permutation(each)[:shots]) for each in members]
        means = torch.stack([known[rows].mean(dim=0) for rows in chosen])
        right = torch.cdist(asked, means).argmin(dim=1) == truth
        found.append(100 * int(right.sum()) / len(right))
    return found


def few_shot_results(
    few_shot: tuple[int, ...], train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> dict[str, float]:
    """Return mean and standard deviation over the draws: ``few_shot_5`` and ``few_shot_5_sd``."""
    results = {}
    for shots in few_shot:
        found = few_shot_accuracies(shots, train, test)
        results[f"few_shot_{shots}"] = statistics.fmean(found)
        results[f"few_shot_{shots}_sd"] = statistics.stdev(found)
    return results


def check_few_shot(few_shot: tuple[int, ...], images: ImageSet, classes: tuple[str, ...]) -> None:
    """Check that every class has as many training images as are to be drawn.

    Raises:
        SpecError: one has fewer.
    """
    sizes = np.bincount(images.labels, minlength=len(classes))
    if few_shot and sizes.min() < max(few_shot):
        raise SpecError(
            f"evaluation.few_shot={max(few_shot)}: class {classes[int(sizes.argmin())]} has "
            f"{sizes.min()} training images",
            hint="name smaller numbers, or evaluate on more training images",
        )
