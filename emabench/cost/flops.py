"""Floating-point operations, by torch's own counter: eager, fused attention off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


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
