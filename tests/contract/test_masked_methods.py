"""Masked methods: what is hidden, what a scope of theirs means, and which backbones they take."""

import pytest
import torch

from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.errors import SpecError
from emabench.methods import load_method, method_names
from emabench.methods._masked import MaskedMethod
from emabench.networks.token_grid import take_visible
from emabench.testing import check_resumption, check_steps, resolved
from emabench.training.trainer import Trainer

CPU = Device(torch.device("cpu"), "fp32")
METHODS = [name for name in method_names() if issubclass(load_method(name), MaskedMethod)]
pytestmark = pytest.mark.usefixtures("uncounted")


def trainer_of(method, scope="none", **fields):
    spec = resolved(method, scope, **fields).pretrain
    return Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU))


def test_mae_makes_its_steps_and_goes_on_exactly(tmp_path):
    check_steps(resolved("mae", "none"), frozenset())
    check_resumption(resolved("mae", "none"), tmp_path)


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


@pytest.mark.parametrize("method", METHODS)
def test_the_backbone_is_evaluated_on_whole_images_as_timm_pools_them(method):
    learner = trainer_of(method).learner.eval()
    images = torch.randn(3, 3, 32, 32)
    (backbone,) = learner.backbone
    torch.testing.assert_close(learner.backbone_of("online")(images), backbone.model(images))
    torch.testing.assert_close(learner.backbone_of("target")(images), backbone.model(images))


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
    ],
)
def test_what_cannot_be_masked_is_refused(method, fields, words):
    with pytest.raises(SpecError, match=words):
        resolved(method, fields.pop("ema__scope", "none"), **fields)
