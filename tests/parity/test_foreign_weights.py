"""Weights made by other libraries give the features that they give there.

The official files of MoCo and DINO need a network; theirs is the form alone.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from emabench.errors import WeightsError
from emabench.evaluation.weights_file import load_weights
from emabench.networks.backbone import build_backbone
from emabench.spec import BackboneSpec

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]  # of the others


@pytest.fixture
def images():
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def moved(model):
    """Give a model statistics and weights that no fresh one has."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point() and not tensor.requires_grad:
                tensor += 0.02 * torch.randn(tensor.shape, generator=generator)
    return model.eval()


def children(model):
    """The backbone as lightly's examples make it."""
    return nn.Sequential(*list(model.children())[:-1])


def check(file, expected, images, *, backbone="resnet18", stem="original", network="online", **own):
    spec = BackboneSpec(name=backbone, stem=stem, options=own)
    model = build_backbone(spec, images.shape[-1]).model
    said = load_weights(file, model, backbone=backbone, network=network)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), expected, rtol=1e-5, atol=1e-5)
    return said


@pytest.mark.parametrize(
    ("theirs", "ours", "is_zip"),
    [
        ("resnet18", "resnet18", True),
        ("resnet18", "resnet18", False),
        ("resnet50", "resnet50", True),
        ("resnext50_32x4d", "resnext50_32x4d", True),
        ("wide_resnet50_2", "wide_resnet50_2", False),
        ("densenet121", "densenet121", True),
    ],
)
def test_torchvision(tmp_path, images, theirs, ours, is_zip):
    model = moved(torchvision.models.get_model(theirs))
    file = tmp_path / "w.pth"
    torch.save(model.state_dict(), file, _use_new_zipfile_serialization=is_zip)
    head = "classifier" if theirs.startswith("dense") else "fc"
    setattr(model, head, nn.Identity())
    with torch.no_grad():
        said = check(file, model(images), images, backbone=ours)
    assert f"left: {head}.weight" in said


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("vit_b_16", "vit_base_patch16_224"),
        ("convnext_tiny", "convnext_tiny"),
        ("efficientnet_b0", "efficientnet_b0"),
        ("regnet_y_400mf", "regnety_004"),
        ("swin_t", "swin_tiny_patch4_window7_224"),
        ("mobilenet_v3_small", "mobilenetv3_small_100"),
    ],
)
def test_other_families_of_torchvision_have_other_names(tmp_path, theirs, ours):
    state = torchvision.models.get_model(theirs).state_dict()
    tensors = {name: torch.zeros(()).expand(value.shape) for name, value in state.items()}
    torch.save(tensors, tmp_path / "w.pth")
    model = timm.create_model(ours, num_classes=0)
    with pytest.raises(WeightsError, match="does not fit the backbone") as caught:
        load_weights(tmp_path / "w.pth", model, backbone=ours)
    assert "missing" in caught.value.message
    assert "nothing is guessed" in caught.value.hint


def test_timm_with_its_average(tmp_path, images):
    model = moved(timm.create_model("resnet18"))
    average = moved(copy.deepcopy(model))
    with torch.no_grad():
        model.reset_classifier(10)
        average.reset_classifier(10)
    content = {"arch": "resnet18", "state_dict": model.state_dict(), "args": argparse.Namespace()}
    torch.save(content | {"state_dict_ema": average.state_dict()}, tmp_path / "w.pth.tar")
    for network, each in (("online", model), ("average", average)):
        each.reset_classifier(0)
        with torch.no_grad():
            check(tmp_path / "w.pth.tar", each(images), images, network=network)


def simclr(backbone, modules):
    model = nn.Module()
    model.backbone = children(backbone)
    model.projection_head = modules.SimCLRProjectionHead(512, 64, 16)
    return model, {"online": "backbone"}


def byol(backbone, modules):
    model, places = simclr(backbone, modules)
    model.prediction_head = modules.BYOLPredictionHead(16, 64, 16)
    model.backbone_momentum = moved(copy.deepcopy(model.backbone))
    model.projection_head_momentum = copy.deepcopy(model.projection_head)
    return model, places | {"target": "backbone_momentum"}


def dino(backbone, modules):
    model = nn.Module()
    model.student_backbone = children(backbone)
    model.student_head = modules.DINOProjectionHead(512, 64, 16, 32)
    model.teacher_backbone = moved(copy.deepcopy(model.student_backbone))
    model.teacher_head = modules.DINOProjectionHead(512, 64, 16, 32)
    return model, {"online": "student_backbone", "target": "teacher_backbone"}


@pytest.mark.parametrize("make", [simclr, byol, dino])
def test_lightly(tmp_path, images, make):
    from lightly.models import modules

    model, places = make(moved(torchvision.models.resnet18()), modules)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    for network, place in places.items():
        with torch.no_grad():
            expected = getattr(model, place).eval()(images).flatten(1)
        said = check(tmp_path / "w.pth", expected, images, network=network)
        assert f"under {place}" in said


def test_the_resnet_of_lightly_is_another_network(tmp_path):
    """As a ``Sequential`` it has no ReLU after its stem."""
    from lightly.models import ResNetGenerator

    torch.save(children(ResNetGenerator("resnet-18")).state_dict(), tmp_path / "w.ckpt")
    model = build_backbone(BackboneSpec(name="resnet18", stem="3x3"), 32).model
    with pytest.raises(WeightsError, match="does not fit the backbone resnet18"):
        load_weights(tmp_path / "w.ckpt", model, backbone="resnet18")


def test_lightly_with_a_vit_of_timm(tmp_path, images):
    from lightly.models.modules import MaskedVisionTransformerTIMM

    size = {"img_size": 64, "embed_dim": 48, "num_heads": 3, "depth": 2}
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=0, **size)
    model = nn.Module()
    model.student_backbone = MaskedVisionTransformerTIMM(vit=vit)
    moved(model)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    del size["img_size"]
    with torch.no_grad():
        check(
            tmp_path / "w.pth", vit.eval()(images), images, backbone="vit_tiny_patch16_224", **size
        )


def test_a_checkpoint_of_lightning_with_what_it_keeps_beside_the_weights(tmp_path, images):
    import pytorch_lightning as pl
    from omegaconf import OmegaConf

    class Learner(pl.LightningModule):
        def __init__(self, settings):
            super().__init__()
            self.save_hyperparameters(settings)
            self.backbone = children(torchvision.models.resnet18())
            self.head = nn.Linear(512, 2)

        def training_step(self, batch, _):
            return self.head(self.backbone(batch[0]).flatten(1)).square().mean()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

        def on_save_checkpoint(self, checkpoint):
            checkpoint["args"] = argparse.Namespace(lr=0.1, data=Path("/data"))

    learner = Learner(OmegaConf.create({"lr": 0.1, "blocks": [1, 2], "inner": {"a": None}}))
    trainer = pl.Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(learner, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images), 2))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    with torch.no_grad():
        expected = learner.backbone.eval()(images).flatten(1)
    said = check(tmp_path / "last.ckpt", expected, images)
    assert "under state_dict.backbone" in said
    assert "left: state_dict.head.weight, state_dict.head.bias" in said
    assert "named in the file, and not opened: argparse.Namespace" in said
