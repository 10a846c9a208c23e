"""Tuning an encoder: blocks that are frozen for some epochs, and learning rates by layers."""

import torch

from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.testing import resolved
from emabench.training.step_flops import step_flops
from emabench.training.trainer import Trainer

CPU = Device(torch.device("cpu"), "fp32")


def trainer_of(method="mae_ct", **fields):
    spec = resolved(method, "projector", **fields).pretrain
    return Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU))


def moved_in(trainer, epoch):
    """Return the blocks whose weights a step of an epoch moves."""
    trainer.start(epoch)
    blocks = trainer.learner.encoder.blocks
    before = [(name, p, p.detach().clone()) for name in blocks for p in blocks[name].parameters()]
    trainer.train_step(next(trainer.loader.epoch(epoch)))
    return {name for name, parameter, value in before if not torch.equal(parameter, value)}


def test_the_head_learns_first_and_then_the_upper_half():
    trainer = trainer_of(method__options__head_epochs=2, schedule__warmup_epochs=0)
    assert moved_in(trainer, 0) == moved_in(trainer, 1) == {"projector"}
    assert moved_in(trainer, 2) == {"layer3", "layer4", "projector"}
    assert moved_in(trainer, 0) == {"projector"}
    late = trainer_of(method__options__head_epochs=0, method__options__tuned_share=1.0)
    assert moved_in(late, 0) == {"layer1", "layer2", "layer3", "layer4", "projector"}


def test_what_was_frozen_by_somebody_else_stays_so():
    learner = trainer_of(method__options__head_epochs=1).learner
    fixed = next(learner.encoder.blocks["layer4"].parameters()).requires_grad_(False)
    learner.freeze(0)
    learner.freeze(1)
    assert not fixed.requires_grad
    others = list(learner.encoder.blocks["layer4"].parameters())[1:]
    assert all(parameter.requires_grad for parameter in others)


def test_what_is_never_trained_has_no_backward_pass():
    half, whole = (trainer_of(method__options__tuned_share=share).learner for share in (0.5, 1.0))
    assert step_flops(half, 32) < step_flops(whole, 32)
    assert all(parameter.requires_grad for parameter in half.encoder.parameters())


def rates_of(trainer):
    rates = {
        id(p): group["lr"] for group in trainer._optimizer.param_groups for p in group["params"]
    }
    blocks = trainer.learner.encoder.blocks
    found = {name: {rates[id(p)] for p in blocks[name].parameters()} for name in blocks}
    assert {rates[id(p)] for p in trainer.learner.method.parameters()} == found["projector"]
    return {name: rate for name, (rate,) in found.items()}


def test_the_learning_rate_falls_from_layer_to_layer():
    trainer = trainer_of(optimizer__layer_decay=0.5, schedule__warmup_epochs=0)
    trainer._lr.set(0)
    rates = rates_of(trainer)
    peak = rates["projector"]
    names = ["layer4", "layer3", "layer2", "layer1", "stem"]
    assert [rates[name] / peak for name in names] == [0.5**n for n in range(1, 6)]
    points = []
    trainer._epoch_losses = [1.0]
    trainer.step = 1
    trainer._end_epoch(0, points.extend)
    assert {point.name: point.value for point in points}["lr"] == peak
    even = trainer_of(optimizer__layer_decay=1.0)
    even._lr.set(3)
    assert len(set(rates_of(even).values())) == 1
