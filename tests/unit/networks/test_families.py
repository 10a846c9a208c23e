"""Every family is cut such that its blocks are the timm model, and fits small images."""

import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from emabench.errors import SpecError
from emabench.networks import backbone as backbone_module
from emabench.networks.backbone import build_backbone, family_of
from emabench.networks.families import Part, find_family
from emabench.spec import BackboneSpec

LAYERS = ("stem", "layer1", "layer2", "layer3", "layer4")
BLOCKS = ("stem", "block1", "block2")
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7")
SHALLOW = {"depth": 2, "embed_dim": 48, "num_heads": 2}
SMALL_SWIN = {"depths": [2, 1, 2, 1], "embed_dim": 16, "num_heads": [1, 2, 2, 4]}
SMALL_CONVNEXT = {"depths": [1, 1, 2, 1], "dims": [8, 16, 16, 24]}
SMALL = {
    "resnext50_32x4d": ({"layers": [1, 1, 1, 1], "channels": [16, 16, 32, 32]}, LAYERS),
    "seresnet18": ({"layers": [1, 1, 1, 1], "channels": [16, 16, 32, 32]}, LAYERS),
    "vit_tiny_patch16_224": (SHALLOW, BLOCKS),
    "vit_wee_patch16_reg1_gap_256": (SHALLOW, BLOCKS),
    "deit_tiny_patch16_224": (SHALLOW, BLOCKS),
    "deit_tiny_distilled_patch16_224": (SHALLOW, BLOCKS),
    "deit3_small_patch16_224": (SHALLOW, BLOCKS),
    "convnext_atto": (SMALL_CONVNEXT, STAGES[:5]),
    "convnext_atto_ols": (SMALL_CONVNEXT, STAGES[:5]),
    "convnextv2_atto": (SMALL_CONVNEXT, STAGES[:5]),
    "test_efficientnet": ({}, STAGES[:6]),
    "mobilenetv2_050": ({}, STAGES),
    "mobilenetv3_small_050": ({}, STAGES[:7]),
    "mobilenetv4_conv_small_035": ({}, STAGES[:6]),
    "regnetx_002": ({}, STAGES[:5]),
    "swin_tiny_patch4_window7_224": (SMALL_SWIN, STAGES[:5]),
    "swinv2_tiny_window8_256": (SMALL_SWIN, STAGES[:5]),
}
ONE_OF_EACH = {
    "resnext50_32x4d",
    "deit_tiny_distilled_patch16_224",
    "convnext_atto",
    "test_efficientnet",
    "mobilenetv3_small_050",
    "regnetx_002",
    "swin_tiny_patch4_window7_224",
}
EACH_FAMILY = [
    pytest.param(name, marks=() if name in ONE_OF_EACH else pytest.mark.slow) for name in SMALL
]
"""All of the small models; of each family one in the fast suite."""


def build(name, size=32, stem="auto", **options):
    torch.manual_seed(0)
    small, _ = SMALL.get(name, ({}, ()))
    fields = {"name": name, "stem": stem, "options": small | options}
    return build_backbone(BackboneSpec.parse(fields, what="backbone"), size)


def activations(backbone, images):
    found = [images]
    for block in backbone.blocks.values():
        found.append(block(found[-1]))
    return found


@pytest.mark.parametrize("name", SMALL)
def test_the_blocks_are_the_model_in_eval_and_in_train_mode(name):
    backbone = build(name, drop_rate=0.2, drop_path_rate=0.2)
    assert backbone.block_names == SMALL[name][1]
    images = torch.randn(4, 3, 32, 32)
    for training in (False, True):
        backbone.model.train(training)
        backbone.blocks.train(training)
        buffers = {key: value.clone() for key, value in backbone.model.named_buffers()}
        torch.manual_seed(1)
        composed = activations(backbone, images)[-1]
        with torch.no_grad():
            for key, value in backbone.model.named_buffers():
                value.copy_(buffers[key])
        torch.manual_seed(1)
        assert torch.equal(composed, backbone.model(images))


@pytest.mark.parametrize("name", SMALL)
def test_the_blocks_hold_every_parameter_and_buffer_once(name):
    backbone = build(name)
    for tensors in (nn.Module.parameters, nn.Module.buffers):
        held = [id(each) for block in backbone.blocks.values() for each in tensors(block)]
        assert sorted(held) == sorted(id(each) for each in tensors(backbone.model))


@pytest.mark.parametrize("name", EACH_FAMILY)
def test_gradients_through_the_blocks_are_those_of_the_model(name):
    backbone = build(name)
    backbone.model.eval()
    backbone.blocks.eval()
    images = torch.randn(2, 3, 32, 32)
    weights = list(backbone.model.parameters())
    composed = torch.autograd.grad(activations(backbone, images)[-1].square().sum(), weights)
    whole = torch.autograd.grad(backbone.model(images).square().sum(), weights)
    assert all(torch.equal(one, other) for one, other in zip(composed, whole, strict=True))


@pytest.mark.parametrize("name", EACH_FAMILY)
def test_a_copy_of_one_block_is_the_block_on_weights_of_its_own(name):
    backbone = build(name)
    backbone.blocks.eval()
    found = activations(backbone, torch.randn(2, 3, 32, 32))
    for block, (before, after) in zip(backbone.blocks.values(), pairwise(found), strict=True):
        copied = copy.deepcopy(block)
        assert {id(p) for p in copied.parameters()}.isdisjoint(
            id(p) for p in backbone.model.parameters()
        )
        assert torch.equal(copied(before), after)
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter.zero_()
        assert torch.equal(block(before), after)


@pytest.mark.parametrize("name", EACH_FAMILY)
def test_no_block_changes_its_input(name):
    # The target starts from the activations that the online blocks were given.
    backbone = build(name)
    activation = torch.randn(2, 3, 32, 32)
    for block in backbone.blocks.values():
        kept = activation.clone()
        result = block(activation)
        assert torch.equal(activation, kept)
        activation = result


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("name", EACH_FAMILY)
def test_every_family_trains_on_small_images(name, size):
    backbone = build(name, size)
    assert backbone.cut
    activations(backbone, torch.randn(2, 3, size, size))[-1].square().sum().backward()
    assert all(p.grad.isfinite().all() for p in backbone.model.parameters())


@pytest.mark.parametrize(
    ("name", "whole", "strided", "original"),
    [
        # Sides of what leaves the stem, and the block after it, of images of 32 pixels.
        ("resnext50_32x4d", (32, 32), (16, 16), (8, 8)),
        ("convnext_atto", (32, 32), (16, 16), (8, 8)),
        ("convnext_atto_ols", (32, 32), (16, 16), (8, 8)),
        ("mobilenetv2_050", (32, 32), (16, 16), (16, 16)),
        ("mobilenetv3_small_050", (32, 16), (16, 8), (16, 8)),
        ("regnetx_002", (32, 16), (16, 8), (16, 8)),
        ("swin_tiny_patch4_window7_224", (32, 32), (16, 16), (8, 8)),
    ],
)
def test_the_stem_sets_the_resolution(name, whole, strided, original):
    axis = 1 if family_of(name) == "swin" else 2
    for stem, sides in (("auto", whole), ("3x3-stride2", strided), ("original", original)):
        backbone = build(name, stem=stem)
        backbone.blocks.eval()
        found = activations(backbone, torch.randn(1, 3, 32, 32))
        assert (found[1].shape[axis], found[2].shape[axis]) == sides


@pytest.mark.parametrize(
    ("size", "stem", "patches"),
    [(28, "auto", 7), (32, "auto", 8), (64, "auto", 8), (28, "3x3-stride2", 4), (48, "3x3", 8)],
)
def test_small_patches_cover_the_whole_image(size, stem, patches):
    grid = build("vit_tiny_patch16_224", size, stem).model.patch_embed
    assert grid.grid_size == (patches, patches)
    assert grid.patch_size[0] * patches == size


@pytest.mark.parametrize(
    ("size", "stem", "window"),
    [
        (28, "auto", 7),
        (32, "auto", 8),
        (64, "auto", 8),
        (28, "3x3-stride2", 7),
        (96, "original", 8),
    ],
)
def test_the_windows_of_a_swin_fill_the_image(size, stem, window):
    model = build("swin_tiny_patch4_window7_224", size, stem).model
    assert model.layers[0].blocks[0].window_size == (window, window)


def test_a_swin_keeps_its_windows_at_its_own_size():
    name = "swin_base_patch4_window12_384"
    assert find_family(name).arguments(name, "original", 384) == {"img_size": 384}


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_an_option_of_the_spec_wins_over_the_stem(name):
    assert build(name, patch_size=4).model.patch_embed.patch_size == (4, 4)


def test_new_convolutions_are_initialised_as_their_family_does():
    convolution = build("mobilenetv2_050").model.conv_stem
    assert convolution.weight.std().item() == pytest.approx((2 / (9 * 16)) ** 0.5, rel=0.15)
    convolution = build("convnext_atto", dims=[40, 8, 8, 8]).model.stem[0]
    assert convolution.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not convolution.bias.any()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("resnext50_32x4d", "resnet"),
        ("wide_resnet50_2", "resnet"),
        ("deit_base_distilled_patch16_224", "vit"),
        ("deit3_base_patch16_224", "vit"),
        ("convnextv2_atto", "convnext"),
        ("efficientnet_b0", "efficientnet"),
        ("mobilenetv1_100", "mobilenet"),
        ("mobilenetv2_100", "mobilenet"),
        ("mobilenetv3_large_100", "mobilenet"),
        ("mobilenetv4_hybrid_medium", "mobilenet"),
        ("regnety_002", "regnet"),
        ("swin_s3_tiny_224", "swin"),
        ("swinv2_base_window12_192", "swin"),
        ("resnetv2_50", None),
        ("swinv2_cr_tiny_224", None),
        ("vgg11", None),
    ],
)
def test_models_belong_to_families(name, family):
    assert family_of(name) == family


def forgets_the_activation(model, blocks):
    blocks["stem"] = nn.Sequential(model.conv1, model.bn1, model.maxpool)


def loses_a_stage(model, blocks):
    blocks["layer4"] = nn.Sequential(nn.Identity(), model.global_pool)


def holds_a_tensor_twice(model, blocks):
    blocks["layer1"].register_module("again", model.bn1)


@pytest.mark.parametrize("mistake", [forgets_the_activation, loses_a_stage, holds_a_tensor_twice])
def test_a_cut_that_is_not_the_model_leaves_it_one_block(mistake, monkeypatch):
    resnet = find_family("resnet18")

    def wrong(model):
        blocks = resnet.blocks(model)
        mistake(model, blocks)
        return blocks

    monkeypatch.setattr(backbone_module, "find_family", lambda name: replace(resnet, blocks=wrong))
    backbone = build("seresnet18")
    assert (backbone.block_names, backbone.cut) == (("backbone",), False)
    assert backbone.model.training


@pytest.mark.parametrize("name", ["seresnet18", "vit_tiny_patch16_224", "test_efficientnet"])
def test_options_that_give_no_features_are_refused(name):
    with pytest.raises(SpecError):
        build(name, features_only=True)


def test_a_part_holds_the_direct_tensors_only_where_they_belong():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.ones(2))
            self.register_buffer("mask", torch.ones(2))
            self.used = nn.Linear(2, 2)
            self.other = nn.Linear(2, 2)

        def forward_head(self, activation):
            return self.other(self.used(activation))

    model = Model()
    head = Part(model, "forward_head", {"used"}, parameters=False)
    assert {id(p) for p in head.parameters()} == {id(p) for p in model.used.parameters()}
    assert list(head.buffers()) == []
    whole = Part(model, "forward_head", {"used", "other"}, parameters=True)
    assert len(list(whole.parameters())) == 5
    assert [id(b) for b in whole.buffers()] == [id(model.mask)]
    activation = torch.randn(3, 2)
    assert torch.equal(head(activation), model.used(activation))
    assert torch.equal(whole(activation), model.forward_head(activation))
