"""ConvNeXt and ConvNeXt V2."""

from __future__ import annotations

from typing import Any

from torch import nn

from emabench.networks.families._family import Family, stages


def _edits(model: Any, stem: str) -> dict[str, nn.Module]:
    """Put one 3x3 convolution in the place of the patches.

    timm's own ``patch_size`` is no way to a small stride: with 2 the first stage halves the image
    instead.
    """
    if stem == "original":
        return {}
    edits: dict[str, nn.Module] = {}
    stride = 2 if stem == "3x3-stride2" else 1
    for index, old in enumerate(model.stem):
        if isinstance(old, nn.Conv2d):
            bias = old.bias is not None
            new = nn.Conv2d(old.in_channels, old.out_channels, 3, stride, padding=1, bias=bias)
            nn.init.trunc_normal_(new.weight, std=0.02)
            if new.bias is not None:
                nn.init.zeros_(new.bias)
            edits[f"stem.{index}"] = new
            stride = 1  # the overlapping stems have a second convolution
    return edits


def _blocks(model: Any) -> dict[str, nn.Module]:
    return stages(model.stem, list(model.stages), [model.norm_pre, model.head])


CONVNEXT = Family("convnext", ("timm.models.convnext",), _blocks, edits=_edits)
"""The stem ``3x3`` gives the first stage the whole resolution, instead of a quarter of it."""
