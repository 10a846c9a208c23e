"""With the learning rate and the decay in tensors a training takes the steps that it took."""

import copy

import pytest
import torch
from torch import nn

from emabench.cost.meter import CostMeter
from emabench.data.images import load_dataset
from emabench.device import Device
from emabench.experiment import resolve
from emabench.spec import ExperimentSpec, OptimizerSpec, ScheduleSpec
from emabench.spec.settings import experiments
from emabench.training.checkpoint import load_checkpoint, save_checkpoint
from emabench.training.optimizer import LearningRate, build_optimizer, held_rates
from emabench.training.trainer import Trainer

CPU = torch.device("cpu")
PLAIN, HOLDING = Device(CPU, "fp32"), Device(CPU, "fp32", captures_steps=True)
STEPS = 20


def network():
    torch.manual_seed(0)
    flat = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*flat, nn.Linear(8 * 16, 8), nn.ReLU(), nn.Linear(8, 3))


def trained(spec, device):
    """Return the weights after every step, and whether the rates lie in tensors."""
    model = network()
    optimizer = build_optimizer(spec, model, 16, constant_lr=["6"])
    held = held_rates(spec, optimizer, device)
    schedule = ScheduleSpec(warmup_epochs=1.0)
    rate = LearningRate(schedule, optimizer, STEPS // 4, STEPS, held)
    generator = torch.Generator().manual_seed(1)
    weights = []
    for step in range(STEPS):
        rate.set(step)
        model(torch.randn(5, 3, 6, 6, generator=generator)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        weights.append(torch.cat([each.detach().flatten() for each in model.parameters()]))
    return torch.stack(weights), held is not None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sgd", {}),
        ("sgd", {"nesterov": True}),
        ("momentum", {}),
        ("lars", {}),
        ("lars", {"nesterov": True, "trust_clip": True}),
        ("larc", {}),
        ("adam", {}),
        ("adam", {"amsgrad": True}),
        ("adamw", {}),
    ],
)
def test_twenty_steps_are_the_same_bit_for_bit(name, options):
    spec = OptimizerSpec(name=name, lr=0.01, lr_batch=None, weight_decay=0.01, options=options)
    plain, in_numbers = trained(spec, PLAIN)
    held, in_tensors = trained(spec, HOLDING)
    assert (in_numbers, in_tensors) == (False, True)
    assert not torch.equal(plain[0], plain[-1])
    assert torch.equal(held, plain)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lamb", {}),
        ("lars", {"foreach": True}),
        ("adamw", {"fused": False}),
        ("sgd", {"dampening": 0.5}),
    ],
)
def test_other_optimisers_keep_their_numbers(name, options):
    """The first two round otherwise; a loop over parameters asks the tensor for its number."""
    spec = OptimizerSpec(name=name, lr=0.01, weight_decay=0.01, options=options)
    assert trained(spec, HOLDING)[1] is False


def trainer_on(device, **fields):
    fields = {"threads": 1, "method.name": "byol", "ema.scope": "full", **fields}
    (spec,) = experiments([(f"pretrain.{path}", [value]) for path, value in fields.items()],
                          preset="smoke")  # fmt: skip
    spec = ExperimentSpec.parse(resolve(spec, command="emabench run").spec).pretrain
    return Trainer(spec, load_dataset(spec.data), device, CostMeter(device))


def losses_of(trainer, first, last):
    trainer.start(epoch=0)
    batches = trainer.endless()
    skipped = [next(batches) for _ in range(first)]
    assert len(skipped) == first
    return [trainer.train_step(next(batches)).item() for _ in range(first, last)]


def weights_of(trainer):
    return {name: each.clone() for name, each in trainer.learner.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize("before", [PLAIN, HOLDING], ids=["from numbers", "from tensors"])
@pytest.mark.parametrize("after", [PLAIN, HOLDING], ids=["to numbers", "to tensors"])
def test_a_checkpoint_of_either_goes_on_as_either(tmp_path, before, after):
    whole = trainer_on(PLAIN)
    losses = losses_of(whole, 0, 6)
    one = trainer_on(before)
    assert losses_of(one, 0, 3) == losses[:3]
    path = save_checkpoint(tmp_path, one.state_dict(), owner="x")
    other = trainer_on(after)
    other.load_state_dict(load_checkpoint(path))
    assert losses_of(other, 3, 6) == losses[3:]
    assert same(weights_of(other), weights_of(whole))
    assert other.learning_rate == whole.learning_rate


@pytest.mark.usefixtures("uncounted")
def test_what_a_captured_step_reads_stays_where_it_is():
    """A graph knows addresses: neither a step nor a loaded state may bring new tensors."""
    trainer = trainer_on(HOLDING)
    seen = []
    update = trainer.learner.target.update
    trainer.learner.target.update = lambda decay: (seen.append(decay), update(decay))
    losses_of(trainer, 0, 2)
    rates = [group["lr"] for group in trainer._optimizer.param_groups]
    assert all(rate.dtype is torch.float64 for rate in rates)
    trainer.load_state_dict(copy.deepcopy(trainer.state_dict()))
    before = [float(rate) for rate in rates]
    losses_of(trainer, 2, 4)
    after = [group["lr"] for group in trainer._optimizer.param_groups]
    assert all(one is other for one, other in zip(rates, after, strict=True))
    assert [float(rate) for rate in after] != before
    assert len(seen) == 4
    assert all(decay is seen[0] for decay in seen)
    assert float(seen[0]) == trainer._decay(3)
