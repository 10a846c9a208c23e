"""NNCLR: the positive of a view is the nearest neighbour of the other view among earlier targets.

Dwibedi et al., "With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning of Visual
Representations", arXiv 2104.14548.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.methods._queue import Queue, fit_queue_size
from emabench.networks.heads import mlp
from emabench.spec import SpecModel


class NNCLR(Method):
    """NNCLR, symmetric; its support set is filled by the targets of the first view.

    The support set starts empty; at the first step every target is its own neighbour.
    """

    class Options(TargetOptions):
        """Projector, predictor, temperature and the size of the support set."""

        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 256
        predictor_dim: Annotated[int, Field(ge=1)] = 4096
        temperature: Annotated[float, Field(gt=0)] = 0.2
        queue_size: Annotated[int, Field(ge=1)] = 65536

    stop_gradient: ClassVar[bool] = True

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Three linear layers, BatchNorm after each."""
        sizes = feature_dim, options.hidden_dim, options.hidden_dim, options.output_dim
        return mlp(*sizes, norm=True, last_norm="affine")

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.temperature = options.temperature
        size = options.output_dim
        self.predictor = mlp(size, options.predictor_dim, size, norm=True)
        self.support = Queue(1, options.queue_size, size)

    @classmethod
    def fit_options(
        cls, options: Options, train_images: int, batch_size: int
    ) -> tuple[SpecModel, list[str]]:
        """Clamp the support set to the training set."""
        return fit_queue_size(options, train_images, batch_size)

    def predict(self, embeddings: Tensor) -> Tensor:
        """Predict the neighbour of the other view."""
        return self.predictor(embeddings)  # type: ignore[no-any-return]

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean over both views of the cross entropy of a neighbour's prediction in the batch."""
        first = self._info_nce(self.neighbours(target[0], 0), online[1])
        second = self._info_nce(self.neighbours(target[1], 1), online[0])
        return (first + second) / 2

    @torch.no_grad()
    def neighbours(self, targets: Tensor, view: int) -> Tensor:
        """Return the most similar member of the support set, for each of [N, E] targets."""
        own = F.normalize(targets, dim=1)
        similarity = own @ self.support[0].T
        nearest = similarity.masked_fill(self.support.empty_slots, float("-inf")).argmax(dim=1)
        return torch.where(self.support.enqueued > 0, self.support[0][nearest], own)

    def _info_nce(self, neighbours: Tensor, predictions: Tensor) -> Tensor:
        logits = neighbours @ F.normalize(predictions, dim=1).T / self.temperature
        return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))

    def remember(self, target: Views) -> None:
        """Put the targets of the first view into the support set, over the oldest ones."""
        self.support.push(F.normalize(target[0], dim=1))
