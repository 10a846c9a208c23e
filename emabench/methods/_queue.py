"""A first-in, first-out queue of earlier targets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from emabench.errors import SpecError
from emabench.spec import SpecModel


class Queue(nn.Module):
    """The newest targets, in ring buffers that are part of every checkpoint. It starts empty.

    Args:
        queues: number of queues that are filled side by side, for example one a view.
        size: length of each.
        dim: length of a target.
    """

    keys: Tensor
    enqueued: Tensor

    def __init__(self, queues: int, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(queues, size, dim))
        self.register_buffer("enqueued", torch.zeros((), dtype=torch.int64))

    def __getitem__(self, queue: int) -> Tensor:
        """Return one queue [size, dim], slots that were never filled included."""
        return self.keys[queue]

    @property
    def empty_slots(self) -> Tensor:
        """Which slots were never filled: bool [size], the same in all queues."""
        return torch.arange(self.keys.shape[1], device=self.keys.device) >= self.enqueued

    @torch.no_grad()
    def push(self, *targets: Tensor) -> None:
        """Put targets [N, dim] into each queue, over the oldest ones; N is at most the size."""
        keys = torch.stack(targets).to(self.keys.dtype)
        slots = self.enqueued + torch.arange(keys.shape[1], device=keys.device)
        self.keys.index_copy_(1, slots % self.keys.shape[1], keys)
        self.enqueued += keys.shape[1]


def fit_queue_size(options: Any, train_images: int, batch_size: int) -> tuple[SpecModel, list[str]]:
    """Clamp ``queue_size`` to the training set: a longer queue would hold an image twice.

    Returns:
        The options, and what the user should know about them.

    Raises:
        SpecError: the queue does not hold one batch.
    """
    size = options.queue_size
    if size < batch_size:
        raise SpecError(
            f"method.options.queue_size={size} is smaller than the batch of {batch_size}",
            hint=f"set method.options.queue_size to {batch_size} or more",
        )
    if size <= train_images:
        return options, []
    warning = f"method.options.queue_size={size} is clamped to the {train_images} training images"
    return options.model_copy(update={"queue_size": train_images}), [warning]
