"""All timm models of the cut families that are small, or that options make small."""

import pytest
import timm
import torch

from emabench.networks.backbone import build_backbone, family_of
from emabench.networks.families import FAMILIES
from emabench.spec import BackboneSpec

SMALL = 12e6
SHRUNK = {
    "vit": {"depth": 1, "embed_dim": 96, "num_heads": 2},
    "convnext": {"depths": [1, 1, 1, 1], "dims": [16, 24, 32, 40]},
    "swin": {"depths": [1, 2, 1, 1], "embed_dim": 32, "num_heads": [1, 2, 4, 8]},
}


def parameters(name):
    with torch.device("meta"):
        return sum(p.numel() for p in timm.create_model(name, num_classes=0).parameters())


def what_is_wrong(backbone, images):
    """Compose the blocks in eval and in train mode, with the same dropout and statistics."""
    if not backbone.cut:
        return "one block"
    for training in (False, True):
        backbone.model.train(training)
        backbone.blocks.train(training)
        state = {key: value.clone() for key, value in backbone.model.named_buffers()}
        torch.manual_seed(1)
        composed = images
        for name, block in backbone.blocks.items():
            given = composed.clone()
            before, composed = composed, block(composed)
            if not torch.equal(before, given):
                return f"{name} changes its input"
        if training:
            composed.square().sum().backward()
        with torch.no_grad():
            for key, value in backbone.model.named_buffers():
                value.copy_(state[key])
        torch.manual_seed(1)
        if not torch.equal(composed, backbone.model(images)):
            return f"the composition differs, training={training}"
    if any(p.grad is None for p in backbone.model.parameters()):
        return "a parameter has no gradient"
    return None


@pytest.mark.slow
@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_every_small_model_is_cut_without_changing_it(family):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wrong, tried = {}, 0
    for name in timm.list_models():
        if family_of(name) != family:
            continue
        options = {} if parameters(name) <= SMALL else SHRUNK.get(family)
        if options is None:
            continue
        tried += 1
        spec = BackboneSpec(name=name, options=options)
        found = what_is_wrong(build_backbone(spec, images.shape[-1]), images)
        if found:
            wrong[name] = found
    assert tried >= 5
    assert wrong == {}
