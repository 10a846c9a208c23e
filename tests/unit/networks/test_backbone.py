"""Cutting a backbone into blocks never changes its function."""

import pytest
import timm
import torch

from emabench.cost.flops import block_costs
from emabench.errors import SpecError, UnknownNameError
from emabench.networks.backbone import build_backbone, chosen_stem, unseen_edge
from emabench.networks.encoder import frozen_statistics
from emabench.spec import BackboneSpec

CUT = {
    "resnet18": ({}, ("stem", "layer1", "layer2", "layer3", "layer4")),
    "resnet10t": ({}, ("stem", "layer1", "layer2", "layer3", "layer4")),
    "test_vit": ({"depth": 2}, ("stem", "block1", "block2")),
    "vit_tiny_patch16_224": ({"depth": 2}, ("stem", "block1", "block2")),
    "deit_tiny_distilled_patch16_224": ({"depth": 2}, ("stem", "block1", "block2")),
    "test_byobnet": ({}, ("backbone",)),
    "pixels": ({}, ("backbone",)),
}


@pytest.mark.parametrize("stem", ["auto", "original"])
@pytest.mark.parametrize("name", CUT)
def test_the_blocks_one_after_another_are_the_model(name, stem):
    if name == "test_byobnet" or name == "pixels":
        stem = "auto"
    options, names = CUT[name]
    backbone = build_backbone(BackboneSpec(name=name, stem=stem, options=options), 32)
    assert backbone.block_names == names
    backbone.model.eval()
    backbone.blocks.eval()
    images = torch.randn(2, 3, 32, 32)
    activation = images
    for block in backbone.blocks.values():
        activation = block(activation)
    assert torch.equal(activation, backbone.model(images))
    assert activation.shape == (2, backbone.feature_dim)


@pytest.mark.parametrize("name", [name for name in CUT if name != "pixels"])
def test_the_blocks_share_all_weights_with_the_model_and_double_none(name):
    backbone = build_backbone(BackboneSpec(name=name, options=CUT[name][0]), 32)
    blocks = [id(p) for block in backbone.blocks.values() for p in block.parameters()]
    assert sorted(blocks) == sorted(id(p) for p in backbone.model.parameters())


def test_the_small_stem_is_chosen_up_to_64_pixels():
    spec = BackboneSpec(name="resnet18")
    assert [chosen_stem(spec, size) for size in (28, 64, 65, 224)] == [
        "3x3", "3x3", "original", "original",
    ]  # fmt: skip
    stem = build_backbone(spec, 32).blocks["stem"]
    assert stem(torch.zeros(1, 3, 32, 32)).shape[2:] == (32, 32)
    strided = build_backbone(BackboneSpec(name="resnet18", stem="3x3-stride2"), 32)
    assert strided.blocks["stem"](torch.zeros(1, 3, 32, 32)).shape[2:] == (16, 16)


def test_wrong_backbones_are_explained():
    with pytest.raises(UnknownNameError) as unknown:
        build_backbone(BackboneSpec(name="resnet81"), 32)
    with pytest.raises(UnknownNameError, match="small-resnt") as small:
        build_backbone(BackboneSpec(name="small-resnt"), 32)
    assert "small-resnet" in small.value.hint
    assert "resnet18" in unknown.value.hint
    with pytest.raises(SpecError, match="takes no option 'depht'"):
        build_backbone(BackboneSpec(name="resnet18", options={"depht": 3}), 32)
    with pytest.raises(SpecError, match="its family is not cut into blocks"):
        build_backbone(BackboneSpec(name="test_byobnet", stem="3x3"), 32)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(torch.nn.BatchNorm1d, (8, 3)), (timm.layers.BatchNormAct2d, (8, 3, 4, 4))],
)
def test_frozen_statistics_restore_what_they_found(kind, shape):
    norm, batch = kind(3), torch.randn(shape)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with frozen_statistics([norm]):
        inside = norm(batch)
    expected = torch.nn.functional.batch_norm(batch, None, None, training=True)
    if isinstance(norm, timm.layers.BatchNormAct2d):
        expected = expected.relu()
    torch.testing.assert_close(inside, expected)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    torch.testing.assert_close(norm(batch), inside)
    assert norm.num_batches_tracked == 1


def test_block_costs_count_a_multiply_add_as_two():
    backbone = build_backbone(BackboneSpec(name="resnet18"), 32)
    costs = {cost.name: cost for cost in block_costs(backbone.blocks, 32)}
    assert costs["stem"].flops == 2 * (3 * 9) * 64 * 32 * 32
    assert costs["stem"].parameters == 3 * 9 * 64 + 2 * 64
    assert costs["layer1"].flops == 4 * 2 * (64 * 9) * 64 * 32 * 32


def test_the_counter_sees_attention():
    backbone = build_backbone(BackboneSpec(name="test_vit", options={"depth": 1}), 32)
    (_, block) = block_costs(backbone.blocks, 32)
    tokens, width = 65, backbone.feature_dim
    attention = 2 * 2 * tokens * tokens * width
    linear = (
        2
        * tokens
        * sum(p.numel() for n, p in backbone.blocks["block1"].named_parameters() if p.ndim == 2)
    )
    assert block.flops == attention + linear


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("vit_small_patch14_dinov2", 96, "sees 76.6 % of their area; 84 or 98 pixels fit"),
        ("vit_small_patch14_dinov2", 98, None),
        ("swin_tiny_patch4_window7_224", 30, "28 or 32 pixels fit"),
        ("convnext_atto", 66, "64 or 68 pixels fit"),
        ("mixer_s16_224", 224, None),
        ("resnet18", 33, None),
        ("pixels", 33, None),
    ],
)
def test_patches_that_leave_out_an_edge_are_noted_with_a_size_that_fits(name, size, words):
    options = {"depth": 1} if name.startswith(("vit", "test_vit")) else {}
    if name.startswith("swin"):
        options = {"depths": [1, 1], "embed_dim": 24, "num_heads": [1, 1]}
    spec = BackboneSpec(name=name, stem="auto" if name == "pixels" else "original", options=options)
    note = unseen_edge(build_backbone(spec, size).model, size)
    assert (note is None) if words is None else (words in note)
