"""Whether blocks are the model that they were cut from, found out without leaving a trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn


def is_exact(model: nn.Module, blocks: Mapping[str, nn.Module], images: Tensor) -> bool:
    """Say whether blocks are a cut of a model: its function, and its tensors once each.

    Args:
        model: the model, in any mode; it is as before afterwards.
        blocks: the blocks, first to last.
        images: what to try them on, [N, C, H, W].
    """
    for tensors in (nn.Module.parameters, nn.Module.buffers):
        of_blocks = sorted(id(each) for block in blocks.values() for each in tensors(block))
        if of_blocks != sorted(id(each) for each in tensors(model)):
            return False
    with no_trace((model, *blocks.values()), images.device):
        activation = images
        for block in blocks.values():
            activation = block(activation)
        expected: Tensor = model(images)
    # Half precision, on a GPU that adds in any order, is no finer than this.
    tolerance = max(1e-3, 4 * torch.finfo(expected.dtype).eps)
    return activation.shape == expected.shape and torch.allclose(
        activation, expected, rtol=tolerance, atol=1e-5, equal_nan=True
    )


@contextmanager
def no_trace(modules: tuple[nn.Module, ...], device: torch.device) -> Iterator[None]:
    """Try modules in evaluation mode; modes, buffers and random states come back afterwards."""
    parts = list({id(part): part for each in modules for part in each.modules()}.values())
    modes = [part.training for part in parts]
    buffers = [buffer for part in parts for buffer in part.buffers(recurse=False)]
    kept = [buffer.clone() for buffer in buffers]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        cuda = [device] if device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        if any(part._compiled_call_impl is not None for part in parts):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for part in parts:
                part.training = False  # ``eval()`` may be the class's own, and do more
            yield
        finally:
            for part, mode in zip(parts, modes, strict=True):
                part.training = mode
            for buffer, value in zip(buffers, kept, strict=True):
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
