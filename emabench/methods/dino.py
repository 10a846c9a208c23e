"""DINO: match the target's centred and sharpened distribution over prototypes, across views.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", arXiv 2104.14294.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.methods._multi_crop import mean_of_other_views
from emabench.networks.heads import Prototypes, mlp


class DINO(Method):
    """DINO; every view meets the targets of the other global ones, local views have no target."""

    class Options(TargetOptions):
        """Projector, prototypes, temperatures and centring."""

        added_later = ("first_target_temperature", "target_warmup_epochs")
        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 256
        """Length of the embedding that is compared with the prototypes."""
        prototypes: Annotated[int, Field(ge=2)] = 4096
        temperature: Annotated[float, Field(gt=0)] = 0.1
        target_temperature: Annotated[float, Field(gt=0)] = 0.07
        first_target_temperature: Annotated[float, Field(gt=0)] | None = None
        """That of the first epoch, from which it grows linearly; None: it is constant."""
        target_warmup_epochs: Annotated[int, Field(ge=1)] = 30
        """Epochs until the target's temperature is reached, where it grows."""
        center_decay: Annotated[float, Field(ge=0, le=1)] = 0.9
        """Share of the old centre of the targets that is kept per step."""
        frozen_epochs: Annotated[int, Field(ge=0)] = 1
        """Epochs at the beginning in which the prototypes do not learn."""

    stop_gradient: ClassVar[bool] = True
    takes_local_views: ClassVar[bool] = True
    center: Tensor

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Three linear layers with GELU, without BatchNorm, then the prototypes."""
        hidden = options.hidden_dim
        layers = mlp(feature_dim, hidden, hidden, options.output_dim, activation=nn.GELU)
        return nn.Sequential(layers, Prototypes(options.output_dim, options.prototypes))

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.options = options
        self.register_buffer("center", torch.zeros(options.prototypes))
        self.target_temperature = options.target_temperature

    def begin_epoch(self, epoch: int, projector: nn.Module) -> None:
        """Freeze the prototypes in the first epochs; warm the target's temperature up."""
        options = self.options
        projector[-1].requires_grad_(epoch >= options.frozen_epochs)  # type: ignore[index]
        last = options.target_temperature
        first = options.first_target_temperature or last
        # As published: the first epoch has the first value, the last of the warm-up the last one.
        progress = min(1.0, epoch / max(1, options.target_warmup_epochs - 1))
        self.target_temperature = first + (last - first) * progress

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean of the cross entropies of every view to the targets of all global views but it."""
        return mean_of_other_views(online, target, self._cross_entropy)

    def _cross_entropy(self, scores: Tensor, target: Tensor) -> Tensor:
        wanted = ((target - self.center) / self.target_temperature).softmax(dim=1)
        return F.cross_entropy(scores / self.options.temperature, wanted)

    @torch.no_grad()
    def remember(self, target: Views) -> None:
        """Move the centre towards the mean target of the batch."""
        mean = torch.cat(target).mean(dim=0)
        self.center.lerp_(mean.to(self.center.dtype), 1 - self.options.center_decay)
