"""How the families of timm models are cut into blocks, and fitted to small images.

A family is a file here, with three functions: ``arguments`` and ``edits`` fit a model to an image
size and a stem, ``blocks`` cuts it into named modules whose composition is the model.
"""

from __future__ import annotations

import timm
from torch import nn

from emabench.networks.families._family import Family, Part
from emabench.networks.families.convnext import CONVNEXT
from emabench.networks.families.efficientnet import EFFICIENTNET, MOBILENET
from emabench.networks.families.regnet import REGNET
from emabench.networks.families.resnet import RESNET, TORCHVISION_RESNET
from emabench.networks.families.swin import SWIN
from emabench.networks.families.vit import VIT

__all__ = ["FAMILIES", "Family", "Part", "family_by_class", "find_family"]

FAMILIES = (RESNET, VIT, CONVNEXT, EFFICIENTNET, MOBILENET, REGNET, SWIN)
"""Every family that is cut; a model of no family is one block."""


def find_family(name: str) -> Family | None:
    """Return the family of a timm model name, or None if it stays one block."""
    module = timm.models.model_entrypoint(name).__module__
    if module in EFFICIENTNET.modules and name.startswith("mobilenet"):
        return MOBILENET  # timm defines the MobileNets other than V3 and V4 there
    return next((family for family in FAMILIES if module in family.modules), None)


def family_by_class(kind: type[nn.Module]) -> Family | None:
    """Return the family that cuts the models of a class, or None if they stay one block."""
    families = (*FAMILIES, TORCHVISION_RESNET)
    return next((each for each in families if kind.__module__ in each.modules), None)
