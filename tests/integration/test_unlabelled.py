"""Images without labels: pretrained on, and evaluated on others or not at all."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from emabench.cost.meter import CostMeter
from emabench.data.sources.fashion_mini import read_split
from emabench.device import Device
from emabench.errors import SpecError
from emabench.events import Notice
from emabench.experiment import evaluate, pretrain, resolve
from emabench.jobs.bench import resolve_bench
from emabench.jobs.scope_costs import scope_costs
from emabench.records import JobKind
from emabench.spec import BenchSpec, EmaSpec, ExperimentSpec
from emabench.spec.settings import experiment_at, experiments

CPU = Device(torch.device("cpu"), "fp32")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A flat folder of images, and one with a folder per class."""
    root = tmp_path_factory.mktemp("pictures")
    images, labels = read_split("test")
    (root / "flat").mkdir()
    for number in range(120):
        Image.fromarray(images[number]).save(root / "flat" / f"{number}.png")
        folder = root / "labelled" / f"class {labels[number]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[number]).save(folder / f"{number}.png")
    return root


def planned(places, notes=None, **fields):
    settings = {
        "pretrain.threads": 1,
        "pretrain.data.dataset": "folder",
        "pretrain.data.data_dir": str(places / "flat"),
        "pretrain.data.train_subset": None,
        "pretrain.data.test_subset": None,
        "pretrain.batch_size": 32,
        "pretrain.max_steps": 2,
    } | {name.replace("__", "."): value for name, value in fields.items()}
    (spec,) = experiments([(path, [value]) for path, value in settings.items()], preset="smoke")
    told = [] if notes is None else notes
    return resolve(
        spec,
        command="emabench run",
        on_event=lambda event: told.append(event.message) if isinstance(event, Notice) else None,
    )


def labelled(places):
    return {"evaluation__data__data_dir": str(places / "labelled")}


def test_they_are_pretrained_on_and_evaluated_on_others(places, tmp_path):
    notes = []
    plan = planned(places, notes, **labelled(places))
    assert plan.kinds == (JobKind.PRETRAIN, JobKind.LINEAR_EVAL)
    assert any("online_top1 is not measured" in note for note in notes)
    spec = ExperimentSpec.parse(plan.spec)
    assert spec.pretrain.probe_images == 0
    points = []
    outcome = pretrain(
        spec.pretrain,
        folder=tmp_path,
        on_event=lambda event: None,
        record=points.extend,
        stop=lambda: False,
        meter=CostMeter(CPU),
    )
    assert "online_top1" not in outcome.results
    assert {point.name for point in points} >= {"loss", "embedding_std"}
    weights = tmp_path / "online.safetensors"
    judged = evaluate(spec, weights=weights, on_event=lambda event: None, meter=CostMeter(CPU))
    assert 0 < judged.results["knn_top1"] <= 100


def test_without_labels_to_evaluate_on_the_run_is_refused(places):
    with pytest.raises(SpecError, match="the images to evaluate on have no labels") as caught:
        planned(places)
    assert "evaluation.data.data_dir" in caught.value.hint
    assert "evaluation.enabled=false" in caught.value.hint


def test_with_the_evaluation_off_there_is_one_job(places):
    plan = planned(places, evaluation__enabled=False)
    assert plan.kinds == (JobKind.PRETRAIN,)
    assert not ExperimentSpec.parse(plan.spec).evaluation.enabled
    again = planned(places, evaluation__enabled=False, evaluation__knn__k=7)
    assert again.fingerprint == plan.fingerprint, "how it would be evaluated does not matter"


def test_an_evaluation_that_is_on_stands_in_no_spec(places):
    plan = planned(places, **labelled(places))
    assert "enabled" not in plan.spec["evaluation"]


@pytest.mark.parametrize("method", ["supervised"])
def test_a_method_that_learns_from_labels_is_refused(places, method):
    with pytest.raises(SpecError, match=f"method {method} needs labels"):
        planned(places, pretrain__method__name=method, **labelled(places))


def test_a_method_that_tells_images_apart_needs_none(places):
    planned(places, pretrain__method__name="diet", evaluation__enabled=False)


def test_only_a_subset_of_a_folder_has_a_revision(places):
    folder = {"pretrain__data__data_dir": str(places / "labelled")}
    whole = planned(places, **folder)
    part = planned(places, **folder, pretrain__data__train_subset=60)
    assert not {"revisions", "evaluation_revisions"} & whole.identity.keys()
    assert part.identity["revisions"] == ["folder-subset-statistics"]
    judged = planned(places, **folder, evaluation__data__train_subset=60)
    assert judged.identity["evaluation_revisions"] == ["folder-subset-statistics"]
    assert "revisions" not in judged.identity


def test_what_costs_of_them_needs_no_labels(places):
    fields = {
        "pretrain.threads": 1,
        "pretrain.data.dataset": "folder",
        "pretrain.data.data_dir": str(places / "flat"),
        "pretrain.data.train_subset": None,
        "pretrain.data.test_subset": None,
        "pretrain.batch_size": 32,
    }
    spec = experiment_at(fields, preset="smoke")
    (cost,) = scope_costs(spec, ["none"], command="emabench cost", on_event=lambda event: None)
    assert cost.flops_per_step > 0
    arms = BenchSpec(arms=(EmaSpec(scope="none"), EmaSpec(scope="full")), steps=4)
    bench = resolve_bench(spec.model_copy(update={"bench": arms}), command="emabench bench")
    assert bench.kinds == (JobKind.BENCH,)
    assert bench.spec["evaluation"]["enabled"] is False
