"""Tracing and compiling change what a run costs, and no more of it than rounding."""

import gzip
import json

import pytest
import torch
from safetensors.torch import load_file

from emabench.cost.meter import CostMeter
from emabench.device import Device
from emabench.errors import UsageError
from emabench.experiment import pretrain, resolve
from emabench.methods._method import TrainingSet
from emabench.spec import ExperimentSpec
from emabench.spec.settings import experiment_at
from emabench.training.learner import Learner
from emabench.training.profiling import TRACE
from emabench.training.weights import weights_file

CPU = Device(torch.device("cpu"), "fp32")


def plan_of(*, profile=False, **fields):
    point = {f"pretrain.{path.replace('__', '.')}": value for path, value in fields.items()}
    spec = experiment_at(
        {"pretrain.threads": 1, "pretrain.precision": "fp32"} | point, preset="smoke"
    )
    return resolve(spec.model_copy(update={"profile": profile}), command="emabench run")


def train(plan, artifacts, *, profile=False):
    points = []
    folder = artifacts / "job" / "attempt-1"
    outcome = pretrain(
        ExperimentSpec.parse(plan.spec).pretrain,
        folder=folder,
        on_event=lambda event: None,
        record=points.extend,
        stop=lambda: False,
        meter=CostMeter(CPU),
        profile=profile,
    )
    return outcome, points, folder


@pytest.mark.usefixtures("uncounted")
def test_a_trace_shows_the_steps_and_changes_no_weight(tmp_path):
    _, points, plain = train(plan_of(batch_size=16), tmp_path / "plain")
    _, same, traced = train(plan_of(batch_size=16), tmp_path / "traced", profile=True)
    assert points == same
    first, second = (
        load_file(weights_file(folder.parents[1], "job", "online")) for folder in (plain, traced)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (plain / TRACE).exists()
    with gzip.open(traced / TRACE) as file:
        events = json.load(file)["traceEvents"]
    steps = {event["name"] for event in events if event["name"].startswith("ProfilerStep#")}
    assert len(steps) == 10
    assert any(event["name"] == "aten::convolution_backward" for event in events)


def test_what_is_off_leaves_the_fingerprint_alone_and_what_is_on_does_not():
    plain = plan_of()
    assert plan_of(compile=False).fingerprint == plain.fingerprint
    profiled = plan_of(profile=True)
    assert profiled.fingerprint != plain.fingerprint
    assert any("left out of comparisons" in warning for warning in profiled.warnings)


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match="compiler"):
        plan_of(compile=True)


@pytest.mark.slow
# torch looks at the gradient of what goes into a block, and hides the warning from all but a test.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("scope", ["none", "full"])
def test_compiled_blocks_compute_the_same_but_for_rounding(tmp_path, scope):
    plain, points, _ = train(plan_of(ema__scope=scope), tmp_path / "plain")
    compiled, same, _ = train(plan_of(ema__scope=scope, compile=True), tmp_path / "compiled")
    assert compiled.cost.warmup_s > plain.cost.warmup_s, "compiling counts as warm-up"
    losses, others = (
        [point.value for point in each if point.name == "loss"] for each in (points, same)
    )
    assert losses == pytest.approx(others, rel=1e-3)


VIT = {"depth": 2, "embed_dim": 32, "num_heads": 2}


@pytest.mark.parametrize("scope", ["none", "projector", "full"])
def test_without_batch_statistics_one_pass_over_all_views_is_the_same(scope):
    spec = ExperimentSpec.parse(
        plan_of(
            backbone__name="vit_tiny_patch16_224",
            backbone__options=VIT,
            ema__scope=scope,
        ).spec
    ).pretrain
    outputs = []
    for joint in (True, False):
        learner = Learner(spec, 28, TrainingSet(200, 10)).double().train()
        assert learner._passes == [(0, 1)], "a ViT and this head have no BatchNorm"
        if not joint:
            learner._passes = [(0,), (1,)]
        generator = torch.Generator().manual_seed(0)
        views = {
            view: torch.randn(8, 3, 28, 28, generator=generator, dtype=torch.float64)
            for view in learner.sizes
        }
        output = learner(views)
        output.objective.backward()
        assert len(output.activations) == (1 if joint else 2)
        gradients = [p.grad for p in learner.encoder.parameters() if p.grad is not None]
        outputs.append((output.loss, torch.cat([each.flatten() for each in gradients])))
    (loss, gradient), (other_loss, other_gradient) = outputs
    assert torch.allclose(loss, other_loss, rtol=1e-6)
    assert torch.allclose(gradient, other_gradient, rtol=1e-4, atol=1e-7)


def test_with_batch_statistics_the_views_stay_apart():
    spec = ExperimentSpec.parse(plan_of().spec).pretrain
    assert Learner(spec, 28, TrainingSet(200, 10))._passes == [(0,), (1,)]
    joint = spec.model_copy(update={"views": "joint"})
    assert Learner(joint, 28, TrainingSet(200, 10))._passes == [(0, 1)]
