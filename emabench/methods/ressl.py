"""ReSSL: a strong view has the relations to earlier targets that the weak view's target has.

Zheng et al., "ReSSL: Relational Self-Supervised Learning with Weak Augmentation",
arXiv 2107.09282.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.methods._queue import Queue, fit_queue_size
from emabench.networks.heads import mlp
from emabench.spec import SpecModel

_FAR_AWAY = -1e4
"""Similarity to a slot that takes no part. Finite: 0 times infinity would be NaN."""


class ReSSL(Method):
    """ReSSL, asymmetric: the first view is trained on, the second (weak) one gives the target.

    At the first step the relations are those to random directions.
    """

    class Options(TargetOptions):
        """Projector, the two temperatures and the length of the queue."""

        hidden_dim: Annotated[int, Field(ge=1)] = 4096
        output_dim: Annotated[int, Field(ge=1)] = 256
        temperature: Annotated[float, Field(gt=0)] = 0.1
        target_temperature: Annotated[float, Field(gt=0)] = 0.04
        queue_size: Annotated[int, Field(ge=1)] = 65536

    stop_gradient: ClassVar[bool] = True
    online_views: ClassVar[tuple[int, ...]] = (0,)
    target_views: ClassVar[tuple[int, ...]] = (1,)

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Two linear layers without BatchNorm."""
        return mlp(feature_dim, options.hidden_dim, options.output_dim)

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.temperature, self.target_temperature = options.temperature, options.target_temperature
        self.queue = Queue(1, options.queue_size, options.output_dim)
        self.queue.keys.normal_()
        self.queue.keys.div_(self.queue.keys.norm(dim=2, keepdim=True))

    @classmethod
    def fit_options(
        cls, options: Options, train_images: int, batch_size: int
    ) -> tuple[SpecModel, list[str]]:
        """Clamp the queue to the training set."""
        return fit_queue_size(options, train_images, batch_size)

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean cross entropy between the relations of a view and those of its target."""
        ((query,), (key,)) = online, target
        wanted = (self._similarity(key) / self.target_temperature).softmax(dim=1)
        return F.cross_entropy(self._similarity(query) / self.temperature, wanted)

    def _similarity(self, embeddings: Tensor) -> Tensor:
        """Return the cosine similarities [N, queue] of embeddings [N, E] to the queue."""
        similarity = F.normalize(embeddings, dim=1) @ self.queue[0].T
        unused = self.queue.empty_slots & (self.queue.enqueued > 0)
        return similarity.masked_fill(unused, _FAR_AWAY)

    def remember(self, target: Views) -> None:
        """Put the targets into the queue, over the oldest ones."""
        self.queue.push(F.normalize(target[0], dim=1))
