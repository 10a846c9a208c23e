"""Masks of I-JEPA: rectangles of patches to predict, and a large one to predict them from.

As in the authors' code (github.com/facebookresearch/ijepa): all images of a step have rectangles of
one size, each in places of its own; the context loses what the targets cover, and its last patches
where another image of the step has fewer. There a place is drawn until the context has enough
patches; here so many places are drawn at once, and the first that will do is taken.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

_TRIES = 20
"""Places of the context for each target that is allowed into it in the end."""
Bounds = tuple[float, float]


def block_size(side: int, scale: Bounds, aspect: Bounds, share: float) -> tuple[int, int]:
    """Return height and width of a rectangle in patches; each is less than the side.

    Args:
        side: patches in a row of the image.
        scale: least and largest area, as a share of the image.
        aspect: least and largest height ÷ width.
        share: how far between both, from 0 to 1; of area and aspect together.
    """
    area = int(side**2 * (scale[0] + share * (scale[1] - scale[0])))
    ratio = aspect[0] + share * (aspect[1] - aspect[0])
    height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    return min(height, side - 1), min(width, side - 1)


def draw_blocks(
    images: int,
    targets: int,
    side: int,
    target_size: tuple[int, int],
    context_size: tuple[int, int],
    min_keep: int,
    generator: Generator,
) -> tuple[Tensor, Tensor]:
    """Draw the patches of the context and of the targets of each image.

    Args:
        images: number N of images.
        targets: number T of targets of an image.
        side: patches in a row of the image.
        target_size: height and width of a target.
        context_size: those of the context, before the targets are cut out.
        min_keep: the context is to have more patches than this. After 20 places without success
            it may cover the last target, after 20 more the last two, and so on.
        generator: on the CPU.

    Returns:
        Index [N, K] of the context's patches and [N, T, M] of the targets', both row by row.
    """
    corners = _corners((images, targets), side, target_size, generator)
    hidden = _patches(corners, side, target_size)
    places = _corners((images, _TRIES * targets + 1), side, context_size, generator)
    covered = torch.zeros(images, targets, side**2, dtype=torch.bool).scatter(2, hidden, True)
    ever = covered.cummax(dim=1).values.flip(1)  # by all targets, by all but the last, …
    free = ~torch.cat([ever, torch.zeros_like(ever[:, :1])], dim=1)  # [N, T + 1, L]
    allowed = torch.arange(places.shape[1]) // _TRIES
    counts = _free_within(free, allowed, places, side, context_size)
    chosen = (counts > min_keep).byte().argmax(dim=1)  # the first one
    rows = torch.arange(images)
    context = _patches(places[rows, chosen], side, context_size)
    kept = free[rows, allowed[chosen]].gather(1, context)
    ordered = torch.where(kept, context, side**2).sort(dim=1).values
    return ordered[:, : int(kept.sum(dim=1).min())], hidden


def _corners(
    shape: tuple[int, int], side: int, size: tuple[int, int], generator: Generator
) -> Tensor:
    """Draw rows and columns [*shape, 2] of upper left corners; as published, none is the last."""
    drawn = [torch.randint(0, side - length, shape, generator=generator) for length in size]
    return torch.stack(drawn, dim=-1)


def _patches(corners: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """Return the patches [..., height · width] of rectangles at corners [..., 2], row by row."""
    rows = corners[..., :1] + torch.arange(size[0])
    columns = corners[..., 1:] + torch.arange(size[1])
    return (side * rows.unsqueeze(-1) + columns.unsqueeze(-2)).flatten(-2)


def _free_within(
    free: Tensor, which: Tensor, corners: Tensor, side: int, size: tuple[int, int]
) -> Tensor:
    """Count what is free within rectangles.

    Args:
        free: maps [N, A, L] of an image.
        which: map [C] of each rectangle.
        corners: [N, C, 2] of the rectangles.
        side: patches in a row of the image.
        size: of the rectangles.

    Returns:
        [N, C].
    """
    sums = F.pad(free.unflatten(2, (side, side)).cumsum(2).cumsum(3), (1, 0, 1, 0)).flatten(1)
    start = which * (side + 1) ** 2

    def up_to(down: int, right: int) -> Tensor:
        rows, columns = corners[..., 0] + down, corners[..., 1] + right
        return sums.gather(1, start + (side + 1) * rows + columns)

    height, width = size
    return up_to(height, width) - up_to(0, width) - up_to(height, 0) + up_to(0, 0)
