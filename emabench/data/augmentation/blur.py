"""Gaussian blur with one standard deviation per image, as torchvision defines it."""

from __future__ import annotations

import torch
from torch import Tensor


def kernel_size(size: int) -> int:
    """Return the odd width in pixels of the blur kernel for images of this size.

    A tenth of the side, at least 3: SimCLR's rule (arXiv 2002.05709, appendix A).
    """
    return max(3, size // 10 | 1)


def gaussian_blur(images: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    """Blur each image with a truncated, normalised Gaussian and reflecting borders.

    Args:
        images: float32 ``[n, 3, H, W]``, contiguous.
        sigma: standard deviation in pixels, float32 ``[n]``.
        kernel: odd width of the kernel in pixels, at most 2 · min(H, W) - 1.

    Returns:
        A new tensor of the same shape.
    """
    n, channels, height, width = images.shape
    vertical = _band_matrix(sigma, kernel, height)
    horizontal = vertical if height == width else _band_matrix(sigma, kernel, width)
    rows = torch.bmm(images.view(n, channels * height, width), horizontal)
    rows = rows.view(n, channels, height, width)
    return torch.matmul(vertical.transpose(1, 2).unsqueeze(1), rows)


def _band_matrix(sigma: Tensor, kernel: int, size: int) -> Tensor:
    """Return the blur along one axis as matrices ``[n, source, result]`` with columns summing to 1.

    A matrix rather than shifted sums: its cost does not grow with the kernel, and reflection at
    the borders is part of it.
    """
    half = kernel // 2
    offset = torch.arange(-half, half + 1, device=sigma.device)
    weights = torch.exp(-0.5 * (offset / sigma[:, None]).square())
    weights /= weights.sum(dim=1, keepdim=True)
    position = torch.arange(size, device=sigma.device)
    source = (position + offset[:, None]).abs()
    source = size - 1 - (size - 1 - source).abs()
    matrix = torch.zeros(sigma.shape[0], size, size, device=sigma.device)
    for tap in range(kernel):
        # One tap at a time: within a tap every result has one source, so no entry is hit twice.
        matrix[:, source[tap], position] += weights[:, tap, None]
    return matrix
