"""Projectors and predictors: small multi-layer perceptrons, and prototypes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(
    *sizes: int,
    norm: bool = False,
    last_norm: Literal["affine", "plain"] | None = None,
    last_bias: bool = True,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Build linear layers with an activation between them.

    Args:
        sizes: lengths of input, hidden layers and output.
        norm: whether BatchNorm stands before each activation; a linear layer before BatchNorm has
            no bias, which BatchNorm would take out again.
        last_norm: BatchNorm after the output, with or without weight and bias of its own.
        last_bias: whether the output layer has a bias, where no BatchNorm follows it.
        activation: makes what stands between the layers.
    """
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(sizes)):
        if index < len(sizes) - 2:
            layers.append(nn.Linear(before, after, bias=not norm))
            layers.extend([nn.BatchNorm1d(after), activation()] if norm else [activation()])
        else:
            layers.append(nn.Linear(before, after, bias=last_bias and last_norm is None))
            if last_norm is not None:
                layers.append(nn.BatchNorm1d(after, affine=last_norm == "affine"))
    return nn.Sequential(*layers)


class Prototypes(nn.Module):
    """Cosine similarities of embeddings to learned directions.

    Args:
        dim: length E of the embeddings.
        count: number of prototypes K.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, dim))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the similarities [N, K] of embeddings [N, E], within -1 and 1."""
        return F.linear(F.normalize(embeddings, dim=1), F.normalize(self.weight, dim=1))
