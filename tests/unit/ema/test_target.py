"""Each line of the EMA semantics, against a naive implementation that runs everything again."""

import copy

import pytest
import torch
from naive_target import naive_target
from torch import nn

from emabench.ema import DecaySchedule, TargetNetwork
from emabench.errors import UsageError
from emabench.networks.backbone import build_backbone
from emabench.networks.encoder import Encoder
from emabench.networks.heads import mlp
from emabench.spec import BackboneSpec, EmaScope, EmaSpec
from emabench.spec.scope import every_scope

RESNET = BackboneSpec(
    name="resnet18", stem="3x3-stride2", options={"layers": [1, 1, 1, 1], "channels": [4, 8, 8, 16]}
)
VIT = BackboneSpec(name="test_vit", options={"depth": 3})
BACKBONES = {"resnet": RESNET, "vit": VIT}
BLOCKS = {
    "resnet": ("stem", "layer1", "layer2", "layer3", "layer4", "projector"),
    "vit": ("stem", "block1", "block2", "block3", "projector"),
}
CASES = [(family, scope) for family in BLOCKS for scope in every_scope(BLOCKS[family])]


def encoder_of(spec):
    torch.manual_seed(0)
    backbone = build_backbone(spec, 32)
    projector = mlp(backbone.feature_dim, 16, 8, norm=True)
    return Encoder({**backbone.blocks, "projector": projector}).double().train()


def make_encoder(family):
    encoder = encoder_of(BACKBONES[family])
    assert encoder.block_names == BLOCKS[family]
    return encoder


def make_target(encoder, scope, **options):
    return TargetNetwork(encoder, EmaScope.parse(scope, encoder.block_names), **options)


def perturb(encoder):
    """Move the online weights away from their copies, as an optimiser step would."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))


@pytest.mark.parametrize(("family", "scope"), CASES)
def test_every_scope_gives_the_targets_of_the_naive_implementation(family, scope):
    encoder = make_encoder(family)
    target = make_target(encoder, scope)
    averaged = {name: copy.deepcopy(block) for name, block in target.copies.items()}
    for step in range(3):
        perturb(encoder)
        decay = (4 + step) / 8  # exact in any precision
        target.update(decay if step == 1 else torch.tensor(decay))
        for name, block in averaged.items():
            pairs = zip(block.parameters(), encoder.blocks[name].parameters(), strict=True)
            for mine, online in pairs:
                mine.data = decay * mine.data + (1 - decay) * online.data
    views = torch.randn(6, 3, 32, 32, dtype=torch.double)
    expected = naive_target(encoder, averaged, views)
    got = target(encoder(views))
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    assert not got.requires_grad


@pytest.mark.parametrize("scope", ["layer1", "layer2+layer4", "backbone", "projector", "full"])
def test_blocks_before_the_scope_never_run_again_and_others_run_once(scope):
    encoder = make_encoder("resnet")
    target = make_target(encoder, scope)
    activations = encoder(torch.randn(4, 3, 32, 32, dtype=torch.double))
    calls = []
    for name, block in encoder.blocks.items():
        block.register_forward_hook(lambda *_, name=name: calls.append(name))
    target(activations)
    names = encoder.block_names
    after = names[names.index(target.scope.averaged[0]) :]
    assert calls == [name for name in after if name not in target.scope.averaged]


@pytest.mark.parametrize("scope", every_scope(BLOCKS["resnet"]))
def test_views_without_an_online_pass_run_every_block_once_and_disturb_nothing(scope):
    encoder = make_encoder("resnet")
    target = make_target(encoder, scope)
    perturb(encoder)
    averaged = {name: copy.deepcopy(block) for name, block in target.copies.items()}
    views = torch.randn(6, 3, 32, 32, dtype=torch.double)
    expected = naive_target(encoder, averaged, views)
    before = copy.deepcopy(encoder.state_dict())
    got = target.without_online_pass(views)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    assert not got.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def norms(module):
    return [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


@pytest.mark.parametrize("scope", every_scope(BLOCKS["resnet"]))
def test_the_target_never_moves_the_statistics_of_online_blocks(scope):
    encoder = make_encoder("resnet")
    target = make_target(encoder, scope)
    activations = encoder(torch.randn(4, 3, 32, 32, dtype=torch.double))
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    target(activations)
    for name, value in encoder.named_buffers():
        assert torch.equal(value, before[name]), name
    assert all(norm.track_running_stats for norm in norms(encoder))
    for norm in norms(target.copies):
        assert norm.num_batches_tracked == 1, "a copy uses, and keeps, statistics of its own"


def test_a_block_outside_the_scope_is_the_online_module_itself():
    encoder = make_encoder("resnet")
    target = make_target(encoder, "layer2+projector")
    assert target.block("layer3") is encoder.blocks["layer3"]
    assert target.block("layer2") is not encoder.blocks["layer2"]
    assert set(target.copies) == {"layer2", "projector"}


def test_copies_start_equal_take_no_gradient_and_stay_in_train_mode():
    encoder = make_encoder("resnet")
    target = make_target(encoder, "full")
    for mine, online in zip(target.copies.parameters(), encoder.parameters(), strict=True):
        assert torch.equal(mine, online)
        assert mine is not online
        assert not mine.requires_grad
    assert all(module.training for module in target.copies.modules())


def test_the_empty_scope_is_the_online_output_attached_or_detached():
    encoder = make_encoder("resnet")
    activations = encoder(torch.randn(4, 3, 32, 32, dtype=torch.double))
    assert make_target(encoder, "none", detach=False)(activations) is activations[-1]
    detached = make_target(encoder, "none", detach=True)(activations)
    assert torch.equal(detached, activations[-1])
    assert not detached.requires_grad


def test_decay_one_freezes_and_decay_zero_copies():
    encoder = make_encoder("resnet")
    target = make_target(encoder, "full")
    start = [p.clone() for p in target.copies.parameters()]
    perturb(encoder)
    target.update(1.0)
    assert all(torch.equal(p, q) for p, q in zip(target.copies.parameters(), start, strict=True))
    target.update(0.0)
    for mine, online in zip(target.copies.parameters(), encoder.parameters(), strict=True):
        assert torch.equal(mine, online)


def test_the_buffer_policies():
    for policy in ("own", "ema", "copy"):
        encoder = make_encoder("resnet")
        target = make_target(encoder, "full", buffers=policy)
        encoder(torch.randn(4, 3, 32, 32, dtype=torch.double))
        target.update(0.75)
        online, mine = norms(encoder)[0], norms(target.copies)[0]
        share = {"own": 0.0, "ema": 0.25, "copy": 1.0}[policy]
        torch.testing.assert_close(mine.running_mean, share * online.running_mean)
        assert mine.num_batches_tracked == (0 if policy == "own" else 1)


def test_ema_bytes_are_those_of_the_copies():
    encoder = make_encoder("resnet")
    expected = sum(
        t.numel() * t.element_size()
        for t in [*encoder.blocks["projector"].parameters(), *encoder.blocks["projector"].buffers()]
    )
    assert make_target(encoder, "projector").ema_bytes == expected
    assert make_target(encoder, "none").ema_bytes == 0


def test_a_scope_of_another_encoder_is_refused():
    with pytest.raises(UsageError, match="the scope is of blocks"):
        TargetNetwork(make_encoder("resnet"), EmaScope.parse("full", BLOCKS["vit"]))


def test_a_decay_for_each_copy_is_refused():
    target = make_target(make_encoder("resnet"), "projector")
    with pytest.raises(UsageError, match="has the shape"):
        target.update(torch.tensor([0.5, 0.9]))


def test_the_decay_follows_the_global_step():
    cosine = DecaySchedule(EmaSpec(decay=0.9, final_decay=1.0, schedule="cosine"), 101, 256)
    assert cosine(0) == pytest.approx(0.9)
    assert cosine(50) == pytest.approx(0.95)
    assert cosine(100) == 1.0
    assert cosine(500) == 1.0
    constant = DecaySchedule(EmaSpec(decay=0.9, final_decay=1.0, schedule="constant"), 101, 256)
    assert {constant(step) for step in (0, 50, 100)} == {0.9}


DROPPING = {
    "resnet": RESNET.model_copy(
        update={"options": {**RESNET.options, "drop_path_rate": 0.5, "drop_rate": 0.3}}
    ),
    "vit": VIT.model_copy(
        update={
            "options": {
                **VIT.options,
                "drop_path_rate": 0.5,
                "attn_drop_rate": 0.3,
                "patch_drop_rate": 0.2,
            }
        }
    ),
}


@pytest.mark.parametrize("scope", ["full", "from:layer2", "layer2", "layer3+projector", "none"])
def test_the_target_drops_nothing_of_what_it_runs_itself(scope):
    encoder = encoder_of(DROPPING["resnet"])
    target = make_target(encoder, scope)
    activations = encoder(torch.randn(8, 3, 32, 32, dtype=torch.double))
    first, second = target(activations), target(activations)
    assert torch.equal(first, second)
    views = torch.randn(8, 3, 32, 32, dtype=torch.double)
    assert torch.equal(target.without_online_pass(views), target.without_online_pass(views))
    online = encoder(views)[-1], encoder(views)[-1]
    assert not torch.allclose(*online), "the online network still drops"


def test_the_shared_prefix_keeps_its_masks():
    encoder = encoder_of(DROPPING["vit"])
    target = make_target(encoder, "from:block3")
    activations = encoder(torch.randn(8, 3, 32, 32, dtype=torch.double))
    quiet = copy.deepcopy(encoder.blocks)
    for module in quiet.modules():  # nothing here has batch statistics but the projector
        if not isinstance(module, nn.BatchNorm1d):
            module.training = False
    expected = quiet["projector"](quiet["block3"](activations[3].detach()))
    torch.testing.assert_close(target(activations), expected)
