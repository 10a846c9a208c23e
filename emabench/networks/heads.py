"""Projectors and predictors: small multi-layer perceptrons."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def mlp(*sizes: int, norm: bool = False) -> nn.Sequential:
    """Build linear layers with ReLU between them.

    Args:
        sizes: lengths of input, hidden layers and output.
        norm: whether BatchNorm stands before each ReLU; the linear layers there have no bias, which
            BatchNorm would take out again.
    """
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(sizes)):
        hidden = index < len(sizes) - 2
        layers.append(nn.Linear(before, after, bias=not (norm and hidden)))
        if hidden:
            layers.extend([nn.BatchNorm1d(after), nn.ReLU()] if norm else [nn.ReLU()])
    return nn.Sequential(*layers)
