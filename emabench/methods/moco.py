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

from emabench.errors import SpecError
from emabench.methods._method import Method, Views
from emabench.networks.heads import mlp
from emabench.spec import SpecModel


class MoCo(Method):
    """MoCo v2+, symmetric: each view is query once and key once, and has a queue of its own.

    The queues start empty; slots that are not filled yet take no part in the loss.
    """

    class Options(SpecModel):
        """Projector, temperature and the length of each view's queue."""

        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 256
        temperature: Annotated[float, Field(gt=0)] = 0.2
        queue_size: Annotated[int, Field(ge=1)] = 32768

    stop_gradient: ClassVar[bool] = True
    queue: Tensor
    enqueued: Tensor

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Two linear layers without BatchNorm, as published."""
        return mlp(feature_dim, options.hidden_dim, options.output_dim)

    def __init__(self, options: Options, feature_dim: int, train_images: int) -> None:
        super().__init__(options, feature_dim, train_images)
        self.temperature = options.temperature
        self.register_buffer("queue", torch.zeros(2, options.queue_size, options.output_dim))
        self.register_buffer("enqueued", torch.zeros((), dtype=torch.int64))

    @classmethod
    def fit_options(
        cls, options: Options, train_images: int, batch_size: int
    ) -> tuple[SpecModel, list[str]]:
        """Clamp the queue to the training set: a longer one would hold an image twice."""
        size = options.queue_size
        if size < batch_size:
            raise SpecError(
                f"method.options.queue_size={size} is smaller than the batch of {batch_size}",
                hint=f"set method.options.queue_size to {batch_size} or more",
            )
        if size <= train_images:
            return options, []
        warning = f"moco: queue_size {size} clamped to the {train_images} training images"
        return options.model_copy(update={"queue_size": train_images}), [warning]

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean over both views of the cross entropy of the own key among the queue's."""
        first, second = (F.normalize(view, dim=1) for view in online)
        first_key, second_key = (F.normalize(view, dim=1) for view in target)
        return (self._info_nce(first, second_key, 1) + self._info_nce(second, first_key, 0)) / 2

    def _info_nce(self, query: Tensor, key: Tensor, view: int) -> Tensor:
        """Cross entropy of queries [N, E] against their keys [N, E] and the queue of a view."""
        positive = (query * key).sum(dim=1, keepdim=True)
        slots = torch.arange(self.queue.shape[1], device=query.device)
        negative = (query @ self.queue[view].T).masked_fill(slots >= self.enqueued, float("-inf"))
        logits = torch.cat([positive, negative], dim=1) / self.temperature
        own = torch.zeros(len(query), dtype=torch.int64, device=query.device)
        return F.cross_entropy(logits, own)

    @torch.no_grad()
    def remember(self, target: Views) -> None:
        """Put the keys of each view into its queue, over the oldest ones."""
        keys = F.normalize(torch.stack(target), dim=2).to(self.queue.dtype)
        size = self.queue.shape[1]
        slots = (self.enqueued + torch.arange(keys.shape[1], device=keys.device)) % size
        self.queue.index_copy_(1, slots, keys)
        self.enqueued += keys.shape[1]
