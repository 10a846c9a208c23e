"""Colour operations on batches with one factor per image, as torchvision defines them.

Every function takes float32 ``[n, 3, H, W]`` in 0..255, contiguous, changes it in place where it
can, and returns the result in the same range. Nothing is rounded in between.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""The weights of red, green and blue in grey (ITU-R 601, as torchvision writes them)."""


def _per_image(factor: Tensor) -> Tensor:
    return factor.view(-1, 1, 1, 1)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply each image by its factor (``[n]``, ≥ 0) and clamp."""
    return images.mul_(_per_image(factor)).clamp_max_(255.0)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its mean grey; factor ``[n]``: 0 is flat grey, 1 changes nothing."""
    red, green, blue = images.mean(dim=(2, 3)).unbind(1)
    mean = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    offset = mean * (1.0 - factor)
    return images.mul_(_per_image(factor)).add_(_per_image(offset)).clamp_(0.0, 255.0)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its grey version; factor ``[n]``: 0 is grey, 1 changes nothing."""
    n = images.shape[0]
    rest = 1.0 - factor
    # The blend is one 3x3 matrix per image: factor · identity + (1 - factor) · rows of LUMA.
    mix = torch.stack([rest * weight for weight in LUMA], dim=1)[:, None].repeat(1, 3, 1)
    mix.diagonal(dim1=1, dim2=2).add_(factor.view(n, 1))
    return torch.bmm(mix, images.view(n, 3, -1)).view_as(images).clamp_(0.0, 255.0)


def to_grey(images: Tensor) -> Tensor:
    """Replace each image by its grey version, kept in three channels."""
    red, green, blue = images.unbind(1)
    grey = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    return grey.unsqueeze(1).expand_as(images)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of each image; shift ``[n]`` in turns, -0.5..0.5.

    This is the hexcone (HSV) hue, exact up to rounding. With V and S unchanged, a channel is a
    trapezoid of the hue: it is computed as minimum + chroma · trapezoid, without branches.
    """
    red, green, blue = images.unbind(1)
    high = torch.maximum(red, green)
    low = torch.minimum(red, green)
    torch.maximum(high, blue, out=high)
    torch.minimum(low, blue, out=low)
    chroma = high - low
    # Distances to the largest channel; a sign of 0 says which channel is the largest.
    from_red, from_green, from_blue = high - red, high - green, high - blue
    double = chroma + chroma
    if_red = from_blue - from_green
    if_green = (from_red - from_blue).add_(double)
    if_blue = (from_green - from_red).add_(double, alpha=2.0)
    if_blue.sub_(if_green).mul_(from_green.sign_()).add_(if_green)
    turn = if_blue.sub_(if_red).mul_(from_red.sign_()).add_(if_red)
    # Sixths of the hue over chroma; grey pixels have no hue and any value will do.
    turn.div_((chroma * 6.0).clamp_min_(1e-5))
    # At least -1/6 - 1/2 before the 2, so the fraction is that of a positive number.
    turn.add_((shift + 2.0).view(-1, 1, 1))
    torch.frac(turn, out=turn)
    slope = chroma * 6.0
    fall = low - chroma
    rise = low + double
    result = torch.empty_like(images)
    ramp = (turn - 0.5).abs_().clamp_(1 / 6, 1 / 3)
    torch.addcmul(fall, slope, ramp, out=result[:, 0])
    ramp = (turn - 1 / 3).abs_().clamp_(1 / 6, 1 / 3)
    torch.addcmul(rise, slope, ramp, value=-1.0, out=result[:, 1])
    ramp = (turn - 2 / 3).abs_().clamp_(1 / 6, 1 / 3)
    torch.addcmul(rise, slope, ramp, value=-1.0, out=result[:, 2])
    return result.clamp_(0.0, 255.0)


def solarize(images: Tensor, threshold: int) -> Tensor:
    """Invert the values that are at least ``threshold`` (0..255) once rounded to integers."""
    return torch.where(images >= threshold - 0.5, 255.0 - images, images)
