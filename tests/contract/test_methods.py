"""What every method promises in every kind of scope, in few real steps.

A new file in ``emabench/methods`` joins by itself.
"""

from __future__ import annotations

import math

import pytest
import torch

from emabench import experiment
from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.errors import InterruptedRunError
from emabench.methods import load_method, method_names
from emabench.spec import ExperimentSpec
from emabench.spec.settings import experiments
from emabench.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("uncounted")
CPU = Device(torch.device("cpu"), "fp32")
SCOPES = {
    "none": set(),
    "projector": {"projector"},
    "full": {"stem", "layer1", "layer2", "layer3", "layer4", "projector"},
    "layer2": {"layer2"},
    "from:layer4": {"layer4", "projector"},
}
CASES = [
    (method, scope)
    for method in method_names()
    for scope in SCOPES
    if load_method(method).trains and (scope == "none" or load_method(method).target_views)
]


def cases(*fast_scopes):
    """Every case; those of other scopes are marked slow."""
    return [
        pytest.param(*case, marks=() if case[1] in fast_scopes else pytest.mark.slow)
        for case in CASES
    ]


def resolved(method, scope, **fields):
    axes = [("pretrain.threads", [1]), ("pretrain.method.name", [method])]
    axes += [("pretrain.ema.scope", [scope]), ("pretrain.precision", ["fp32"])]
    axes += [(f"pretrain.{path.replace('__', '.')}", [value]) for path, value in fields.items()]
    (spec,) = experiments(axes, preset="smoke")
    return ExperimentSpec.parse(experiment.resolve(spec, command="emabench run").spec)


def train(spec, folder, *, stop=lambda: False, earlier=()):
    points = []
    outcome = experiment.pretrain(
        spec.pretrain,
        folder=folder,
        earlier=earlier,
        on_event=lambda event: None,
        record=points.extend,
        stop=stop,
        meter=CostMeter(CPU),
    )
    return outcome.results, points


@pytest.mark.parametrize(("method", "scope"), cases("layer2", "from:layer4"))
def test_the_right_blocks_are_trained_and_copied(method, scope):
    spec = resolved(method, scope).pretrain
    trainer = Trainer(spec, load_dataset(spec.data), CPU, CostMeter(CPU))
    learner = trainer.learner
    assert set(learner.target.copies) == SCOPES[scope]
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    gradients = {}

    def keep_gradients(*_):
        gradients.update({name: p.grad for name, p in trainer.online.named_parameters()})

    trainer._optimizer.register_step_pre_hook(keep_gradients)
    batches = trainer.loader.epoch(0)
    for _ in range(3):
        loss = trainer.train_step(next(batches))
        assert math.isfinite(loss.item())
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert torch.isfinite(gradient).all(), name
    for name, parameter in learner.target.copies.named_parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None, name
    moved = {name for name, p in learner.named_parameters() if not torch.equal(p, before[name])}
    for block in SCOPES[scope]:
        assert any(name.startswith(f"target.copies.{block}.") for name in moved), block


@pytest.mark.parametrize(("method", "scope"), cases("from:layer4"))
def test_a_stopped_training_goes_on_exactly(tmp_path, method, scope):
    spec = resolved(method, scope)
    whole = train(spec, tmp_path / "whole")
    asked = iter(range(10_000))
    with pytest.raises(InterruptedRunError):
        train(spec, tmp_path / "one", stop=lambda: next(asked) + 1 >= 6)
    results, points = train(spec, tmp_path / "two", earlier=[tmp_path / "one"])
    assert results == whole[0]
    assert points == whole[1][-len(points) :]
    weights = [(tmp_path / name / "online.safetensors").read_bytes() for name in ("whole", "two")]
    assert weights[0] == weights[1]
