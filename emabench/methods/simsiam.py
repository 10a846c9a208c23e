"""SimSiam: predict the embedding of the other view; no negatives, no average needed.

Chen & He, "Exploring Simple Siamese Representation Learning", arXiv 2011.10566.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.networks.heads import mlp


class SimSiam(Method):
    """SimSiam, symmetric; the learning rate of its predictor is constant."""

    class Options(TargetOptions):
        """Projector and predictor; their hidden layers are followed by BatchNorm."""

        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 2048
        predictor_dim: Annotated[int, Field(ge=1)] = 512

    stop_gradient: ClassVar[bool] = True
    constant_lr: ClassVar[tuple[str, ...]] = ("predictor",)

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Three linear layers, BatchNorm after each, the last one without weights."""
        sizes = feature_dim, options.hidden_dim, options.hidden_dim, options.output_dim
        return mlp(*sizes, norm=True, last_norm="plain")

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        size = options.output_dim
        self.predictor = mlp(size, options.predictor_dim, size, norm=True)

    def predict(self, embeddings: Tensor) -> Tensor:
        """Predict the target's embedding of the other view."""
        return self.predictor(embeddings)  # type: ignore[no-any-return]

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean over both views of the negative cosine similarity."""
        first = F.cosine_similarity(online[0], target[1], dim=1)
        second = F.cosine_similarity(online[1], target[0], dim=1)
        return -(first + second).mean() / 2
