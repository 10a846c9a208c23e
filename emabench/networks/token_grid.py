"""The tokens that a vision transformer makes of an image, and taking some of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenGrid:
    """The tokens of an image: those without a place first, then a square of patches, row by row.

    Attributes:
        side: patches in a row, and rows.
        patch: side of a patch in pixels.
        prefix: tokens before the patches: class token, registers.
    """

    side: int
    patch: int
    prefix: int

    @property
    def patches(self) -> int:
        """Number L of the patches of an image."""
        return self.side**2


def take_patches(tokens: Tensor, index: Tensor) -> Tensor:
    """Return the patches [N, K, D] of [N, L, D] that an index [N, K] names, in its order."""
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def take_visible(tokens: Tensor, visible: Tensor, patches: int) -> Tensor:
    """Return the tokens that are not hidden: all of the prefix, and some patches.

    Args:
        tokens: [N, P + L, D], the prefix first.
        visible: index [N, K] of the patches to keep.
        patches: their number L.

    Returns:
        [N, P + K, D].
    """
    prefix, rest = tokens.split([tokens.shape[1] - patches, patches], dim=1)
    return torch.cat([prefix, take_patches(rest, visible)], dim=1)
