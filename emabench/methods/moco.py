"""MoCo v2+: contrast a view with the other view's target and with a queue of earlier targets.

He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", arXiv 1911.05722;
v2: arXiv 2003.04297. "+" is the symmetric loss over both views, with one queue for each.
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


class MoCo(Method):
    """MoCo v2+, symmetric: each view is query once and key once, and has a queue of its own.

    The queues start empty; slots that are not filled yet take no part in the loss.
    """

    class Options(TargetOptions):
        """Projector, temperature and the length of each view's queue."""

        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 256
        temperature: Annotated[float, Field(gt=0)] = 0.2
        queue_size: Annotated[int, Field(ge=1)] = 32768

    stop_gradient: ClassVar[bool] = True

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Two linear layers without BatchNorm, as published."""
        return mlp(feature_dim, options.hidden_dim, options.output_dim)

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.temperature = options.temperature
        self.queue = Queue(2, options.queue_size, options.output_dim)

    @classmethod
    def fit_options(
        cls, options: Options, train_images: int, batch_size: int
    ) -> tuple[SpecModel, list[str]]:
        """Clamp the queue to the training set."""
        return fit_queue_size(options, train_images, batch_size)

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean over both views of the cross entropy of the own key among the queue's."""
        first, second = (F.normalize(view, dim=1) for view in online)
        first_key, second_key = (F.normalize(view, dim=1) for view in target)
        return (self._info_nce(first, second_key, 1) + self._info_nce(second, first_key, 0)) / 2

    def _info_nce(self, query: Tensor, key: Tensor, view: int) -> Tensor:
        """Cross entropy of queries [N, E] against their keys [N, E] and the queue of a view."""
        positive = (query * key).sum(dim=1, keepdim=True)
        negative = query @ self.queue[view].T
        negative = negative.masked_fill(self.queue.empty_slots, float("-inf"))
        logits = torch.cat([positive, negative], dim=1) / self.temperature
        own = torch.zeros(len(query), dtype=torch.int64, device=query.device)
        return F.cross_entropy(logits, own)

    def remember(self, target: Views) -> None:
        """Put the keys of each view into its queue, over the oldest ones."""
        self.queue.push(*(F.normalize(view, dim=1) for view in target))
