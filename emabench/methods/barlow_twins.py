"""Barlow Twins: the cross-correlation of the two views' features shall be the identity.

Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
arXiv 2103.03230.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.networks.heads import mlp

_EPSILON = 1e-5
"""Keeps the standard deviation of a dead feature from being zero, as in BatchNorm."""


class BarlowTwins(Method):
    """Barlow Twins; with a target, each view is correlated with the other view's target."""

    class Options(TargetOptions):
        """Projector, and the weight of the off-diagonal correlations."""

        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 2048
        redundancy_weight: Annotated[float, Field(ge=0)] = 0.0051
        scale: Annotated[float, Field(gt=0)] = 0.1
        """Multiplies the whole loss."""

    stop_gradient: ClassVar[bool] = False

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Three linear layers, BatchNorm between them."""
        hidden = options.hidden_dim
        return mlp(feature_dim, hidden, hidden, options.output_dim, norm=True)

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.redundancy_weight, self.scale = options.redundancy_weight, options.scale

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean over both pairs of an online and a target view; equal pairs give equal halves."""
        first = self._redundancy(online[0], target[1])
        second = self._redundancy(online[1], target[0])
        return self.scale * (first + second) / 2

    def _redundancy(self, left: Tensor, right: Tensor) -> Tensor:
        correlation = _standardized(left).T @ _standardized(right) / len(left)
        diagonal = correlation.diagonal()
        others = correlation.square().sum() - diagonal.square().sum()
        return (1 - diagonal).square().sum() + self.redundancy_weight * others


def _standardized(embeddings: Tensor) -> Tensor:
    """Give every feature of [N, E] mean 0 and variance 1 over the batch."""
    variance, mean = torch.var_mean(embeddings, dim=0, correction=0)
    return (embeddings - mean) / (variance + _EPSILON).sqrt()
