"""Evaluations on further data sets beside the first one."""

import json

import numpy as np
import pytest
from PIL import Image

from emabench import experiment
from emabench.analysis.metrics import parse_metric
from emabench.cost.meter import CostMeter
from emabench.device import Device, bind_device
from emabench.errors import SpecError, UnknownNameError
from emabench.evaluation import accuracies
from emabench.report.tables.run_table import reading_table
from emabench.spec import ExperimentSpec
from emabench.spec.settings import experiment_at

FIELDS = {"pretrain.threads": 1, "pretrain.epochs": 0, "pretrain.precision": "fp32"}
FIELDS |= {"pretrain.device": "cpu"}
FEW = {"dataset": "synthetic", "train_subset": 100, "test_subset": 50}


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 5)):
        for shade, name in enumerate(("dark", "grey", "light")):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(60 * shade, 60 * shade + 90, (30, 30, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return str(tmp_path / "images")


def planned(**evaluation):
    fields = {f"evaluation.{name}": value for name, value in evaluation.items()}
    return experiment.resolve(experiment_at(FIELDS | fields, preset="smoke"), command="")


def outcome(plan, folder):
    spec = ExperimentSpec.parse(plan.spec)
    device = Device(bind_device(spec.pretrain).torch, "fp32")
    experiment.pretrain(
        spec.pretrain, folder=folder, on_event=lambda event: None, record=list,
        stop=lambda: False, meter=CostMeter(device),
    )  # fmt: skip
    return experiment.evaluate(
        spec, weights=folder / "online.safetensors", on_event=lambda event: None,
        meter=CostMeter(device),
    )  # fmt: skip


def test_the_figures_on_further_images_are_those_of_an_evaluation_on_them_alone(images, tmp_path):
    folder = {"dataset": "folder", "data_dir": images}
    both = outcome(planned(also=[folder | {"name": "shades"}, FEW]), tmp_path / "both")
    alone = outcome(planned(data=folder), tmp_path / "alone")
    first = outcome(planned(), tmp_path / "first")
    at = {n.removesuffix("@shades"): v for n, v in both.results.items() if n.endswith("@shades")}
    assert at == dict(alone.results)
    assert {n: v for n, v in both.results.items() if "@" not in n} == dict(first.results)
    assert both.correct["top1@shades"] == alone.correct["top1"]
    assert "knn_top1@synthetic" in both.results


def test_the_content_and_not_the_place_of_further_images_is_the_identity(images, tmp_path):
    plain = planned()
    assert "also" not in plain.spec["evaluation"]
    (tmp_path / "link").symlink_to(images)
    places = [images, str(tmp_path / "link")]
    plans = [planned(also=[{"dataset": "folder", "data_dir": place}]) for place in places]
    assert plans[0].fingerprint == plans[1].fingerprint != plain.fingerprint
    (settled,) = plans[0].spec["evaluation"]["also"]
    assert (settled["name"], settled["image_size"]) == ("folder", 28)
    assert set(plans[0].identity["also"]) == {"folder"}
    assert planned(also=["synthetic"]).fingerprint not in {plans[0].fingerprint, plain.fingerprint}


@pytest.mark.parametrize(
    ("also", "words"),
    [
        (["synthetic", "synthetic"], "two are called synthetic; give each a name"),
        ([{"dataset": "synthetic", "name": "a b"}], "name='a b'"),
        ([{"dataset": "synthetic", "train_subset": 1}], "one training image is not enough"),
        ("synthetic", "also='synthetic'"),
    ],
)
def test_further_images_that_cannot_be_are_refused(also, words):
    with pytest.raises(SpecError, match=words):
        planned(also=also)


def test_test_images_choose_nothing(images, tmp_path, monkeypatch):
    """The penalty of each probe is chosen on held-out training images of its own data set."""
    seen = []
    fit = accuracies.fit_linear_probe

    def spy(spec, features, labels, *args):
        seen.append(len(labels))
        return fit(spec, features, labels, *args)

    monkeypatch.setattr(accuracies, "fit_linear_probe", spy)
    plan = planned(also=[{"dataset": "folder", "data_dir": images}])
    found = outcome(plan, tmp_path / "run")
    assert seen == [plan.spec["pretrain"]["data"]["train_subset"], 36]
    assert "holdout_top1@folder" in found.results


def test_an_accuracy_on_further_images_is_a_metric_like_any_other():
    for name in ("top1@cifar100", "knn_top5@flowers", "few_shot_5@x"):
        metric = parse_metric(name)
        assert (metric.name, metric.unit, metric.role) == (name, "%", "accuracy")
    for name in ("top1@", "loss@cifar100", "online_top1@cifar100", "nothing@x"):
        with pytest.raises(UnknownNameError):
            parse_metric(name)
    assert reading_table([]).headers.count("top1@x") == 0


@pytest.mark.slow
def test_the_command_line_shows_and_compares_them(emabench):
    smoke = ["--preset", "smoke", "--device", "cpu", "--set", "max_steps=2", "--set", "threads=1"]
    also = ["--set", f"evaluation.also=[{json.dumps(FEW)}]"]
    assert emabench(["run", *smoke, *also, "--ema-scope", "none,full"]).code == 0
    assert "top1@synthetic" in emabench(["list", "--smoke"]).out
    assert "knn_top5@synthetic" in emabench(["show", "@last"]).out
    compared = emabench(["compare", "--smoke", "--metric", "top1@synthetic"])
    assert compared.code == 0, compared.err
    assert "top1@synthetic" in compared.out
    again = emabench(
        ["eval", "@last", "--set", f"evaluation.also=[{json.dumps(FEW | {'name': 'x'})}]"]
    )
    assert again.code == 0, again.err
    assert "top1@x" in again.out
