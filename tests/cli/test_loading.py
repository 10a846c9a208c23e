import pytest
import timm
import torch
from safetensors.torch import save_file

from emabench.networks.backbone import build_backbone, chosen_stem
from emabench.networks.loading_code import loading_code
from emabench.spec import BackboneSpec

SMALL_RESNET = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
SMALL_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2}


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("stem", ["auto", "original", "3x3", "3x3-stride2"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet18", SMALL_RESNET), ("vit_tiny_patch16_224", SMALL_VIT)],
)
def test_the_code_rebuilds_the_backbone_with_its_weights(tmp_path, name, options, stem, size):
    assert_rebuilt(tmp_path, BackboneSpec(name=name, options=options, stem=stem), size)


@pytest.mark.parametrize("stem", ["auto", pytest.param("3x3-stride2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("convnext_atto_ols", {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 16]}),
        ("test_efficientnet", {}),
        ("mobilenetv3_small_050", {}),
        ("regnetx_002", {}),
        ("swin_tiny_patch4_window7_224", {"embed_dim": 16, "num_heads": [1, 2, 2, 4]}),
    ],
)
def test_the_code_rebuilds_every_other_family(tmp_path, name, options, stem):
    assert_rebuilt(tmp_path, BackboneSpec(name=name, options=options, stem=stem), 32)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_byobnet", {}),
        # Its images have a fixed size, which is not that of the spec by default.
        ("beit_base_patch16_224", {"depth": 1, "embed_dim": 32, "num_heads": 2}),
    ],
)
def test_the_code_rebuilds_an_uncut_backbone(tmp_path, name, options):
    assert_rebuilt(tmp_path, BackboneSpec(name=name, options=options), 32)


def assert_rebuilt(tmp_path, spec, size):
    torch.manual_seed(0)
    model = build_backbone(spec, size).model.eval()
    file = tmp_path / "it's.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, file)
    backbone = spec.model_dump() | {"stem": chosen_stem(spec, size)}
    code = loading_code({"pretrain": {"backbone": backbone, "data": {"image_size": size}}}, file)
    scope = {}
    exec(code, scope)
    images = torch.randn(2, 3, size, size)
    assert isinstance(scope["timm"], type(timm))
    assert torch.equal(scope["model"].eval()(images), model(images))
