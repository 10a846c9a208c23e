"""A model of one's own is cut exactly, or refused with what to change."""

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

import emabench
from emabench.errors import UsageError
from emabench.networks.families import FAMILIES, family_by_class

SMALL_RESNET = {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16)}
SMALL_VIT = {"depth": 2, "embed_dim": 48, "num_heads": 2, "img_size": 32, "patch_size": 8}
SMALL_SWIN = {"depths": (1, 1), "embed_dim": 16, "num_heads": (1, 2), "img_size": 32}
LAYERS = ["stem", "layer1", "layer2", "layer3", "layer4"]
BLOCKS = ["stem", "block1", "block2"]
STAGES = ["stem", *(f"stage{number}" for number in range(1, 8))]
MODELS = {
    "resnet18": (SMALL_RESNET, LAYERS),
    "resnext50_32x4d": ({**SMALL_RESNET, "channels": (16, 16, 32, 32)}, LAYERS),
    "vit_tiny_patch16_224": (SMALL_VIT, BLOCKS),
    "deit_tiny_distilled_patch16_224": (SMALL_VIT, BLOCKS),
    "convnext_atto": ({"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}, STAGES[:5]),
    "test_efficientnet": ({}, STAGES[:6]),
    "mobilenetv3_small_050": ({}, STAGES[:7]),
    "regnetx_002": ({}, STAGES[:5]),
    "swin_tiny_patch4_window7_224": (SMALL_SWIN, STAGES[:3]),
}


def build(name="resnet18", **options):
    torch.manual_seed(0)
    return timm.create_model(name, **{"num_classes": 0, **MODELS[name][0], **options})


def composed(blocks, images):
    with torch.no_grad():
        for block in blocks.values():
            images = block(images)
    return images


def images_for(model, channels=3):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, channels, 32, 32, generator=generator)
    return images.to(next(model.parameters()).dtype)


def whole(model, images):
    with torch.no_grad():
        return model(images)


@pytest.mark.parametrize("name", MODELS)
def test_one_model_of_each_family_is_cut_exactly_and_left_as_it_was(name):
    model = build(name).train()
    frozen = next(
        each for each in model.modules() if isinstance(each, nn.BatchNorm2d | nn.LayerNorm)
    )
    frozen.eval()
    modes = {path: each.training for path, each in model.named_modules()}
    state, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()

    blocks = emabench.cut(model)

    assert list(blocks) == MODELS[name][1]
    assert {path: each.training for path, each in model.named_modules()} == modes
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())
    images = images_for(model)
    for mode in (False, True):
        encoder = emabench.Encoder(blocks).train(mode)
        model.train(mode)
        kept = copy.deepcopy(model.state_dict())
        torch.manual_seed(2)
        got = composed(encoder.blocks, images)
        model.load_state_dict(kept)
        torch.manual_seed(2)
        assert torch.equal(got, whole(model, images))


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
@pytest.mark.parametrize("mode", [False, True])
def test_blocks_are_in_the_mode_of_the_model(name, mode):
    blocks = emabench.cut(build(name).train(mode))
    assert {module.training for block in blocks.values() for module in block.modules()} == {mode}


def test_every_family_is_tried_here():
    assert {family_by_class(type(build(name))) for name in MODELS} == set(FAMILIES)


def test_the_resnet_of_torchvision_is_cut_where_that_of_timm_is():
    model = torchvision.models.resnet18()
    with pytest.raises(UsageError, match="ResNet has its classifier on") as refused:
        emabench.cut(model)
    assert "model.fc = torch.nn.Identity()" in refused.value.hint
    model.fc = nn.Identity()
    blocks = emabench.cut(model)
    assert list(blocks) == LAYERS
    model.eval()
    images = images_for(model)
    assert torch.equal(composed(blocks, images), whole(model, images))


@pytest.mark.parametrize("name", MODELS)
def test_a_classifier_is_refused(name):
    with pytest.raises(UsageError, match="classifier") as refused:
        emabench.cut(build(name, num_classes=5))
    assert "num_classes=0" in refused.value.hint


def test_one_that_was_taken_off_is_none():
    model = build(num_classes=5)
    model.reset_classifier(0)
    assert list(emabench.cut(model)) == LAYERS


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_tried_in_their_own_precision(name, dtype):
    model = build(name).to(dtype).eval()
    blocks = emabench.cut(model)
    assert list(blocks) == MODELS[name][1]
    images = images_for(model)
    assert torch.equal(composed(blocks, images), whole(model, images))


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("channels", [1, 5])
def test_other_channels_are_tried_on_images_of_as_many(name, channels):
    model = build(name, in_chans=channels).eval()
    blocks = emabench.cut(model)
    assert list(blocks) == MODELS[name][1]
    images = images_for(model, channels)
    assert torch.equal(composed(blocks, images), whole(model, images))


HOOKS = {
    "forward": lambda module: module.register_forward_hook(lambda *given: None),
    "forward_pre": lambda module: module.register_forward_pre_hook(lambda *given: None),
    "backward": lambda module: module.register_full_backward_hook(lambda *given: None),
    "backward_pre": lambda module: module.register_full_backward_pre_hook(lambda *given: None),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_a_hook_that_no_block_would_run_is_refused(kind):
    model = build()
    hook = HOOKS[kind](model)
    with pytest.raises(UsageError, match="ResNet has a hook on it") as refused:
        emabench.cut(model)
    assert "remove the hook" in refused.value.hint
    hook.remove()
    assert list(emabench.cut(model)) == LAYERS
    parts = build("convnext_atto")
    HOOKS[kind](parts.stages)
    with pytest.raises(UsageError, match="a hook on its part 'stages'"):
        emabench.cut(parts)


def test_a_hook_inside_a_block_is_the_blocks_own():
    model, seen = build(), []
    model.layer2[0].register_forward_hook(
        lambda module, given, result: seen.append(module) or -result
    )
    model.layer3.register_forward_pre_hook(lambda module, given: (2 * given[0],))
    blocks = emabench.cut(model)
    seen.clear()
    model.eval()
    images = images_for(model)
    assert torch.equal(composed(blocks, images), whole(model, images))
    assert seen == [model.layer2[0]] * 2


@pytest.mark.parametrize(
    "name", ["resnet18", "vit_tiny_patch16_224", "test_efficientnet", "mobilenetv3_small_050"]
)
def test_checkpointing_that_the_blocks_would_lose_is_refused(name):
    model = build(name)
    model.set_grad_checkpointing()
    with pytest.raises(UsageError, match="checkpoints its gradients") as refused:
        emabench.cut(model)
    assert "set_grad_checkpointing(False)" in refused.value.hint


@pytest.mark.parametrize("name", ["convnext_atto", "regnetx_002", "swin_tiny_patch4_window7_224"])
def test_checkpointing_within_stages_stays(name, monkeypatch):
    model = build(name).train()
    model.set_grad_checkpointing()
    calls = []
    original = torch.utils.checkpoint.checkpoint
    monkeypatch.setattr(
        torch.utils.checkpoint,
        "checkpoint",
        lambda *given, **options: calls.append(1) or original(*given, **options),
    )
    encoder = emabench.Encoder(emabench.cut(model))
    images = images_for(model)
    calls.clear()
    features = encoder(images)[-1]
    counted = len(calls)
    assert counted
    features.square().sum().backward()
    calls.clear()
    model(images)
    assert len(calls) == counted


def test_wrappers_are_taken_off():
    model = build()
    compiled = torch.compile(model, backend="eager")
    for wrapped in (nn.DataParallel(model), compiled, nn.DataParallel(compiled)):
        blocks = emabench.cut(wrapped)
        assert blocks["layer1"] is model.layer1
    unknown = nn.Flatten()
    assert emabench.cut(nn.DataParallel(unknown)) == {"backbone": unknown}


def test_a_model_compiled_in_place_is_tried_without_compiling():
    model = build()
    model.compile(backend=lambda graph, examples: pytest.fail("compiled"))
    assert list(emabench.cut(model)) == LAYERS


class FullyShardedDataParallel(nn.Module):
    """Stands for torch's, which needs a group of processes."""


def test_sharded_models_are_refused():
    sharded = nn.Sequential(nn.Linear(2, 2), FullyShardedDataParallel())
    with pytest.raises(UsageError, match="FSDP has sharded"):
        emabench.cut(sharded)


class OwnResNet(timm.models.resnet.ResNet):
    """Of another module than timm's, whatever it may change."""


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(3, 2)),
        lambda: timm.create_model("test_byobnet", num_classes=0),
        lambda: OwnResNet(timm.models.resnet.BasicBlock, (1, 1, 1, 1), num_classes=0),
    ],
)
def test_a_model_that_is_not_known_stays_whole(make):
    model = make()
    assert emabench.cut(model) == {"backbone": model}


def test_a_module_that_is_merely_named_like_timms_is_not_known():
    known = type("ResNet", (nn.Module,), {"__module__": "plugins.timm.models.resnet"})
    assert family_by_class(known) is None


def test_what_the_blocks_do_not_compute_is_refused():
    model = build()
    model.forward = lambda images: 2 * type(model).forward(model, images)
    with pytest.raises(UsageError, match="do not compute what it computes") as refused:
        emabench.cut(model)
    assert "{'backbone': model}" in refused.value.hint
    with pytest.raises(UsageError, match="EfficientNetFeatures cannot be cut"):
        emabench.cut(timm.create_model("test_efficientnet", features_only=True))
    with torch.device("meta"), pytest.raises(UsageError, match="has no weights yet"):
        emabench.cut(timm.create_model("resnet18", num_classes=0))


def test_ones_own_images_are_tried(monkeypatch):
    model, sizes = build(), []
    model.layer1.register_forward_pre_hook(lambda module, given: sizes.append(given[0].shape[2:]))
    assert list(emabench.cut(model, images=torch.randn(3, 3, 40, 40))) == LAYERS
    assert set(sizes) == {(10, 10)}
    with pytest.raises(UsageError, match=r"cannot be cut: .*2 channels") as refused:
        emabench.cut(model, images=torch.randn(3, 2, 40, 40))
    assert "give images=" in refused.value.hint


def test_a_module_that_changes_buffers_or_draws_leaves_no_trace():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, activation):
            self.calls += 1
            return activation + 0 * torch.rand(1)

    model = build()
    model.layer1.append(Counting())
    random = torch.get_rng_state()
    assert list(emabench.cut(model)) == LAYERS
    assert model.layer1[-1].calls == 0
    assert torch.equal(torch.get_rng_state(), random)
