"""What of a training on several devices can be seen without them."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import nn

from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.networks.backbone import build_backbone
from emabench.resolution import identity
from emabench.spec.streams import derive
from emabench.testing import resolved
from emabench.training.distributed import synchronise
from emabench.training.trainer import Trainer
from emabench.training.world import World

CPU = Device(torch.device("cpu"), "fp32")


class Rank(World):
    """One of several processes, which does the work of all."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def part(self, count: int) -> slice:
        return slice(0, count)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet"])
def test_synchronised_batchnorms_keep_their_activations_and_their_statistics(name):
    learner = nn.Module()
    learner.encoder = timm.create_model(name, num_classes=0)
    learner.average = copy.deepcopy(learner.encoder)
    images = torch.randn(4, 3, 64, 64)
    learner.encoder(images)
    learner.eval()
    with torch.no_grad():
        before = learner.encoder(images)
        statistics = {name: value.clone() for name, value in learner.encoder.named_buffers()}
        synchronise(learner)
        assert torch.equal(learner.encoder(images), before)
    assert all(torch.equal(statistics[name], v) for name, v in learner.encoder.named_buffers())
    kinds = [{type(each) for each in part.modules()} for part in learner.children()]
    assert [any(issubclass(k, nn.SyncBatchNorm) for k in some) for some in kinds] == [True, False]


def test_each_device_drops_units_of_its_own_and_the_first_those_of_one_device():
    spec = resolved("simclr", "projector").pretrain
    dataset = load_dataset(spec.data)
    seeds = []
    with torch.random.fork_rng(devices=[]):
        for rank in range(3):
            trainer = Trainer(spec, dataset, CPU, CostMeter(CPU), Rank(rank))
            trainer.start(0)
            trainer.train_step(next(trainer.loader.epoch(0)))
            seeds.append(torch.initial_seed())
    assert seeds[0] == derive(spec.seed, "dropout", 0)
    assert len(set(seeds)) == 3


@pytest.mark.parametrize(
    ("backbone", "options", "kind", "devices", "named"),
    [
        ("test_efficientnet", {}, "cuda", 2, ["sync-batchnorm-activation"]),
        ("test_efficientnet", {}, "cuda", 1, []),
        ("test_resnet", {}, "cuda", 2, []),
        ("test_vit", {"drop_path_rate": 0.1}, "cpu", 2, ["device-drop-masks"]),
        ("test_vit", {"drop_path_rate": 0.1}, "cpu", 1, []),
        ("test_vit", {}, "cpu", 2, []),
    ],
)
def test_what_changed_on_several_devices_is_named(
    monkeypatch, backbone, options, kind, devices, named
):
    fields = {"backbone__name": backbone, "backbone__options": options, "data__image_size": 64}
    spec = resolved("simclr", "projector", **fields).pretrain
    device = Device(torch.device(kind), "fp32")
    monkeypatch.setattr(identity, "bind_device", lambda spec: device)
    built = build_backbone(spec.backbone, 64)
    several = spec.model_copy(update={"devices": devices})
    assert identity.training_revisions(several, built, load_dataset(spec.data)) == named
