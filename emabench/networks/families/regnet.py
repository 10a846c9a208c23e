"""RegNet X, Y, Z and V."""

from __future__ import annotations

from typing import Any

from torch import nn

from emabench.networks.families._family import Family, small_convolution, stages


def _edits(model: Any, stem: str) -> dict[str, nn.Module]:
    if stem == "original":
        return {}
    # A pre-activation RegNet begins with the bare convolution.
    bare = isinstance(model.stem, nn.Conv2d)
    convolution = model.stem if bare else model.stem.conv
    return {"stem" if bare else "stem.conv": small_convolution(convolution.out_channels, stem)}


def _blocks(model: Any) -> dict[str, nn.Module]:
    parts = [model.s1, model.s2, model.s3, model.s4]
    return stages(model.stem, parts, [model.final_conv, model.head])


REGNET = Family("regnet", ("timm.models.regnet",), _blocks, edits=_edits)
"""The stem ``3x3-stride2`` is the original one; ``3x3`` takes the stride away."""
