"""The studies of the package: each budget comes to the runs that it says, without torch."""

import functools
import subprocess
import sys

import pytest

from emabench.analysis.curves.stability import QUANTITIES
from emabench.analysis.metrics import parse_metrics
from emabench.methods import load_method
from emabench.plans.studies import study_points
from emabench.plans.study_questions import question_of, study_questions
from emabench.records import PlannedRun
from emabench.spec.fingerprint import fingerprint
from emabench.spec.paths import full_path
from emabench.spec.study import load_study, study_names

BLOCKS = ["stem", "layer1", "layer2", "layer3", "layer4", "projector"]
BUDGETS = ("smoke", "cpu", "gpu")
RUNS = {
    "atlas": (45, 360, 225),
    "projector-vs-full": (14, 56, 35),
    "momentum-free-boost": (12, 36, 60),
    "which-block": (13, 39, 65),
    "gradient-stability": (7, 21, 35),
    "decay-sweep": (9, 27, 45),
    "averaged-weights": (12, 60, 60),
    "stale-teacher": (12, 60, 60),
    "fast-predictor": (5, 25, 25),
    "decay-and-batch": (8, 40, 40),
    "vit-or-resnet": (12, 36, 60),
    "no-teacher": (3, 15, 15),
    "frozen-teacher": (2, 10, 10),
    "loss-predicts-accuracy": (32, 96, 96),
}
"""Two SimCLR-like methods: 4 arms, the control among them; MoCo: 3; times the seeds."""
CASES = [(name, budget) for name in RUNS for budget in BUDGETS]


@functools.cache
def specs(name, budget):
    return [
        run.spec for run in study_points(load_study(name), budget, blocks_of=lambda spec: BLOCKS)
    ]


@pytest.mark.parametrize("name", sorted(RUNS))
def test_every_study_compares_arms_with_its_baseline(name):
    study = load_study(name)
    plans = []
    for spec in specs(name, "cpu"):
        fields = spec.model_dump(mode="json")
        teacher = fields["pretrain"]["ema"].get("teacher")
        identity = {} if teacher is None else {"teacher": teacher}
        told = fingerprint([fields, identity])
        plans.append(PlannedRun(spec=fields, identity=identity, fingerprint=told, command=""))
    questions = study_questions(study, plans)
    seeds = set(study.budget("cpu").seeds)
    assert all(set(each.arm) == set(each.reference) == seeds for each in questions)
    if name == "no-teacher":
        assert len(questions) == 2
    assert question_of(study).factor.along == tuple(map(full_path, study.spec.along))


def test_no_study_is_forgotten_here():
    assert sorted(RUNS) == study_names()


@pytest.mark.parametrize(("name", "budget"), CASES)
def test_a_budget_comes_to_the_runs_that_it_says(name, budget):
    expected = RUNS[name][BUDGETS.index(budget)]
    assert len(specs(name, budget)) == load_study(name).budget(budget).runs == expected


@pytest.mark.parametrize("name", sorted(RUNS))
def test_the_budgets_are_what_they_are_called(name):
    assert all(spec.smoke for spec in specs(name, "smoke"))
    for budget in ("cpu", "gpu"):
        assert not any(spec.smoke for spec in specs(name, budget))
        assert len(load_study(name).budget(budget).seeds) >= 3
    assert {spec.pretrain.data.dataset for spec in specs(name, "cpu")} == {"fashion-mini"}
    published = {
        (spec.pretrain.data.dataset, spec.pretrain.epochs, spec.pretrain.batch_size)
        for spec in specs(name, "gpu")
    }
    batches = {64, 256} if name == "decay-and-batch" else {256}
    epochs = {200, 267} if name == "no-teacher" else {200}
    assert published == {("cifar100", each, batch) for batch in batches for each in epochs}


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_study_has_a_control_arm_for_every_method_that_needs_one(name):
    """Methods that detach their targets by definition: their ``none`` is the control."""
    found = specs(name, "smoke")
    methods = {spec.pretrain.method.name for spec in found if spec.pretrain.ema.scope != "none"}
    methods = {method for method in methods if not load_method(method).stop_gradient}
    controls = {
        spec.pretrain.method.name
        for spec in found
        if (spec.pretrain.ema.scope, spec.pretrain.ema.target_gradient) == ("none", "detach")
    }
    assert controls == methods


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_study_decides_by_a_metric_with_a_margin(name):
    spec = load_study(name).spec
    assert parse_metrics(",".join(spec.metrics))
    assert spec.metrics[0] in spec.margin


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_gradients_are_measured_where_they_are_the_question(budget):
    study = load_study("gradient-stability").spec
    assert study.quantity in QUANTITIES
    for spec in specs("gradient-stability", budget):
        assert spec.pretrain.monitors.gradient_every is not None


@pytest.mark.parametrize("budget", BUDGETS)
def test_studies_share_the_runs_that_ask_the_same(budget):
    """The gradient study costs nothing where projector-vs-full was run with its seeds."""
    seeds = set(load_study("projector-vs-full").budget(budget).seeds)
    known = {spec.model_dump_json() for spec in specs("projector-vs-full", budget)}
    assert set(load_study("gradient-stability").budget(budget).seeds) <= seeds
    assert {spec.model_dump_json() for spec in specs("gradient-stability", budget)} <= known


def test_the_decay_is_swept_where_there_is_an_average_only():
    found = specs("decay-sweep", "smoke")
    swept = [spec.pretrain.ema for spec in found if spec.pretrain.ema.scope != "none"]
    assert {(ema.scope, ema.decay) for ema in swept} == {
        (scope, decay) for scope in ("projector", "full") for decay in (0.9, 0.99, 0.996, 0.999)
    }
    assert {ema.schedule for ema in swept} == {"constant"}
    assert len(found) == len(swept) + 1


def test_studies_are_read_without_torch():
    program = (
        "import sys\n"
        "from emabench.spec.study import load_study, study_names\n"
        "from emabench.plans.studies import study_points\n"
        "for name in study_names():\n"
        f"    assert study_points(load_study(name), 'cpu', blocks_of=lambda spec: {BLOCKS})\n"
        "assert not {'torch', 'timm'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_rates_of_published_recipes_are_for_their_batch():
    for spec in specs("decay-and-batch", "gpu"):
        optimizer, recipe = spec.pretrain.optimizer, specs("projector-vs-full", "gpu")
        known = {r.pretrain.method.name: r.pretrain.optimizer for r in recipe}
        wanted = known.get(spec.pretrain.method.name, optimizer)
        assert (optimizer.lr, optimizer.lr_batch or 256) == (wanted.lr, wanted.lr_batch or 256)
    of_cpu = {spec.pretrain.optimizer.lr_batch for spec in specs("decay-and-batch", "cpu")}
    assert of_cpu == {64}


@pytest.mark.parametrize(("name", "budget"), CASES)
def test_no_rate_ends_above_its_peak(name, budget):
    for spec in specs(name, budget):
        pretrain = spec.pretrain
        scale = pretrain.batch_size / (pretrain.optimizer.lr_batch or pretrain.batch_size)
        assert pretrain.schedule.final_lr < pretrain.optimizer.lr * scale
