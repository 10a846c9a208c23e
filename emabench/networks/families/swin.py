"""Swin Transformer and Swin Transformer V2."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from emabench.networks.families._family import Family, stages

_PATCH_SIZES = {"original": 4, "3x3-stride2": 2, "3x3": 1}
_WINDOWS = (8, 7, 6, 5, 4)


def _arguments(name: str, stem: str, image_size: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"img_size": image_size}
    default = timm.get_pretrained_cfg(name)
    if stem != "original":
        arguments["patch_size"] = _PATCH_SIZES[stem]
    elif default is not None and image_size == default.input_size[-1]:
        return arguments  # the model's own windows are made for this size
    patches = image_size // _PATCH_SIZES[stem]
    fitting = [size for size in _WINDOWS if patches % size == 0]
    return arguments | ({"window_size": fitting[0]} if fitting else {})


def _blocks(model: Any) -> dict[str, nn.Module]:
    return stages(model.patch_embed, list(model.layers), [model.norm, model.head])


SWIN = Family(
    "swin",
    ("timm.models.swin_transformer", "timm.models.swin_transformer_v2"),
    _blocks,
    arguments=_arguments,
)
"""The stem ``3x3`` takes patches of one pixel, ``3x3-stride2`` of two, the original of four.

The windows are the largest of 8 to 4 patches a side that fill the image without padding; where no
size does, and at the size that the model is made for, they are the model's own.
"""
