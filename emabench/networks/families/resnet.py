"""ResNet, ResNeXt, Wide ResNet, SE- and ECA-ResNet: what timm builds in its module ``resnet``.

The ResNets of torchvision are cut in the same places.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from emabench.networks.families._family import Family, small_convolution


def _edits(model: Any, stem: str) -> dict[str, nn.Module]:
    if stem == "original":
        return {}
    return {
        "conv1": small_convolution(model.bn1.num_features, stem),
        "maxpool": nn.Identity(),
    }


def _blocks(model: Any) -> dict[str, nn.Module]:
    head = [model.global_pool]
    if model.drop_rate:
        head.append(nn.Dropout(float(model.drop_rate)))
    return {
        "stem": nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool),
        "layer1": model.layer1,
        "layer2": model.layer2,
        "layer3": model.layer3,
        "layer4": nn.Sequential(model.layer4, *head),
    }


def _torchvision_blocks(model: Any) -> dict[str, nn.Module]:
    return {
        "stem": nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool),
        "layer1": model.layer1,
        "layer2": model.layer2,
        "layer3": model.layer3,
        "layer4": nn.Sequential(model.layer4, model.avgpool, nn.Flatten()),
    }


def _fc(model: Any) -> nn.Module:
    fc: nn.Module = model.fc
    return fc


RESNET = Family("resnet", ("timm.models.resnet",), _blocks, edits=_edits)
"""The stem ``3x3`` puts one convolution in the place of the first ones and drops the pooling."""

TORCHVISION_RESNET = Family(
    "resnet", ("torchvision.models.resnet",), _torchvision_blocks, classifier=_fc
)
"""Not built here, but cut where somebody brings one."""
