"""SwAV: predict the balanced assignment of the other view to prototypes.

Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
arXiv 2006.09882.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from emabench.methods._method import Method, TargetOptions, TrainingSet, Views
from emabench.methods._multi_crop import mean_of_other_views
from emabench.methods._queue import Queue, fit_queue_size
from emabench.networks.heads import Prototypes, mlp
from emabench.spec import SpecModel


class SwAV(Method):
    """SwAV; every view predicts the assignments of the other global ones, local ones have none."""

    class Options(TargetOptions):
        """Projector, prototypes, temperature, the assignment and its queue."""

        hidden_dim: Annotated[int, Field(ge=1)] = 2048
        output_dim: Annotated[int, Field(ge=1)] = 128
        """Length of the embedding that is compared with the prototypes."""
        prototypes: Annotated[int, Field(ge=2)] = 3000
        temperature: Annotated[float, Field(gt=0)] = 0.1
        sinkhorn_epsilon: Annotated[float, Field(gt=0)] = 0.05
        """Smoothness of the assignments: the regularisation of the optimal transport."""
        sinkhorn_iterations: Annotated[int, Field(ge=1)] = 3
        queue_size: Annotated[int, Field(ge=1)] = 3840
        """Earlier targets of each view that are assigned together with the batch."""
        queue_from_epoch: Annotated[int, Field(ge=1)] = 50
        """Epochs before the queue is used."""
        frozen_epochs: Annotated[int, Field(ge=0)] = 2
        """Epochs at the beginning in which the prototypes do not learn."""

    stop_gradient: ClassVar[bool] = True
    takes_local_views: ClassVar[bool] = True

    @classmethod
    def build_projector(cls, options: Options, feature_dim: int) -> nn.Module:
        """Two linear layers with BatchNorm between them, then the prototypes."""
        layers = mlp(feature_dim, options.hidden_dim, options.output_dim, norm=True)
        return nn.Sequential(layers, Prototypes(options.output_dim, options.prototypes))

    def __init__(self, options: Options, feature_dim: int, data: TrainingSet) -> None:
        super().__init__(options, feature_dim, data)
        self.options = options
        self.queue = Queue(2, options.queue_size, options.prototypes)
        self.uses_queue = False

    @classmethod
    def fit_options(
        cls, options: Options, train_images: int, batch_size: int
    ) -> tuple[SpecModel, list[str]]:
        """Clamp the queue to the training set."""
        return fit_queue_size(options, train_images, batch_size)

    @classmethod
    def revisions(cls, options: Options, *, epochs: int, epoch_images: int) -> dict[str, bool]:
        """Say whether the queue is used before it is full."""
        used = options.queue_from_epoch < epochs
        full = options.queue_from_epoch * epoch_images >= options.queue_size
        return {"swav-unfilled-queue": used and not full}

    def begin_epoch(self, epoch: int, projector: nn.Module) -> None:
        """Freeze the prototypes in the first epochs; use the queue in the later ones."""
        projector[-1].requires_grad_(epoch >= self.options.frozen_epochs)  # type: ignore[index]
        self.uses_queue = epoch >= self.options.queue_from_epoch

    def loss(self, online: Views, target: Views) -> Tensor:
        """Mean cross entropy of every view to the assignments of all global views but it."""
        assigned = tuple(self._assigned(target, view) for view in range(len(target)))
        return mean_of_other_views(online, assigned, self._cross_entropy)

    def _cross_entropy(self, scores: Tensor, assigned: Tensor) -> Tensor:
        return F.cross_entropy(scores / self.options.temperature, assigned)

    @torch.no_grad()
    def _assigned(self, target: Views, view: int) -> Tensor:
        """Return the shares [N, K] of each prototype in each target of a view."""
        scores, absent = target[view], None
        if self.uses_queue:
            scores = torch.cat([scores, self.queue[view]])
            absent = F.pad(self.queue.empty_slots, (len(target[view]), 0))
        options = self.options
        shares = sinkhorn(scores, options.sinkhorn_epsilon, options.sinkhorn_iterations, absent)
        return shares[: len(target[view])]

    def remember(self, target: Views) -> None:
        """Put the scores of each view into its queue, over the oldest ones."""
        self.queue.push(*target)


def sinkhorn(
    scores: Tensor, epsilon: float, iterations: int, absent: Tensor | None = None
) -> Tensor:
    """Assign N items to K prototypes such that all prototypes get about the same share.

    The Sinkhorn-Knopp iteration for optimal transport with entropy (Cuturi, arXiv 1306.0895), on
    logarithms.

    Args:
        scores: [N, K].
        epsilon: the smaller, the harder the assignment.
        iterations: of normalising prototypes, then items.
        absent: items that take no part: bool [N]; None: all take part.

    Returns:
        The shares [N, K]; each row sums to 1, and that of an absent item means nothing.
    """
    logits = scores / epsilon
    for _ in range(iterations):
        if absent is not None:
            logits = logits.masked_fill(absent[:, None], torch.finfo(logits.dtype).min)
        logits = logits.log_softmax(dim=0)
        logits = logits.log_softmax(dim=1)
    return logits.exp()
