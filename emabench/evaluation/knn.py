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
    """Return the votes [M, C] for each class of M test images.

    Args:
        spec: number of neighbours (at most the number of training images) and temperature.
        train: features [N, D] and labels [N] of the training images.
        test_features: features [M, D].
        classes: number of classes C.
        chunk: test images compared at once.
    """
    bank, labels = F.normalize(train[0], dim=1), train[1]
    k = min(spec.k, len(bank))
    votes = []
    for queries in F.normalize(test_features, dim=1).split(chunk):
        similarity, neighbours = (queries @ bank.T).topk(k, dim=1)
        weights = (similarity / spec.temperature).exp()
        votes.append(
            torch.zeros(len(queries), classes, device=bank.device).scatter_add_(
                1, labels[neighbours], weights
            )
        )
    return torch.cat(votes)


def correct_at(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return whether the label is among the k best classes, for each of M images: bool [M]."""
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(dim=1)
