"""The gradient monitor against torch.autograd.grad of an independent computation."""

import itertools

import pytest
import torch
from torch import nn

from emabench.methods._method import TrainingSet
from emabench.monitors.gradients import GradientMonitor
from emabench.spec.settings import experiment_at
from emabench.training.learner import Learner

N = 8


def learner_of(method, scope, views):
    point = {
        "pretrain.method.name": method,
        "pretrain.ema.scope": scope,
        "pretrain.views": views,
        "pretrain.ema.target_gradient": "detach",
    }
    if method == "wmse":
        point["pretrain.method.options"] = {"output_dim": 4, "whitening_size": N}
    spec = experiment_at(point, preset="smoke").pretrain
    return Learner(spec, 28, TrainingSet(images=200, classes=10)).train()


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    return {view: torch.randn(N, 3, 28, 28, generator=generator) for view in (0, 1)}


def shifted_gradients(learner, views, block):
    """Differentiate the objective with respect to a zero that is added to a block's output.

    One zero for all views gives the mean gradient, one zero for each view gives every view's own.
    """
    found = []
    for shape in ((1,), (N,)):
        shifts = []

        def shift(module, inputs, output, shape=shape, shifts=shifts):
            if not torch.is_grad_enabled():
                return output  # the target's run of an online block
            zero = shifts[0] if shifts and shape == (1,) else None
            if zero is None:
                count = len(output) if shape == (N,) else 1
                zero = torch.zeros(count, *output.shape[1:], requires_grad=True)
                shifts.append(zero)
            return output + zero

        handle = learner.encoder.blocks[block].register_forward_hook(shift)
        objective = learner(views).objective
        found.append(torch.autograd.grad(objective, shifts))
        handle.remove()
    ((mean,), own) = found
    return mean.flatten(), torch.cat([each.flatten(1) for each in own])


@pytest.mark.parametrize("views", ["separate", "joint"])
@pytest.mark.parametrize(
    ("method", "scope"), [("simclr", "projector"), ("byol", "layer2"), ("ressl", "full")]
)
def test_the_figures_are_those_of_an_independent_differentiation(method, scope, views):
    learner = learner_of(method, scope, views)
    monitor = GradientMonitor(learner.encoder.block_names, every=2)
    batches = [batch(0), batch(1)]
    for each in batches:
        output = learner(each)
        monitor.watch(output.activations)
        output.objective.backward()
        monitor.measure(output.activations)
    figures = monitor.end_epoch()
    for block in learner.encoder.block_names:
        (first, first_own), (second, second_own) = (
            shifted_gradients(learner, each, block) for each in batches
        )
        norms = torch.stack([first.norm(), second.norm()])
        own = torch.stack([each.norm(dim=1).sum() for each in (first_own, second_own)])
        expected = {
            f"grad_norm:{block}": norms.mean(),
            f"grad_norm_sd:{block}": norms.std(),
            f"grad_sample_norm:{block}": own.mean(),
            f"grad_sample_norm_sd:{block}": own.std(),
            f"grad_cosine:{block}": first @ second / first.norm() / second.norm(),
        }
        for name, value in expected.items():
            assert figures[name] == pytest.approx(value.item(), rel=2e-3, abs=1e-5), name


class Chain(nn.Module):
    """Two scalings whose gradients are known by hand."""

    def passes(self, inputs, scale):
        hidden = inputs * nn.Parameter(torch.ones(()))
        return [[inputs, hidden, hidden * scale]]


def one_step(monitor, inputs, scale):
    passes = Chain().passes(inputs, scale)
    monitor.watch(passes)
    (passes[0][-1].square().sum() / 2).backward()
    monitor.measure(passes)


def test_the_figures_of_a_gradient_known_by_hand():
    monitor = GradientMonitor(["first", "last"], every=5)
    inputs = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    one_step(monitor, inputs, 1.0)  # the gradient of the last block is its output
    one_step(monitor, -inputs, 2.0)
    figures = monitor.end_epoch()
    assert figures["grad_norm:last"] == pytest.approx((5 + 10) / 2)
    assert figures["grad_sample_norm:last"] == pytest.approx((7 + 14) / 2)
    assert figures["grad_norm:first"] == pytest.approx((5 + 20) / 2)
    assert figures["grad_cosine:last"] == pytest.approx(-1)
    spread = 5 / 2**0.5
    assert figures["grad_norm_sd:last"] == pytest.approx(spread)
    assert "grad_norm_cv:last" not in figures, "two samples tell no coefficient of variation"
    assert "grad_cosine_sd:last" not in figures, "one pair has no spread"
    assert monitor.end_epoch() == {}


def test_a_coefficient_of_variation_takes_four_samples():
    monitor = GradientMonitor(["first", "last"], every=2)
    inputs = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    for size in (1.0, 0.0, 1.0, 2.0):  # a gradient of zero is a sample like any other
        one_step(monitor, inputs, size)
    norms = torch.tensor([5.0, 0.0, 5.0, 10.0])
    expected = (norms.std() / norms.mean()).item()
    assert monitor.end_epoch()["grad_norm_cv:last"] == pytest.approx(expected)


def test_only_the_steps_of_a_pair_are_compared():
    monitor = GradientMonitor(["first", "last"], every=4)
    assert [step for step in range(10) if monitor.wants(step)] == [0, 1, 4, 5, 8, 9]
    assert not any(GradientMonitor(["a"], None).wants(step) for step in range(10))
    for sign, _ in zip(itertools.cycle([1.0, 1.0, -1.0, -1.0]), range(8), strict=False):
        one_step(monitor, sign * torch.ones(2, 2), 1.0)
    figures = monitor.end_epoch()
    assert figures["grad_cosine:last"] == pytest.approx(1), "never across pairs, where it is -1"


def test_a_pair_that_a_checkpoint_divides_is_still_a_pair():
    whole, before = GradientMonitor(["a", "b"], 4), GradientMonitor(["a", "b"], 4)
    for monitor in (whole, before):
        one_step(monitor, torch.ones(2, 2), 1.0)
    after = GradientMonitor(["a", "b"], 4)
    after.load_state_dict(before.state_dict(), torch.device("cpu"))
    for monitor in (whole, after):
        one_step(monitor, torch.eye(2), 1.5)
    figures = whole.end_epoch()
    assert after.end_epoch() == figures
    assert "grad_cosine:b" in figures


def test_what_a_checkpoint_brings_goes_to_the_device_of_the_training():
    before, after = GradientMonitor(["a", "b"], 4), GradientMonitor(["a", "b"], 4)
    one_step(before, torch.ones(2, 2), 1.0)
    elsewhere = torch.device("meta")  # the one device beside the CPU that every machine has
    after.load_state_dict(before.state_dict(), elsewhere)
    state = after.state_dict()
    brought = [*state["samples"].values(), *state["previous"].values()]
    assert brought
    assert {tensor.device for tensor in brought} == {elsewhere}


def test_a_block_without_weights_has_no_gradient():
    monitor = GradientMonitor(["pixels", "projector"], every=2)
    pixels = torch.ones(2, 3)
    embedding = nn.Linear(3, 2)(pixels)
    monitor.watch([[pixels, pixels, embedding]])
    embedding.sum().backward()
    monitor.measure([[pixels, pixels, embedding]])
    assert {name.partition(":")[2] for name in monitor.end_epoch()} == {"projector"}


def test_half_precision_gradients_are_measured_in_float32():
    monitor = GradientMonitor(["first", "last"], every=2)
    inputs = torch.full((512, 4), 0.01, dtype=torch.bfloat16)
    hidden = inputs * nn.Parameter(torch.ones((), dtype=torch.bfloat16))
    passes = [[inputs, hidden, hidden * 1]]
    monitor.watch(passes)
    (passes[0][-1].sum()).backward()
    monitor.measure(passes)
    assert monitor.end_epoch()["grad_norm:last"] == 1024, "512 ones in bfloat16 would be rounded"
