"""The floors of an evaluation: raw pixels, and the network before its training."""

import pytest

from emabench import experiment
from emabench.cost.meter import CostMeter
from emabench.device import Device, bind_device
from emabench.errors import SpecError
from emabench.plans.grids import GridPoint, resolve_all
from emabench.spec import ExperimentSpec
from emabench.spec.linear_eval import FLOORS
from emabench.spec.settings import experiment_at

FIELDS = {"pretrain.threads": 1, "pretrain.precision": "fp32", "pretrain.device": "cpu"}
FIELDS |= {"pretrain.data.train_subset": 200, "pretrain.data.test_subset": 100, "pretrain.seed": 3}
EPOCHS = {"pretrain.epochs": 1, "pretrain.probe_images": 0}


def planned(preset="smoke", **fields):
    return experiment.resolve(experiment_at(FIELDS | fields, preset=preset), command="")


def results_of(plan, folder):
    spec = ExperimentSpec.parse(plan.spec)
    device = Device(bind_device(spec.pretrain).torch, "fp32")
    job = {"on_event": lambda event: None, "meter": CostMeter(device)}
    experiment.pretrain(spec.pretrain, folder=folder, record=list, stop=lambda: False, **job)
    return experiment.evaluate(spec, weights=folder / "online.safetensors", **job).results


def test_floors_are_what_runs_of_them_alone_give_and_change_nothing_else(tmp_path):
    both = planned(**EPOCHS, **{"evaluation.floors": True})
    plain = planned(**EPOCHS)
    assert both.fingerprint == plain.fingerprint
    found = results_of(both, tmp_path / "both")
    assert {n: v for n, v in found.items() if "@" not in n} == results_of(plain, tmp_path / "plain")
    alone = {
        "pixels": {"pretrain.backbone.name": "pixels", "pretrain.backbone.stem": "auto"},
        "untrained": {},
    }
    for name in FLOORS:
        floor = planned(**{"pretrain.epochs": 0, "evaluation.floors": True}, **alone[name])
        wanted = results_of(floor, tmp_path / name)
        assert not any("@" in each for each in wanted), "an untrained run has no floors"
        assert {f"{each}@{name}": value for each, value in wanted.items()}.items() <= found.items()


def test_the_first_run_of_a_user_has_floors_and_images_cannot_take_their_names():
    assert planned(preset="quick").spec["evaluation"]["floors"] is True
    assert "floors" not in planned().spec["evaluation"]
    with pytest.raises(SpecError, match="pixels is the name of a floor"):
        planned(**{"evaluation.also": [{"dataset": "synthetic", "name": "pixels"}]})


@pytest.mark.parametrize(
    ("runs", "measured"),
    [
        ([{}, {"pretrain.backbone.name": "tiny-resnet"}], [True, False, True, False]),
        ([{"pretrain.method.name": "random"}, {}], [False, False, True, False]),
        ([{"pretrain.epochs": 0}, {"pretrain.data.image_size": 14}], [False, False, True, False]),
        ([{}, {"pretrain.data.image_size": 14}], [True, False, True, False]),
        ([{}, {"pretrain.data.train_subset": 500}], [True, False, True, False]),
    ],
)
def test_the_first_trained_one_of_several_runs_measures_the_floors_for_all(runs, measured):
    points = [
        GridPoint(experiment_at(FIELDS | {"pretrain.seed": seed} | more, preset="quick"), "")
        for more in runs
        for seed in (0, 1)
    ]
    plans = resolve_all(points, on_event=lambda event: None)
    assert ["floors" in plan.spec["evaluation"] for plan in plans] == measured
    alone = experiment.resolve(points[3].spec, command="")
    assert "floors" in alone.spec["evaluation"]
    assert alone.fingerprint == plans[3].fingerprint
