"""Vision transformers and DeiT (distilled and DeiT III): one block per transformer block."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from emabench.networks.families._family import Family, Part
from emabench.networks.token_grid import TokenGrid

_PATCHES_PER_SIDE = {"3x3": 8, "3x3-stride2": 4}


def _arguments(name: str, stem: str, image_size: int) -> dict[str, Any]:
    if stem == "original":
        return {"img_size": image_size}
    return {
        "img_size": image_size,
        "patch_size": _patch_size(image_size, _PATCHES_PER_SIDE[stem]),
    }


def _patch_size(image_size: int, per_side: int) -> int:
    """Return the size of at most ``per_side`` patches; they cover the image if any near size does.

    A size that does not divide the image would leave out its last rows and columns.
    """
    smallest = max(2, math.ceil(image_size / per_side))
    fitting = (size for size in range(smallest, 2 * smallest) if image_size % size == 0)
    return next(fitting, max(2, image_size // per_side))


def _blocks(model: Any) -> dict[str, nn.Module]:
    before = {"patch_embed", "pos_drop", "patch_drop", "norm_pre"}
    after = set(model._modules) - before - {"blocks", "norm"}
    blocks: dict[str, nn.Module] = {
        "stem": Part(model, "forward_features", before, parameters=True)
    }
    for index, block in enumerate(model.blocks, start=1):
        blocks[f"block{index}"] = block
    last = f"block{len(model.blocks)}"
    head = Part(model, "forward_head", after, parameters=False)
    blocks[last] = nn.Sequential(blocks[last], model.norm, head)
    return blocks


def _tokens(model: Any) -> TokenGrid | None:
    (rows, columns), (height, width) = model.patch_embed.grid_size, model.patch_embed.patch_size
    whole = isinstance(model.patch_drop, nn.Identity) and rows == columns and height == width
    return TokenGrid(rows, height, model.num_prefix_tokens) if whole else None


VIT = Family(
    "vit",
    ("timm.models.vision_transformer", "timm.models.deit"),
    _blocks,
    arguments=_arguments,
    any_size={"dynamic_img_size": True},  # its position embeddings are interpolated
    tokens=_tokens,
)
"""The stem ``3x3`` makes 8 by 8 patches, ``3x3-stride2`` 4 by 4, whatever the image size."""
