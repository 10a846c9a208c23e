"""Masked methods: what is hidden, what a scope of theirs means, and which backbones they take."""

import pytest
import torch

from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.errors import SpecError
from emabench.evaluation.weights_file import load_weights
from emabench.experiment import resolve
from emabench.methods import load_method, method_names
from emabench.methods._masked import MaskedMethod
from emabench.networks.backbone import build_backbone
from emabench.networks.token_grid import take_visible
from emabench.spec.settings import experiments
from emabench.testing import resolved
from emabench.training.given_weights import Given, GivenWeights, find_init, load_teacher
from emabench.training.step_flops import step_flops
from emabench.training.trainer import Trainer
from emabench.training.weights import save_weights

CPU = Device(torch.device("cpu"), "fp32")
SHARE = {"mae": 0.6, "ijepa": 0.5}
METHODS = [name for name in method_names() if issubclass(load_method(name), MaskedMethod)]
pytestmark = pytest.mark.usefixtures("uncounted")


def trainer_of(method, scope="none", **fields):
    spec = resolved(method, scope, **fields).pretrain
    return Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU))


@pytest.mark.parametrize("method", METHODS)
def test_the_online_network_sees_the_visible_patches_alone(method):
    trainer = trainer_of(method)
    learner = trainer.learner.train()
    learner.method.begin_step(torch.Generator().manual_seed(5))
    images = torch.randn(trainer._spec.batch_size, 3, 32, 32)
    tokens = learner.encoder.blocks["stem"](images)
    visible = learner.method.visible
    (activations,) = learner({0: images}).activations
    prefix = learner.method.grid.prefix
    assert activations[1].shape[1] == prefix + visible.shape[1]
    torch.testing.assert_close(activations[1][:, :prefix], tokens[:, :prefix])
    for image, index in enumerate(visible):
        torch.testing.assert_close(activations[1][image, prefix:], tokens[image, prefix + index])
    assert take_visible(tokens, visible, 64).shape == activations[1].shape


@pytest.mark.parametrize("method", METHODS)
def test_every_step_has_masks_of_its_own_and_a_seed_the_same_ones(method):
    seen = []
    for _ in range(2):
        trainer = trainer_of(method)
        trainer.start(0)
        batches = trainer.loader.epoch(0)
        for _ in range(2):
            trainer.train_step(next(batches))
            seen.append(trainer.learner.method.visible.tolist())
    assert seen[0] == seen[2] != seen[1] == seen[3]


def test_drawing_the_masks_is_timed(monkeypatch):
    trainer = trainer_of("ijepa")
    clock, method, phases = trainer._meter.clock, trainer.learner.method, []
    phase, draw = clock.phase, method.draw_masks
    monkeypatch.setattr(clock, "phase", lambda name: phases.append(name) or phase(name))
    monkeypatch.setattr(method, "draw_masks", lambda *args: phases.append("draw") or draw(*args))
    trainer.start(0)
    trainer.train_step(next(trainer.loader.epoch(0)))
    assert phases[:3] == ["augment", "draw", "online_forward"]


@pytest.mark.parametrize("method", METHODS)
def test_the_backbone_is_evaluated_on_whole_images_as_timm_pools_them(method):
    learner = trainer_of(method).learner.eval()
    images = torch.randn(3, 3, 32, 32)
    (backbone,) = learner.backbone
    torch.testing.assert_close(learner.backbone_of("online")(images), backbone.model(images))
    torch.testing.assert_close(learner.backbone_of("target")(images), backbone.model(images))


def gradient_of(learner, loss):
    gradients = torch.autograd.grad(loss, list(learner.encoder.parameters()), retain_graph=True)
    return torch.cat([each.flatten() for each in gradients])


@pytest.mark.parametrize("scope", ["none", "block1", "backbone"])
def test_ijepa_predicts_what_the_target_makes_of_the_whole_image(scope):
    """Equal to the step written out, and a gradient through the target would be another one."""
    learner = trainer_of("ijepa", scope).learner.train()
    for copies in learner.target.copies.parameters():
        copies.mul_(1.1)
    method, images = learner.method, torch.randn(32, 3, 32, 32)
    output = learner({0: images})
    blocks = list(learner.encoder.blocks.values())
    seen = blocks[0](images).gather(1, method.visible[..., None].expand(-1, -1, 32))
    for block in blocks[1:]:
        seen = block(seen)
    predicted = method.predict_hidden(seen, slice(0, 32))
    whole = images
    for name in learner.encoder.block_names:
        whole = learner.target.block(name)(whole)
    assert not output.targets[0].requires_grad
    torch.testing.assert_close(output.targets[0], whole)
    expected = gradient_of(learner, method.loss((predicted,), (whole.detach(),)))
    got = gradient_of(learner, output.objective)
    assert (got - expected).norm() < 1e-4 * expected.norm()
    if scope != "backbone":
        attached = gradient_of(learner, method.loss((predicted,), (whole,)))
        assert (attached - expected).norm() > 0.01 * expected.norm()


def test_all_scopes_of_ijepa_start_alike_and_cost_the_same():
    found = []
    for scope in ("none", "block2", "backbone"):
        trainer = trainer_of("ijepa", scope)
        learner = trainer.learner.train()
        learner.method.begin_step(torch.Generator().manual_seed(3))
        images = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(4))
        output = learner({0: images})
        norm = gradient_of(learner, output.objective).norm().item()
        found.append((output.loss.item(), norm, step_flops(learner, 32)))
    assert found[0] == found[1] == found[2]


def test_ijepa_has_no_projector_and_says_so():
    def plan(scope):
        axes = [("pretrain.method.name", ["ijepa"]), ("pretrain.ema.scope", [scope])]
        (spec,) = experiments(axes, preset="smoke")
        return resolve(spec, command="emabench run")

    none, projector, backbone, full = map(plan, ("none", "projector", "backbone", "full"))
    assert none.fingerprint == projector.fingerprint
    assert backbone.fingerprint == full.fingerprint
    assert projector.warnings == ("method ijepa has no projector: EMA scope projector is none",)
    assert full.warnings == ("method ijepa has no projector: EMA scope full is backbone",)
    assert none.warnings == backbone.warnings == ()
    assert plan("block1+projector").spec["pretrain"]["ema"]["scope"] == "block1"


def test_the_target_of_ijepa_leaves_weights_that_timm_takes(tmp_path):
    spec = resolved("ijepa", "backbone", max_steps=2).pretrain
    trainer = Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU))
    with torch.no_grad():
        for parameter in trainer.learner.target.copies.parameters():
            parameter.mul_(1.1)
    save_weights(trainer, spec, tmp_path)
    images, found = torch.randn(2, 3, 32, 32), {}
    for network in ("online", "target"):
        backbone = build_backbone(spec.backbone, 32)
        load_weights(tmp_path / f"{network}.safetensors", backbone.model, backbone="a ViT")
        found[network] = backbone.model.eval()(images)
        expected = trainer.learner.eval().backbone_of(network)(images)
        torch.testing.assert_close(found[network], expected)
    assert not torch.allclose(found["online"], found["target"])


def test_what_mae_has_learned_is_tuned_by_mae_ct_and_teaches_ijepa(tmp_path):
    mae = trainer_of("mae", max_steps=2)
    save_weights(mae, mae._spec, tmp_path / "mae")
    vit = {"backbone__name": "tiny-vit", "data__image_size": 32, "batch_size": 16}
    vit["backbone__options"] = {"global_pool": "avg", "fc_norm": False}
    file = str(tmp_path / "mae" / "online.safetensors")
    spec = resolved("mae_ct", "projector", init=file, **vit).pretrain
    given = Given(init=find_init(file, spec.backbone.name, None))
    tuned = Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU), given=given)
    pairs = list(
        zip(*(each.learner.backbone[0].model.parameters() for each in (mae, tuned)), strict=True)
    )
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)
    assert resolve_notes("mae_ct", init=file, **vit) == []
    (note,) = resolve_notes("mae_ct", **vit)
    assert "this encoder is untrained" in note
    save_weights(tuned, spec, tmp_path / "tuned")
    files = [tmp_path / "tuned" / f"{name}.safetensors" for name in ("online", "projector")]
    options = {"backbone__options": vit["backbone__options"]}
    learner = trainer_of("ijepa", "backbone", **options).learner
    load_teacher(GivenWeights("run", *files), spec.backbone, 32, learner.target.copies)
    images = torch.randn(2, 3, 32, 32)
    expected = tuned.learner.eval().backbone_of("online")(images)
    torch.testing.assert_close(learner.eval().backbone_of("target")(images), expected)


def resolve_notes(method, **fields):
    fields = {"method__name": method, **fields}
    axes = [(f"pretrain.{name.replace('__', '.')}", [value]) for name, value in fields.items()]
    (spec,) = experiments(axes, preset="smoke")
    return [each for each in resolve(spec, command="emabench run").warnings if method in each]


def test_a_class_token_that_nobody_trains_is_told():
    (note,) = resolve_notes("ijepa", backbone__options={})
    assert "leaves the class token untrained" in note


@pytest.mark.slow
@pytest.mark.parametrize(("method", "scope"), [("mae", "none"), ("ijepa", "backbone")])
def test_a_few_images_are_learned_by_heart(method, scope):
    """The target of I-JEPA stands still here: a loss that falls with it could be a collapse."""
    steps, network = 300, {"mae": "decoder", "ijepa": "predictor"}[method]
    spec = resolved(method, scope).pretrain
    fields = {"data__train_subset": 32, "epochs": steps, "probe_images": 0}
    fields |= {f"augmentation__{kind}_probability": 0.0 for kind in ("jitter", "flip", "grey")}
    fields |= {f"augmentation__crop_{kind}": [1.0, 1.0] for kind in ("scale", "ratio")}
    fields |= {"optimizer__name": "adamw", "optimizer__lr": 0.003, "optimizer__lr_batch": None}
    fields |= {"optimizer__weight_decay": 0.0, "schedule__warmup_epochs": 20}
    fields |= {"ema__decay": 1.0, "ema__schedule": "constant"}
    wider = {"embed_dim": 64, "num_heads": 4}
    fields["backbone__options"] = {**spec.backbone.options, **wider}
    wider = {"dim": 64, "depth": 2, "heads": 4}
    fields |= {f"method__options__{network}_{name}": value for name, value in wider.items()}
    trainer = trainer_of(method, scope, **fields)
    trainer.start(0)
    batches = trainer.endless()
    losses = [trainer.train_step(next(batches)).item() for _ in range(steps)]
    first, last = (sum(part) / 20 for part in (losses[:20], losses[-20:]))
    assert last < SHARE[method] * first, (first, last)


@pytest.mark.parametrize(
    ("method", "fields", "words"),
    [
        ("mae", {"backbone__name": "tiny-resnet"}, "resnet18: it makes no square of tokens"),
        ("mae", {"backbone__name": "pixels"}, "no square of tokens"),
        ("mae", {"backbone__options__patch_drop_rate": 0.1}, "no square of tokens"),
        ("mae", {"backbone__options__global_pool": "avg"}, "its pooling has weights"),
        ("mae", {"method__options__mask_ratio": 0.99}, "all or none of 64 patches"),
        ("mae", {"method__options__decoder_dim": 10}, "decoder_dim=10 is no multiple of 4"),
        ("mae", {"ema__scope": "full"}, "has no target network"),
        ("mae", {"augmentation__local_views__count": 2}, "method mae takes none"),
        ("ijepa", {"backbone__name": "tiny-resnet"}, "resnet18: it makes no square of tokens"),
        ("ijepa", {"data__image_size": 28}, "7 by 7 patches are too few"),
        ("ijepa", {"method__options__min_keep": 10}, "8 by 8 patches can have as few as 9"),
        ("ijepa", {"method__options__min_keep": 3}, "greater than or equal to 4"),
        ("ijepa", {"method__options__target_scale": [0.2, 0.1]}, "0 < lower ≤ upper ≤ 1"),
        ("ijepa", {"method__options__predictor_dim": 18}, "predictor_dim=18 is no multiple of 4"),
    ],
)
def test_what_cannot_be_masked_is_refused(method, fields, words):
    with pytest.raises(SpecError, match=words):
        resolved(method, "none", **fields)
