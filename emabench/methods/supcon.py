"""SupCon: contrast the images of a class with all others; supervised, with views.

Khosla et al., "Supervised Contrastive Learning", arXiv 2004.11362.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TrainingSet, Views
from emabench.networks.heads import mlp
from emabench.spec import SpecModel


class SupCon(Method):
    """Supervised contrast: every view of a class is a positive of every other. An upper bound."""

    class Options(SpecModel):
        """Projector and temperature."""

        hidden_dim: Annotated[int, Field(ge=1)] = 512
        output_dim: Annotated[int, Field(ge=1)] = 128
        temperature: Annotated[float, Field(gt=0)] = 0.1

    stop_gradient: ClassVar[bool] = True
    target_views: ClassVar[tuple[int, ...]] = ()
    labels: ClassVar[Literal["classes", "images"] | None] = "classes"

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Two linear layers without BatchNorm, as published."""
        return mlp(feature_dim, options.hidden_dim, options.output_dim)

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.temperature = options.temperature

    def loss(self, online: Views, target: Views) -> Tensor:
        """The paper's L_out: the mean over an anchor's positives stands outside the logarithm."""
        anchors = F.normalize(torch.cat(online), dim=1)
        labels = target[0].repeat(len(online))
        itself = torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
        logits = anchors @ anchors.T / self.temperature
        likelihood = logits.masked_fill(itself, float("-inf")).log_softmax(dim=1)
        positive = (labels[:, None] == labels) & ~itself
        # Not by a product: the likelihood of an anchor to itself is minus infinity.
        of_positives = likelihood.masked_fill(~positive, 0.0).sum(dim=1)
        return -(of_positives / positive.sum(dim=1)).mean()
