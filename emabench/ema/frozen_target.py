"""A frozen target network: a teacher that was trained before, and never moves."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from emabench.ema.target import TargetNetwork
from emabench.networks.encoder import Encoder
from emabench.spec import EmaScope


class FrozenTarget(TargetNetwork):
    """Targets of weights that are loaded into ``copies`` and stay as they are.

    It is always in eval mode: BatchNorm normalises with the statistics of the teacher's own
    training, so that the target of an image does not depend on the others of its batch.

    Args:
        blocks: the online encoder.
        scope: all of its blocks that have weights.
    """

    def __init__(self, blocks: Encoder, scope: str | EmaScope) -> None:
        super().__init__(blocks, scope)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode."""
        return super().train(False)

    def update(self, decay: float | Tensor) -> None:
        """Leave the copies alone."""

    @property
    def update_bytes(self) -> int:
        """Bytes that one update moves: none."""
        return 0
