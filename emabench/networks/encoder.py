"""The encoder: the blocks of a backbone, and the projector as the last block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from emabench.networks.backbone import Backbone
from emabench.spec.scope import PROJECTOR


class Encoder(nn.Module):
    """Backbone and projector as one ordered list of named blocks.

    Args:
        backbone: the cut backbone.
        projector: maps features [N, D] to embeddings [N, E].
    """

    def __init__(self, backbone: Backbone, projector: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({**backbone.blocks, PROJECTOR: projector})

    @property
    def block_names(self) -> tuple[str, ...]:
        """Names of all blocks, first to last."""
        return tuple(self.blocks)

    def forward(self, views: Tensor) -> list[Tensor]:
        """Run every block on views [N, 3, S, S].

        Returns:
            The activations h0 … hn: the views, then the output of every block. The last one is
            the embedding [N, E], the one before it the features [N, D].
        """
        activations = [views]
        for block in self.blocks.values():
            activations.append(block(activations[-1]))
        return activations


@contextmanager
def frozen_statistics(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let BatchNorm normalise with the statistics of its batch, and forget them afterwards.

    Inside the block neither running mean and variance nor the batch counters move.
    """
    norms = [m for module in modules for m in module.modules() if isinstance(m, _BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    try:
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        for norm, value in zip(norms, tracked, strict=True):
            norm.track_running_stats = value
