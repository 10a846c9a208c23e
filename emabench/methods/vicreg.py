"""VICReg: close views, features that vary, features that do not repeat each other.

Bardes et al., "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised
Learning", arXiv 2105.04906.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.networks.heads import mlp

_EPSILON = 1e-4
"""Under the square root of the variance, as published."""


class VICReg(Method):
    """VICReg; with a target, the invariance is to it, the other two terms are the online views'."""

    class Options(TargetOptions):
        """Projector, and the weights of the three terms."""

        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 2048
        invariance_weight: Annotated[float, Field(ge=0)] = 25.0
        variance_weight: Annotated[float, Field(ge=0)] = 25.0
        covariance_weight: Annotated[float, Field(ge=0)] = 1.0

    stop_gradient: ClassVar[bool] = False

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Three linear layers, BatchNorm between them."""
        hidden = options.hidden_dim
        return mlp(feature_dim, hidden, hidden, options.output_dim, norm=True)

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.options = options

    def loss(self, online: Views, target: Views) -> Tensor:
        """Weighted sum of the three terms; variance and covariance are summed over the views."""
        first = F.mse_loss(online[0], target[1])
        second = F.mse_loss(online[1], target[0])
        invariance = (first + second) / 2
        variance = _lack_of_variance(online[0]) + _lack_of_variance(online[1])
        covariance = _covariance(online[0]) + _covariance(online[1])
        options = self.options
        return (
            options.invariance_weight * invariance
            + options.variance_weight * variance
            + options.covariance_weight * covariance
        )


def _lack_of_variance(embeddings: Tensor) -> Tensor:
    """Mean over the features of [N, E] of what their standard deviation lacks to 1."""
    return F.relu(1 - (embeddings.var(dim=0) + _EPSILON).sqrt()).mean()


def _covariance(embeddings: Tensor) -> Tensor:
    """Sum of the squared covariances of different features of [N, E], over E."""
    count, size = embeddings.shape
    centred = embeddings - embeddings.mean(dim=0)
    squares = (centred.T @ centred / (count - 1)).square()
    return (squares.sum() - squares.diagonal().sum()) / size
