"""EfficientNet and MobileNet, and what timm builds of the same parts (MixNet, MNASNet, FBNet…)."""

from __future__ import annotations

from typing import Any

from torch import nn

from emabench.networks.families._family import Family, small_convolution, stages


def _edits(model: Any, stem: str) -> dict[str, nn.Module]:
    if stem == "original":
        return {}
    return {"conv_stem": small_convolution(model.conv_stem.out_channels, stem)}


def _blocks(model: Any) -> dict[str, nn.Module]:
    # The heads differ (a MobileNetV3 pools before its last convolution): timm knows their order.
    convolution, norm, *layers = model.as_sequential()
    count = len(model.blocks)
    return stages(nn.Sequential(convolution, norm), layers[:count], layers[count:])


EFFICIENTNET = Family("efficientnet", ("timm.models.efficientnet",), _blocks, edits=_edits)
"""The stem ``3x3-stride2`` is the original one but for details: ``3x3`` takes the stride away."""

MOBILENET = Family("mobilenet", ("timm.models.mobilenetv3",), _blocks, edits=_edits)
"""MobileNet V1 to V4 and others of timm's module ``mobilenetv3`` (LCNet, FBNetV3)."""
