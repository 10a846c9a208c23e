"""The target network: EMA copies of some blocks, the online modules for all others.

With blocks b1 … bn, online activations h0 = views, hi = bi(hi-1), and k the first block of the
scope, the target starts from the online activation h(k-1), detached. The blocks before k are
never run a second time: the same weights on the same batch give the same activations.

What the target runs itself drops no paths and no units, even where the online network does: a
target is to be the same whenever the same image comes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emabench.networks.drop_rates import drop_rates, without_dropping
from emabench.networks.encoder import Encoder, frozen_statistics
from emabench.spec import EmaScope

_Pair = tuple[Tensor, Tensor]


class TargetNetwork(nn.Module):
    """Produces the targets for an EMA scope.

    Args:
        encoder: the online encoder; the copies start equal to its blocks.
        scope: the blocks that are averaged.
        buffers: what becomes of the buffers of the copies (BatchNorm statistics): ``own`` leaves
            them to the copies' own forward passes, ``ema`` averages the floating-point ones and
            copies the counters, ``copy`` copies all of them.
        detach: whether the targets of the empty scope are detached; all others always are.
    """

    def __init__(
        self, encoder: Encoder, scope: EmaScope, *, buffers: str = "own", detach: bool = True
    ) -> None:
        super().__init__()
        if scope.blocks != encoder.block_names:
            raise ValueError(f"the scope is of blocks {scope.blocks}, not of {encoder.block_names}")
        self.scope = scope
        self.copies = nn.ModuleDict(
            {name: copy.deepcopy(encoder.blocks[name]) for name in scope.averaged}
        ).requires_grad_(False)
        for rate in drop_rates(self.copies):
            rate.set(0.0)
        self._buffers_policy = buffers
        self._detach = detach
        # In a tuple, so that torch does not take the online encoder for a part of the target.
        self._online = (encoder,)
        self.train()

    def forward(self, activations: Sequence[Tensor]) -> Tensor:
        """Return the targets [N, E] that belong to the online activations h0 … hn.

        The gradient of the result is cut, but for the empty scope of a method that trains both
        branches: there the result is the online embedding itself.
        """
        first = self.scope.first
        if first is None:
            return activations[-1].detach() if self._detach else activations[-1]
        return self._run(activations[first].detach(), self.scope.blocks[first:])

    def without_online_pass(self, views: Tensor) -> Tensor:
        """Return the targets [N, E] of views [N, 3, S, S] that the online network does not see.

        All blocks run once, without gradient; those that are the online modules leave their
        BatchNorm statistics alone.
        """
        return self._run(views, self.scope.blocks)

    def _run(self, activation: Tensor, names: Sequence[str]) -> Tensor:
        """Run some blocks one after another: copies, or the online modules without gradient."""
        online = self._online[0].blocks
        reused = [online[name] for name in names if name not in self.copies]
        with torch.no_grad(), frozen_statistics(reused), without_dropping(reused):
            for name in names:
                activation = self.block(name)(activation)
        return activation

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move the copies towards the online blocks: copy ← decay · copy + (1 - decay) · online.

        To be called once per optimiser step, after it. Decay 1 freezes the copies, 0 makes them
        equal to the online blocks, and every value in between stays between old and online.
        """
        averaged, copied = self._pairs()
        if averaged:
            mine, theirs = zip(*averaged, strict=True)
            torch._foreach_lerp_(mine, theirs, 1 - decay)
        for old, new in copied:
            old.copy_(new)

    def _pairs(self) -> tuple[list[_Pair], list[_Pair]]:
        """Return the tensors of the copies with their online counterparts: averaged, and copied."""
        averaged: list[_Pair] = []
        copied: list[_Pair] = []
        for name, copy_of_block in self.copies.items():
            block = self._online[0].blocks[name]
            averaged += zip(copy_of_block.parameters(), block.parameters(), strict=True)
            if self._buffers_policy == "own":
                continue
            for mine, theirs in zip(copy_of_block.buffers(), block.buffers(), strict=True):
                averages = self._buffers_policy == "ema" and mine.is_floating_point()
                (averaged if averages else copied).append((mine, theirs))
        return averaged, copied

    def block(self, name: str) -> nn.Module:
        """Return the module that the target runs for a block: its copy, or the online module."""
        return self.copies[name] if name in self.copies else self._online[0].blocks[name]

    @property
    def ema_bytes(self) -> int:
        """Bytes that the copies hold, parameters and buffers."""
        return sum(tensor.nbytes for tensor in (*self.copies.parameters(), *self.copies.buffers()))

    @property
    def update_bytes(self) -> int:
        """Bytes that one update moves: an average reads two tensors and writes one."""
        averaged, copied = self._pairs()
        return 3 * sum(mine.nbytes for mine, _ in averaged) + 2 * sum(m.nbytes for m, _ in copied)
