"""BYOL: predict the target's embedding of the other view; no negatives.

Grill et al., "Bootstrap Your Own Latent", arXiv 2006.07733.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.networks.heads import mlp


class BYOL(Method):
    """BYOL, symmetric: the prediction from each view meets the target of the other one.

    Without an average (scope ``none``) it is SimSiam's idea with BYOL's heads.
    """

    class Options(TargetOptions):
        """Projector and predictor; their hidden layers are followed by BatchNorm."""

        hidden_dim: Annotated[int, Field(ge=1)] = 4096
        output_dim: Annotated[int, Field(ge=1)] = 256
        predictor_dim: Annotated[int, Field(ge=1)] = 4096

    stop_gradient: ClassVar[bool] = True

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Two linear layers, BatchNorm between them."""
        return mlp(feature_dim, options.hidden_dim, options.output_dim, norm=True)

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        size = options.output_dim
        self.predictor = mlp(size, options.predictor_dim, size, norm=True)

    def predict(self, embeddings: Tensor) -> Tensor:
        """Predict the target's embedding of the other view."""
        return self.predictor(embeddings)  # type: ignore[no-any-return]

    def loss(self, online: Views, target: Views) -> Tensor:
        """Sum over both views of 2 - 2 cos: the squared distance of the unit vectors."""
        first = F.cosine_similarity(online[0], target[1], dim=1)
        second = F.cosine_similarity(online[1], target[0], dim=1)
        return (4 - 2 * first - 2 * second).mean()
