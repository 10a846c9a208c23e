"""Multi-crop: small views that the online network alone sees, for the methods that take them."""

import pytest
import torch

from emabench import experiment
from emabench.cost.flops import count_flops
from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.errors import SpecError
from emabench.methods import load_method, method_names
from emabench.networks.backbone import build_backbone
from emabench.spec import BackboneSpec
from emabench.spec.settings import experiment_at
from emabench.testing import check_resumption, resolved
from emabench.training.step_flops import step_flops
from emabench.training.trainer import Trainer

CPU = Device(torch.device("cpu"), "fp32")
LOCAL = {"augmentation__local_views__count": 2, "augmentation__local_views__size": 16}
METHODS = [name for name in method_names() if load_method(name).takes_local_views]
VIT = {"backbone__name": "vit_tiny_patch16_224"}
VIT["backbone__options"] = {"depth": 2, "embed_dim": 48, "num_heads": 3}


def trainer_of(method, scope, **fields):
    spec = resolved(method, scope, **LOCAL, **fields).pretrain
    return Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU))


def first_step(method, scope, **fields):
    """Return loss and norm of the online gradient, the views drawn as at step 0."""
    trainer = trainer_of(method, scope, **fields)
    trainer.start(5)
    seen = {}

    def keep(*_):
        gradients = [p.grad for p in trainer.online.parameters() if p.grad is not None]
        seen["norm"] = torch.nn.utils.get_total_norm(gradients).item()

    trainer._optimizer.register_step_pre_hook(keep)
    loss = trainer.train_step(next(trainer.loader.epoch(0)))
    return loss.item(), seen["norm"]


@pytest.mark.parametrize("views", ["separate", pytest.param("joint", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", METHODS)
def test_all_scopes_start_with_the_same_loss_and_gradient(method, views):
    scopes = ["none", "from:layer4", "full"]
    (loss, norm), *others = (first_step(method, scope, views=views) for scope in scopes)
    for other in others:
        assert other == (pytest.approx(loss, rel=1e-5), pytest.approx(norm, rel=0.01))


@pytest.mark.parametrize(
    "method",
    [pytest.param(each, marks=[pytest.mark.slow] * (each != "swav")) for each in METHODS],
)
def test_a_stopped_training_goes_on_exactly(tmp_path, method):
    check_resumption(resolved(method, "projector", **LOCAL), tmp_path)


def test_the_target_sees_the_global_views_alone():
    trainer = trainer_of("dino", "full")
    sizes = {"online": [], "target": []}
    networks = {"online": trainer.learner.encoder.blocks, "target": trainer.learner.target.copies}
    for name, blocks in networks.items():
        blocks["stem"].register_forward_pre_hook(
            lambda _, views, seen=sizes[name]: seen.append(views[0].shape[-1])
        )
    trainer.start(0)
    trainer.train_step(next(trainer.loader.epoch(0)))
    assert sizes == {"online": [28, 28, 16, 16], "target": [28, 28]}


@pytest.mark.parametrize("fields", [{}, VIT])
def test_the_operations_are_those_of_all_views(fields):
    trainer = trainer_of("dino", "full", **fields)
    learner = trainer.learner.train()
    batch = trainer._spec.batch_size
    views = {view: torch.randn(batch, 3, side, side) for view, side in learner.sizes.items()}
    assert list(learner.sizes.values()) == [28, 28, 16, 16]
    assert step_flops(learner, batch) == count_flops(lambda: learner(views).objective.backward())


def test_a_vit_for_views_of_any_size_is_the_same_at_its_own():
    spec = BackboneSpec(name=VIT["backbone__name"], options=VIT["backbone__options"])
    plain = build_backbone(spec, 32)
    flexible = build_backbone(spec, 32, any_size=True)
    flexible.model.load_state_dict(plain.model.state_dict())
    images = torch.randn(3, 3, 32, 32)
    assert torch.equal(flexible.model(images), plain.model(images))
    activation = small = torch.randn(2, 3, 16, 16)
    for block in flexible.blocks.values():
        activation = block(activation)
    torch.testing.assert_close(activation, flexible.model(small))
    assert len(flexible.blocks) == 3


@pytest.mark.parametrize(
    ("method", "fields", "words"),
    [
        ("simclr", {}, "method simclr takes none"),
        ("dino", {"backbone__name": "pixels"}, "takes no local views"),
        ("dino", {**VIT, "augmentation__local_views__size": 15}, "does not take local views of 15"),
    ],
)
def test_local_views_that_cannot_be_are_refused(method, fields, words):
    with pytest.raises(SpecError, match=words):
        resolved(method, "none", **LOCAL | fields)


def test_none_is_the_run_of_before_and_the_size_is_settled():
    plain = resolved("dino", "none").pretrain.augmentation
    unused = resolved("dino", "none", augmentation__local_views__size=12).pretrain.augmentation
    assert plain == unused
    assert "local_views" not in plain.model_dump()
    half = resolved("dino", "none", augmentation__local_views__count=4).pretrain.augmentation
    assert (half.local_views.size, half.local_view().crop_scale) == (14, (0.05, 0.4))
    assert half.local_view().brightness == half.views()[0].brightness


def test_a_size_that_was_left_out_makes_the_same_run_as_the_one_it_stands_for():
    """Here local views of 8 pixels are the only ones that a fix concerns."""
    fields = {"method.name": "dino", "data.image_size": 16, "precision": "bf16", "device": "cpu"}
    fields |= {"threads": 1, "augmentation.local_views.count": 2}
    plans = []
    for more in ({}, {"augmentation.local_views.size": 8}):
        given = {f"pretrain.{path}": value for path, value in (fields | more).items()}
        plans.append(experiment.resolve(experiment_at(given, preset="smoke"), command=""))
    assert plans[0].identity["revisions"] == ["bf16-small-maps"]
    assert plans[0].fingerprint == plans[1].fingerprint
