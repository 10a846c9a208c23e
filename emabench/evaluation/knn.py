"""Weighted k-nearest-neighbour classification of frozen features (Wu et al., arXiv 1805.01978)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from emabench.spec import KnnSpec


@torch.no_grad()
def knn_scores(
    spec: KnnSpec,
    train: tuple[Tensor, Tensor],
    test_features: Tensor,
    classes: int,
    *,
    chunk: int = 512,
) -> Tensor:
    """Return the logarithm of the votes [M, C] for each class of M test images.

    The nearest neighbour votes with weight 1 and the others relative to it, so that no temperature
    and no offset of the features takes the votes out of range. A class without one of the k has
    -inf.

    Args:
        spec: number of neighbours (at most the number of training images) and temperature.
        train: features [N, D] and labels [N] of the training images.
        test_features: features [M, D].
        classes: number of classes C.
        chunk: test images compared at once.
    """
    bank, labels = F.normalize(train[0], dim=1), train[1]
    k = min(spec.k, len(bank))
    floats = torch.finfo(bank.dtype)
    temperature = max(spec.temperature, floats.tiny)  # below it only the nearest neighbour counts
    votes = []
    for queries in F.normalize(test_features, dim=1).split(chunk):
        similarity, neighbours = (queries @ bank.T).topk(k, dim=1)
        weights = ((similarity - similarity[:, :1]) / temperature).clamp_min(floats.min)
        voters = labels[neighbours]
        best = weights.new_full((len(queries), classes), float("-inf"))
        best.scatter_reduce_(1, voters, weights, "amax")
        shares = (weights - best.gather(1, voters)).exp()
        votes.append(best + torch.zeros_like(best).scatter_add_(1, voters, shares).log())
    return torch.cat(votes)


def correct_at(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return whether the label is among the k best classes, for each of M images: bool [M].

    Args:
        scores: [M, C]; a class with -inf is never predicted.
        labels: [M].
        k: classes that may be predicted.
    """
    best = scores.topk(min(k, scores.shape[1]), dim=1)
    right = (best.indices == labels[:, None]) & (best.values > float("-inf"))
    return right.any(dim=1)
