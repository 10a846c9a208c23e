"""SimCLR: contrast the two views of an image with all other views of the batch.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
arXiv 2002.05709.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.networks.heads import mlp


class SimCLR(Method):
    """SimCLR with the NT-Xent loss; every view contrasts with 2(N - 1) negatives in every scope."""

    class Options(TargetOptions):
        """Projector and temperature."""

        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 256
        temperature: Annotated[float, Field(gt=0)] = 0.2

    stop_gradient: ClassVar[bool] = False

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Two linear layers without BatchNorm, as published."""
        return mlp(feature_dim, options.hidden_dim, options.output_dim)

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.temperature = options.temperature

    def loss(self, online: Views, target: Views) -> Tensor:
        """NT-Xent with online anchors and target keys; a view is never its own key."""
        return nt_xent(online, target, self.temperature)


def nt_xent(online: Views, target: Views, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy.

    Args:
        online: anchors [N, E] of each view.
        target: keys [N, E] of each view. The key of an anchor is that of the other view of the
            same image; the keys of all other images, in both views, are its negatives.
        temperature: divides the cosine similarities.
    """
    anchors = F.normalize(torch.cat(online), dim=1)
    keys = F.normalize(torch.cat(target), dim=1)
    count = len(anchors)
    logits = anchors @ keys.T / temperature
    itself = torch.eye(count, dtype=torch.bool, device=logits.device)
    positive = torch.arange(count, device=logits.device).roll(count // 2)
    return F.cross_entropy(logits.masked_fill(itself, float("-inf")), positive)
