"""MoCo v3: contrast the prediction from a view with the batch's targets of the other view.

Chen et al., "An Empirical Study of Training Self-Supervised Vision Transformers", arXiv 2104.02057.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.networks.heads import mlp


class MoCoV3(Method):
    """MoCo v3, symmetric: no queue, the negatives of a view are the other images of the batch."""

    class Options(TargetOptions):
        """Projector, predictor and temperature."""

        hidden_dim: Annotated[int, Field(ge=1)] = 4096
        output_dim: Annotated[int, Field(ge=1)] = 256
        predictor_dim: Annotated[int, Field(ge=1)] = 4096
        temperature: Annotated[float, Field(gt=0)] = 0.2

    stop_gradient: ClassVar[bool] = True

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Two linear layers, BatchNorm after both, the last one without weights."""
        sizes = feature_dim, options.hidden_dim, options.output_dim
        return mlp(*sizes, norm=True, last_norm="plain")

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.temperature = options.temperature
        size = options.output_dim
        self.predictor = mlp(size, options.predictor_dim, size, norm=True, last_bias=False)

    def predict(self, embeddings: Tensor) -> Tensor:
        """Predict the target's embedding of the other view."""
        return self.predictor(embeddings)  # type: ignore[no-any-return]

    def loss(self, online: Views, target: Views) -> Tensor:
        """Sum over both views of 2 T times the cross entropy of the own key among the batch's."""
        first = self._info_nce(online[0], target[1])
        second = self._info_nce(online[1], target[0])
        return 2 * self.temperature * (first + second)

    def _info_nce(self, queries: Tensor, keys: Tensor) -> Tensor:
        logits = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T / self.temperature
        return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
