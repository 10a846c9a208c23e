"""Floating-point operations, by torch's own counter: eager, fused attention off."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class BlockCost:
    """The size of one block and the work of its forward pass on one image.

    Attributes:
        name: name of the block.
        parameters: number of parameters.
        flops: floating-point operations, one multiply-add = 2.
    """

    name: str
    parameters: int
    flops: int


def count_flops(function: Callable[[], Any]) -> int:
    """Return the floating-point operations of a call, one multiply-add = 2.

    The counter knows matrix products and convolutions; element-wise work (activations,
    normalisation, the EMA update) is not counted.
    """
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        function()
    return int(counter.get_total_flops())


@contextmanager
def shapes_only(module: Network) -> Iterator[Network]:
    """Give a copy of a module whose tensors have shapes and no content, and compute so inside.

    It takes next to no memory and time to run, and what ``count_flops`` finds is the same. Tensors
    made inside the block have no content either.
    """
    mode = FakeTensorMode()
    copied: dict[int, Any] = {
        id(tensor): mode.from_tensor(tensor) for tensor in (*module.parameters(), *module.buffers())
    }
    network = copy.deepcopy(module, copied)
    with mode:
        yield network


def block_costs(
    blocks: Mapping[str, nn.Module] | nn.ModuleDict, image_size: int
) -> list[BlockCost]:
    """Return parameters and forward operations of consecutive blocks for one image.

    Args:
        blocks: the blocks, first to last; the first takes images [1, 3, S, S].
        image_size: S in pixels.
    """
    costs: list[BlockCost] = []
    activation = torch.zeros(1, 3, image_size, image_size)
    for name, block in blocks.items():
        was_training = block.training
        block.eval()
        with torch.no_grad():
            flops = count_flops(partial(block, activation))
            activation = block(activation)
        block.train(was_training)
        costs.append(BlockCost(name, sum(p.numel() for p in block.parameters()), flops))
    return costs
