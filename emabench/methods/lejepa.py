"""LeJEPA: views that agree, and embeddings that are regularised to an isotropic Gaussian.

Balestriero and LeCun, "LeJEPA: Provable and Scalable Self-Supervised Learning Without the
Heuristics", arXiv 2511.08544. Defaults are those of the authors' minimal example, with two views
in place of its four; local views join as in the paper.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.networks.heads import mlp


class LeJEPA(Method):
    """LeJEPA; with a target, the online views agree with its mean and are regularised."""

    class Options(TargetOptions):
        """Projector, weight of the regulariser, and how it is computed."""

        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 16
        regularization_weight: Annotated[float, Field(ge=0, le=1)] = 0.02
        slices: Annotated[int, Field(ge=1)] = 256
        frequencies: Annotated[int, Field(ge=2)] = 17
        max_frequency: Annotated[float, Field(gt=0)] = 3.0

    stop_gradient: ClassVar[bool] = False
    takes_local_views: ClassVar[bool] = True
    frequencies: Tensor
    slices: Tensor

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Three linear layers, BatchNorm between them."""
        hidden = options.hidden_dim
        return mlp(feature_dim, hidden, hidden, options.output_dim, norm=True)

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.weight = options.regularization_weight
        frequencies = torch.linspace(0, options.max_frequency, options.frequencies)
        self.register_buffer("frequencies", frequencies, persistent=False)
        slices = torch.empty(options.output_dim, options.slices)
        self.register_buffer("slices", slices, persistent=False)
        self.begin_step(Generator().manual_seed(0))

    def begin_step(self, generator: Generator) -> None:
        """Draw the directions [E, K] that the embeddings are looked at along."""
        directions = torch.randn(self.slices.shape, generator=generator)
        self.slices.copy_(directions / directions.norm(dim=0), non_blocking=True)

    def loss(self, online: Views, target: Views) -> Tensor:
        """Weighted mean of SIGReg and invariance, each the mean over the views."""
        centre = torch.stack(target).mean(dim=0)
        invariance = torch.stack([(view - centre).square().mean() for view in online]).mean()
        regularity = torch.stack([self._sigreg(view) for view in online]).mean()
        return self.weight * regularity + (1 - self.weight) * invariance

    def _sigreg(self, embeddings: Tensor) -> Tensor:
        """Distance of [N, E] to a standard normal distribution (Epps and Pulley, 1983).

        Along each direction it is N times the squared difference of the characteristic functions,
        integrated over all frequencies with a normal window by the trapezoidal rule; both
        functions are even, so that half of the frequencies do.
        """
        frequencies = self.frequencies
        gaussian = (-frequencies.square() / 2).exp()
        angles = (embeddings @ self.slices).unsqueeze(-1) * frequencies  # [N, K, frequencies]
        error = (angles.cos().mean(dim=0) - gaussian).square() + angles.sin().mean(dim=0).square()
        half = torch.trapezoid(error * gaussian, frequencies, dim=-1)
        return len(embeddings) * 2 * half.mean()
