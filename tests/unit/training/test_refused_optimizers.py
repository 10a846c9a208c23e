"""What an optimiser or schedule would do wrong is known before a run."""

import pytest
import torch
from timm.optim import get_optimizer_info, list_optimizers
from torch import nn

from emabench.errors import SpecError
from emabench.spec import OptimizerSpec, ScheduleSpec
from emabench.training.optimizer import build_optimizer, check_device, warmup_note

ADAPTIVE = ["lars", "larc", "nlars", "nlarc", "lamb", "lambc", "lambw", "clamb"]


def _build(**fields):
    return build_optimizer(OptimizerSpec(**fields), nn.Linear(2, 2), 256)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_layerwise_adaptation_needs_weight_decay_or_to_be_asked_for(name):
    with pytest.raises(SpecError, match="does not adapt") as caught:
        _build(name=name, weight_decay=0.0)
    assert "always_adapt=true" in caught.value.hint
    _build(name=name, weight_decay=0.0, options={"always_adapt": True})
    # Biases and norms without decay are left out on purpose.
    _build(name=name, weight_decay=1e-6, decay_bias_and_norm=False)


def test_second_derivatives_are_not_computed():
    with pytest.raises(SpecError, match="second derivatives") as caught:
        _build(name="adahessian")
    assert "adamw" in caught.value.hint


@pytest.mark.parametrize("name", ["fusedadam", "bnbsgd8bit"])
def test_hardware_that_is_not_there_is_named(name):
    with pytest.raises(SpecError, match=f"{name} of .* needs a CUDA device, not cpu"):
        check_device(OptimizerSpec(name=name), "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(SpecError, match="cannot be built"):
            _build(name=name)


def test_options_that_an_optimizer_cannot_take_are_explained():
    for options in ({"betas": 3}, {"lr": 1.0}, {"model_or_params": []}, {"fused": "x", "a": 1}):
        with pytest.raises(SpecError, match="cannot be built"):
            _build(name="adamw", options=options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_other_optimizer_makes_steps():
    for name in map(str, list_optimizers()):
        info = get_optimizer_info(name)
        if info.second_order or isinstance(info.opt_class, str):
            continue
        model = nn.Linear(2, 2)
        optimizer = build_optimizer(OptimizerSpec(name=name, lr=0.01), model, 256)
        for _ in range(2):
            model(torch.ones(1, 2)).square().sum().backward()
            optimizer.step()


@pytest.mark.parametrize(
    ("warmup_epochs", "epochs", "max_steps", "noted"),
    [
        (0, 3, None, False),
        (2.9, 3, None, False),
        (3, 3, None, True),
        (10, 3, None, True),
        (0.5, 3, 5, True),
        (0.5, 3, 6, False),
        (10, 0, None, False),
    ],
)
def test_a_warm_up_as_long_as_the_run_is_noted(warmup_epochs, epochs, max_steps, noted):
    note = warmup_note(ScheduleSpec(warmup_epochs=warmup_epochs), epochs, 10, max_steps)
    assert (note is not None) is noted
