"""The encoder: named blocks, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from emabench.errors import UsageError
from emabench.spec.scope import check_block_names


class Encoder(nn.Module):
    """An ordered list of named blocks, as a rule those of a backbone and a projector.

    Args:
        blocks: the blocks by name, first to last, for example
            ``{**emabench.cut(model), "projector": head}``. Each takes what the one before it gives,
            and leaves it as it is. Blocks may share parameters.

    Raises:
        UsageError: a name cannot be used in an EMA scope, or one module has two names.
    """

    def __init__(self, blocks: Mapping[str, nn.Module] | nn.ModuleDict) -> None:
        super().__init__()
        if not isinstance(blocks, Mapping | nn.ModuleDict):
            raise UsageError(
                f"named blocks are needed, not a {type(blocks).__name__}",
                hint="emabench.cut(model) gives a dict of them",
            )
        check_block_names(tuple(blocks))
        self.blocks = nn.ModuleDict()
        names: dict[nn.Module, str] = {}
        for name, block in blocks.items():
            if hasattr(self.blocks, name):
                raise UsageError(
                    f"a block cannot be named {name!r}: torch.nn.ModuleDict has that attribute",
                    hint="rename the block",
                )
            if not isinstance(block, nn.Module):
                raise UsageError(
                    f"block {name!r} is a {type(block).__name__}",
                    hint="make it a torch.nn.Module",
                )
            if block in names:
                raise UsageError(
                    f"blocks {names[block]!r} and {name!r} are one module",
                    hint="copy it, or make one block of them; parameters may be shared",
                )
            names[block] = name
        self.blocks.update(dict(blocks.items()))

    @property
    def block_names(self) -> tuple[str, ...]:
        """Names of all blocks, first to last."""
        return tuple(self.blocks)

    def forward(
        self, views: Tensor, between: Callable[[Tensor], Tensor] | None = None
    ) -> list[Tensor]:
        """Run every block on views [N, C, H, W].

        Args:
            views: the views.
            between: applied to what leaves the first block: it hides tokens of a ViT, for example.

        Returns:
            The activations h0 … hn: the views, then the output of every block. The last one is
            the embedding [N, E]; of an encoder that ends in a projector the one before it is the
            features [N, D].

        Raises:
            UsageError: a block gives no tensor, or changes its input, from which the target may
                have to start.
        """
        activations = [views]
        for name, block in self.blocks.items():
            before = activations[-1]
            version = _version(before)
            after = block(before)
            if not isinstance(after, Tensor):
                raise UsageError(
                    f"block {name!r} gives a {type(after).__name__}",
                    hint="wrap it in a module that gives one tensor",
                )
            if _version(before) != version:
                raise UsageError(
                    f"block {name!r} changes its input in place",
                    hint="build it with inplace=False",
                )
            if between is not None and len(activations) == 1:
                after = between(after)
            activations.append(after)
        return activations


def _version(tensor: Tensor) -> int:
    """Return what every change in place counts up, where torch counts."""
    if torch.compiler.is_compiling() or tensor.is_inference():
        return 0
    return tensor._version


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
