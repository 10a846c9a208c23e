"""The processes that train one run together: this one alone, or several with a device each.

Every process has the whole batch's labels and draws the whole batch's augmentation; it augments
and runs its own part of the images. Embeddings are gathered before the loss, with gradient, so that
every process computes the loss of the whole batch: batch, learning rate and negatives are what the
spec says, whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from emabench.records import CostReading


class World:
    """One process that trains alone: nothing is gathered from anywhere.

    Attributes:
        rank: number of this process; the first one, 0, records.
        size: number of processes.
    """

    rank = 0
    size = 1

    @property
    def is_first(self) -> bool:
        """Whether this process records what all of them do."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Return which of the images of a batch are this process's."""
        share = count // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def wrap(self, learner: nn.Module) -> Callable[..., Any]:
        """Return what is called for a forward pass, so that backward averages the gradients."""
        return learner

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows [N, …] of all processes in their order, from [N / size, …] of each.

        Gradients flow back, if every process differentiates the same function of the result.
        """
        return rows

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes."""
        return tensor

    def agree(self, flag: bool) -> bool:
        """Return what the first process says."""
        return flag

    def other_readings(self, mine: CostReading) -> list[CostReading]:
        """Return what the other processes have measured; to the first process only."""
        return []


ALONE = World()
