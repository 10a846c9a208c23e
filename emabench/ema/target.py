"""The target network: EMA copies of some blocks, the online modules for all others.

With blocks b1 … bn, online activations h0 = views, hi = bi(hi-1), and k the first block of the
scope, the target starts from the online activation h(k-1), detached. The blocks before k are
never run a second time: the same weights on the same batch give the same activations.

What the target runs itself drops no paths and no units, even where the online network does: a
target is to be the same whenever the same image comes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from emabench.errors import UnknownNameError, UsageError, first_line
from emabench.networks.drop_rates import drop_rates, without_dropping
from emabench.networks.encoder import Encoder, frozen_statistics
from emabench.networks.wrapping import unwrapped
from emabench.spec import EmaScope

_Pair = tuple[Tensor, Tensor]
Buffers = Literal["own", "ema", "copy"]


class TargetNetwork(nn.Module):
    """Produces the targets for an EMA scope.

    The copies are its only parts: its ``state_dict`` has them, and not the online blocks, which it
    refers to. A deep copy or a pickle of a module that holds both refers to the online blocks of
    that copy; one of the target alone brings its own online blocks along.

    The copies start in train mode and follow ``train()`` and ``eval()`` of this module, whatever
    the mode of the online blocks is. Make the target last: after the online blocks have their
    weights, their device and their type.

    Args:
        blocks: the online encoder, also in DDP, DataParallel or ``torch.compile``, or its blocks by
            name, first to last; the copies start equal to them.
        scope: the blocks that are averaged, as text (``"projector"``, ``"from:layer4"``) or read.
        buffers: what becomes of the buffers of the copies (BatchNorm statistics): ``own`` leaves
            them to the copies' own forward passes, ``ema`` averages the floating-point ones and
            copies the counters, ``copy`` copies all of them.
        detach: whether the targets of the empty scope are detached; all others always are.

    Attributes:
        scope: the blocks that are averaged.
        copies: the averaged blocks by name; they take no gradient, and drop nothing.

    Raises:
        UsageError: blocks that cannot be named, copied or averaged, or a scope of other blocks.
        UnknownNameError: the scope names no block, or the buffers no policy.
        SpecError: the scope cannot be read.
    """

    def __init__(
        self,
        blocks: Encoder
        | nn.parallel.DistributedDataParallel
        | nn.ModuleDict
        | Mapping[str, nn.Module],
        scope: str | EmaScope,
        *,
        buffers: Buffers = "own",
        detach: bool = True,
    ) -> None:
        super().__init__()
        found = unwrapped(blocks) if isinstance(blocks, nn.Module) else blocks
        encoder = found if isinstance(found, Encoder) else Encoder(found)  # type: ignore[arg-type]
        names = encoder.block_names
        self.scope = EmaScope.parse(scope, names) if isinstance(scope, str) else scope
        if self.scope.blocks != names:
            raise UsageError(
                f"the scope is of blocks {self.scope.blocks}, not of {names}",
                hint="give the scope as text, or read it with the names of these blocks",
            )
        if buffers not in get_args(Buffers):
            raise UnknownNameError("buffers policy", str(buffers), get_args(Buffers))
        self.copies = nn.ModuleDict(
            {name: _copied(name, encoder.blocks[name]) for name in self.scope.averaged}
        ).requires_grad_(False)
        for rate in drop_rates(self.copies):
            rate.set(0.0)
        if buffers == "ema":
            for name, buffer in self.copies.named_buffers():
                if not buffer.isfinite().all():  # a mask, whose average would be NaN
                    raise UsageError(
                        f"buffer {name!r} is infinite and has no average",
                        hint="choose buffers 'own' or 'copy'",
                    )
        self._buffers_policy = buffers
        self._detach = detach
        # In a tuple, so that torch does not take the online encoder for a part of the target.
        self._online = (encoder,)
        self.train()

    def forward(self, activations: Sequence[Tensor]) -> Tensor:
        """Return the targets [N, E] that belong to the online activations h0 … hn.

        The gradient of the result is cut, but for the empty scope of a method that trains both
        branches: there the result is the online embedding itself.

        Args:
            activations: what the encoder gave: the views [N, C, H, W], then what left each block.
        """
        if len(activations) != len(self.scope.blocks) + 1:
            raise UsageError(
                f"{len(activations)} activations do not belong to {len(self.scope.blocks)} blocks",
                hint="give the views, then the output of every block, as the encoder does",
            )
        first = self.scope.first
        if first is None:
            return activations[-1].detach() if self._detach else activations[-1]
        return self._run(activations[first].detach(), self.scope.blocks[first:])

    def without_online_pass(self, views: Tensor) -> Tensor:
        """Return the targets [N, E] of views [N, C, H, W] that the online network does not see.

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
    def update(self, decay: float | Tensor) -> None:
        """Move the copies towards the online blocks: copy ← decay · copy + (1 - decay) · online.

        To be called once per optimiser step, after it. Decay 1 freezes the copies, 0 makes them
        equal to the online blocks, and every value in between stays between old and online.

        Args:
            decay: a number, or a tensor without dimensions that holds it, so that a captured graph
                reads it anew. In float64 it gives float32 and float64 copies the bits that the
                number gives them. Its value is not checked: that would wait for the device.

        Raises:
            UsageError: the decay is a number that is not within 0 and 1, or a tensor of another
                shape.
        """
        if isinstance(decay, Tensor):
            if decay.ndim:
                raise UsageError(
                    f"the decay has the shape {tuple(decay.shape)}, and is one for all copies",
                    hint="give a number, or a tensor without dimensions",
                )
        elif not 0 <= decay <= 1:
            raise UsageError(f"decay {decay} is not within 0 and 1", hint="0.99 is common")
        averaged, copied = self._pairs()
        if averaged:
            mine, theirs = zip(*averaged, strict=True)
            torch._foreach_lerp_(mine, theirs, _weights(1 - decay, mine))
        for old, new in copied:
            old.copy_(new)

    def _pairs(self) -> tuple[list[_Pair], list[_Pair]]:
        """Return the tensors of the copies with their online counterparts: averaged, and copied."""
        averaged: list[_Pair] = []
        copied: list[_Pair] = []
        for name, copy_of_block in self.copies.items():
            block = self._online[0].blocks[name]
            for mine, theirs in zip(copy_of_block.parameters(), block.parameters(), strict=True):
                (copied if _is_whole(mine) else averaged).append((mine, theirs))
            if self._buffers_policy == "own":
                continue
            for old, new in zip(copy_of_block.buffers(), block.buffers(), strict=True):
                averages = self._buffers_policy == "ema" and not _is_whole(old)
                (averaged if averages else copied).append((old, new))
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


def _copied(name: str, block: nn.Module) -> nn.Module:
    """Return a deep copy of a block.

    Raises:
        UsageError: the block has no weights yet, or cannot be copied.
    """
    block = unwrapped(block)
    if any(map(is_lazy, (*block.parameters(), *block.buffers()))):
        raise UsageError(
            f"block {name!r} has no weights yet",
            hint="run the encoder on a batch before, so that its lazy modules are initialised",
        )
    try:
        return copy.deepcopy(block)
    except Exception as error:  # whatever the block is made of
        reason = first_line(error)
        raise UsageError(
            f"block {name!r} cannot be copied: {reason}",
            hint="put torch.nn.utils.parametrizations.weight_norm in the place of "
            "torch.nn.utils.weight_norm, and keep computed tensors out of attributes",
        ) from error


def _weights(weight: float | Tensor, tensors: Sequence[Tensor]) -> float | list[Tensor]:
    """Return what an average takes of the new: one number, or as a tensor beside every other."""
    if not isinstance(weight, Tensor):
        return weight
    kinds = dict.fromkeys((each.device, each.dtype) for each in tensors)
    cast = {(device, dtype): weight.to(device, dtype) for device, dtype in kinds}
    return [cast[each.device, each.dtype] for each in tensors]


def _is_whole(tensor: Tensor) -> bool:
    """Whether a tensor is of whole numbers, which have no averages."""
    return not (tensor.is_floating_point() or tensor.is_complex())
