"""The operations of a step, counted without content, are those of the step that is computed."""

import pytest
import torch

from emabench.cost.flops import count_flops
from emabench.methods import load_method, method_names
from emabench.methods._method import TrainingSet
from emabench.spec.settings import experiment_at
from emabench.training.learner import Learner
from emabench.training.step_flops import step_flops

BATCH, SIZE, DATA = 32, 32, TrainingSet(200, 10)


def learner_of(name, scope="none", **fields):
    point = {"pretrain.method.name": name, "pretrain.ema.scope": scope, **fields}
    spec = experiment_at(point, preset="smoke").pretrain
    return Learner(spec, SIZE, DATA).train()


def computed(learner):
    learner.freeze(1000)
    views = {view: torch.randn(BATCH, 3, SIZE, SIZE) for view in learner.sizes}
    labels = torch.zeros(BATCH, dtype=torch.int64)
    return count_flops(lambda: learner(views, labels).objective.backward())


@pytest.mark.parametrize("name", [name for name in method_names() if name != "random"])
def test_counting_without_content_finds_the_same_and_changes_nothing(name):
    learner = learner_of(name, "full" if load_method(name).target_views else "none")
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    state = torch.get_rng_state()
    counted = step_flops(learner, BATCH)
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in learner.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert counted == computed(learner) > 0


def test_fused_attention_is_counted():
    fields = {"pretrain.backbone.name": "vit_tiny_patch16_224"}
    learner = learner_of("simclr", **fields, **{"pretrain.backbone.options": {"depth": 2}})
    assert step_flops(learner, BATCH) == computed(learner)


@pytest.mark.parametrize(
    ("name", "projector", "full"), [("simclr", 1.0, 4 / 3), ("moco", 1.0, 4 / 3), ("ressl", 1, 1)]
)
def test_the_arithmetic_of_the_scopes(name, projector, full):
    """A forward pass is 1 and a backward pass 2: 6 for none, 8 for full; ReSSL 4 in every scope."""
    none = step_flops(learner_of(name), BATCH)
    for scope, expected in (("projector", projector), ("full", full)):
        ratio = step_flops(learner_of(name, scope), BATCH) / none
        assert ratio == pytest.approx(expected, rel=0.03), scope


def test_a_method_that_trains_nothing_has_no_step():
    assert step_flops(learner_of("random"), BATCH) is None


def test_a_loss_that_asks_for_values_cannot_be_counted(monkeypatch):
    learner = learner_of("simclr")
    loss = type(learner.method).loss
    monkeypatch.setattr(
        type(learner.method), "loss", lambda *views: loss(*views) * (1 + 0 * loss(*views).item())
    )
    assert step_flops(learner, BATCH) is None
