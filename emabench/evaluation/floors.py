"""What a trained network has to beat: the raw pixels, and itself before its training."""

from __future__ import annotations

import torch
from torch import nn

from emabench.networks.backbone import build_backbone
from emabench.networks.backbone_plugins import PIXELS
from emabench.spec import BackboneSpec, PretrainSpec
from emabench.spec.linear_eval import FLOORS
from emabench.spec.streams import derive


def floors(spec: PretrainSpec, image_size: int) -> dict[str, nn.Module]:
    """Return models that map images [N, 3, S, S] to features [N, D], by ``FLOORS``.

    Args:
        spec: the pretraining; its seed gives the weights that it started from, before any that it
            was given.
        image_size: side of the images in pixels.
    """
    pixels = BackboneSpec(name=PIXELS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(spec.seed, "init"))
        built = [build_backbone(each, image_size) for each in (pixels, spec.backbone)]
    return {name: each.model for name, each in zip(FLOORS, built, strict=True)}
