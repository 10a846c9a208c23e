"""DCL: SimCLR whose positive pair takes no part in the denominator.

Yeh et al., "Decoupled Contrastive Learning", arXiv 2110.06848.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.networks.heads import mlp


class DCL(Method):
    """Decoupled contrastive learning: 2(N - 1) negatives a view, in every scope."""

    class Options(TargetOptions):
        """Projector and temperature."""

        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 256
        temperature: Annotated[float, Field(gt=0)] = 0.2

    stop_gradient: ClassVar[bool] = False

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Two linear layers without BatchNorm."""
        return mlp(feature_dim, options.hidden_dim, options.output_dim)

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.temperature = options.temperature

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean of -positive + log of the sum over the negatives, keys from the target."""
        anchors = F.normalize(torch.cat(online), dim=1)
        keys = F.normalize(torch.cat(target), dim=1)
        logits = anchors @ keys.T / self.temperature
        count = len(anchors)
        image = torch.arange(count, device=logits.device) % (count // 2)
        negatives = logits.masked_fill(image[:, None] == image, float("-inf"))
        positive = logits.diagonal(count // 2), logits.diagonal(-(count // 2))
        return (negatives.logsumexp(dim=1) - torch.cat(positive)).mean()
