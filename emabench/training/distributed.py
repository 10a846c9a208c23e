"""Several processes with a device each: torch's process group and DistributedDataParallel."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from emabench.records import CostReading
from emabench.training.world import World

_NEW_WORD = "forward_sync_buffers"
_KNOWN = inspect.signature(DistributedDataParallel).parameters
_BUFFERS = _NEW_WORD if _NEW_WORD in _KNOWN else "broadcast_buffers"
"""Newer versions of torch have another word for it."""


class ProcessGroup(World):
    """The default process group of torch, which is initialised.

    Args:
        device: of this process.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._device = device
        # What is agreed on lies in the host's memory: no device is waited for.
        self._host: Any = dist.new_group(backend="gloo")

    def wrap(self, learner: nn.Module) -> Callable[..., Any]:
        """Wrap a learner whose parameters all take part, before any of them is frozen.

        On an accelerator its BatchNorms take the statistics of the whole batch from now on. Buffers
        need no word between the processes: each computes the same from the same gathered tensors.
        """
        if self._device.type != "cpu":
            synchronise(learner)
        wrap: Any = DistributedDataParallel
        return wrap(  # type: ignore[no-any-return]
            learner,
            device_ids=None if self._device.type == "cpu" else [self._device.index],
            **{_BUFFERS: False},
            # A method may freeze a layer for some epochs.
            find_unused_parameters=True,
        )

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, with gradient."""
        gathered: Tensor = _Gather.apply(rows, self.rank, self.size)
        return gathered

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean over all processes."""
        total = tensor.clone()
        dist.all_reduce(total)
        return total / self.size

    def agree(self, flag: bool) -> bool:
        """Return what the first process says."""
        said = torch.tensor([flag])
        dist.broadcast(said, src=0, group=self._host)
        return bool(said)

    def other_readings(self, mine: CostReading) -> list[CostReading]:
        """Return the readings of the other processes to the first one."""
        found: list[Any] | None = [None] * self.size if self.is_first else None
        dist.gather_object(mine, found, dst=0, group=self._host)
        return [] if found is None else found[1:]


def synchronise(learner: nn.Module) -> None:
    """Let BatchNorms take the statistics of the whole batch, in place.

    Those of an average for the evaluation stay as they are: one process alone measures them.
    """
    for name, part in list(learner.named_children()):
        if name != "average":
            # torch's own forgets the activation in timm's layers that have one.
            learner.add_module(name, convert_sync_batchnorm(part))


class _Gather(torch.autograd.Function):
    """Rows of all processes → one tensor; the gradient of one's own rows comes back.

    Every process computes the same loss L from the gathered rows, so that the gradient that it
    finds for its own is already the whole one. DistributedDataParallel takes the mean of what the
    parameters of all processes get where it should take the sum: hence the factor.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, size: int) -> Tensor:
        ctx.place = slice(rank * len(rows), (rank + 1) * len(rows))
        ctx.size = size
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0][ctx.place] * ctx.size, None, None
