"""One kernel over all parameters takes the steps that a loop over them takes."""

import pytest
import torch
from torch import nn

from emabench.spec import OptimizerSpec
from emabench.training.optimizer import build_optimizer


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def trained(spec, *, frozen_steps=0):
    model = network()
    optimizer = build_optimizer(spec, model, 16)
    generator = torch.Generator().manual_seed(1)
    for step in range(6):
        model[2].requires_grad_(step >= frozen_steps)
        model(torch.randn(5, 4, generator=generator)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return torch.cat([each.flatten() for each in model.parameters()])


@pytest.mark.parametrize("frozen_steps", [0, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sgd", {}),
        ("sgd", {"nesterov": True}),
        ("sgd", {"dampening": 0.5}),
        ("momentum", {}),
        ("adam", {}),
        ("adamw", {}),
    ],
)
def test_a_fused_step_is_the_step_of_a_loop_also_where_a_layer_is_frozen_at_first(
    name, options, frozen_steps
):
    spec = OptimizerSpec(name=name, lr=0.01, weight_decay=0.01, options=options)
    loop = spec.model_copy(update={"options": {**options, "fused": False}})
    given = trained(spec, frozen_steps=frozen_steps)
    assert torch.allclose(given, trained(loop, frozen_steps=frozen_steps), rtol=1e-5, atol=1e-7)


def test_momentum_may_be_off():
    spec = OptimizerSpec(name="sgd", lr=0.01, momentum=0.0)
    loop = spec.model_copy(update={"options": {"fused": False}})
    assert torch.allclose(trained(spec), trained(loop))
