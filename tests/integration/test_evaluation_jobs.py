"""Finished weights are evaluated again, as a job of its own, in this process."""

import itertools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from emabench import experiment
from emabench.artifacts.layout import PROJECTOR_FILE, Keep, attempt_folder
from emabench.data.images import load_dataset
from emabench.errors import (
    EmabenchError,
    InterruptedRunError,
    NotFoundError,
    OtherImagesError,
    SpecError,
    WeightsError,
)
from emabench.evaluation import accuracies
from emabench.events import Notice, PhaseProgress
from emabench.jobs.reevaluation import resolve_evaluation
from emabench.queue.worker import Workplace, work
from emabench.records import JobState
from emabench.spec import DataSpec
from emabench.spec.settings import experiment_at
from emabench.store import RunStore
from emabench.training.weights import weights_file

ACCURACIES = ("top1", "top5", "knn_top1", "knn_top5", "holdout_top1")


def work_on(store, queued, folder, *, keep=Keep.WEIGHTS, stop=lambda: False, hear=lambda e: None):
    for job in filter(None, (queued.pretrain_job, queued.eval_job)):
        claim = store.queue.claim(job)
        work(store.queue, claim, Workplace(folder, keep=keep), on_event=hear, stop=stop)
    return store.run(queued.id)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a store that holds one run, of scope full and all steps."""
    place = tmp_path_factory.mktemp("trained")
    point = {"pretrain.ema.scope": "full", "pretrain.max_steps": 2, "pretrain.threads": 1}
    point |= {"evaluation.data.train_subset": 150}
    spec = experiment_at(point, preset="smoke")
    plan = experiment.resolve(spec, command="emabench run --preset smoke")
    with RunStore.open(str(place / "results.db"), mode="write") as store:
        assert work_on(store, store.add_run(plan), place / "files").state is JobState.DONE
    return place


@pytest.fixture
def place(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def store(place):
    with RunStore.open(str(place / "results.db"), mode="write") as opened:
        yield opened


@pytest.fixture
def resolve(store, place):
    """Resolves an evaluation of the run, or of a file, with changes."""

    def call(weights=None, notes=None, **changes):
        points = {path.replace("__", "."): value for path, value in changes.items()}
        heard = [] if notes is None else notes
        return resolve_evaluation(
            store.run("@last") if weights is None else weights,
            points,
            artifacts=place / "files",
            command="emabench eval",
            on_event=lambda e: heard.append(e.message) if isinstance(e, Notice) else None,
        )

    return call


def bits(store, run, name="top1"):
    return store.correct(run.id, name)


def test_the_evaluation_of_the_run_again_gives_exactly_its_accuracies(store, place, resolve):
    run = store.run("@last")
    assert run.spec["evaluation"]["data"]["train_subset"] == 150
    again = work_on(store, store.add_run(resolve()), place / "files")
    assert {name: again.results[name] for name in ACCURACIES} == {
        name: run.results[name] for name in ACCURACIES
    }
    for name in ("top1", "top5", "knn_top1", "knn_top5"):
        assert bits(store, again, name) == bits(store, run, name)
    assert again.smoke
    assert again.environment is not None
    assert again.cost.eval_s > 0
    assert again.cost.train_s is None
    assert store.run("@last") == run, "nothing of the run has changed"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
def test_weights_that_are_not_finite_stop_the_evaluation_with_words(
    store, place, resolve, tmp_path, value
):
    source = weights_file(place / "files", store.run("@last").id)
    tensors = load_file(source)
    name = "layer1.0.conv1.weight"
    tensors[name].flatten()[0] = value
    save_file(tensors, tmp_path / "broken.safetensors")
    backbone = store.run("@last").spec["pretrain"]["backbone"]
    plan = resolve(
        tmp_path / "broken.safetensors",
        pretrain__backbone__name=backbone["name"],
        pretrain__backbone__stem=backbone["stem"],
        pretrain__backbone__options=backbone["options"],
        evaluation__data__train_subset=150,
    )
    with pytest.raises(WeightsError, match="features of 150 of 150 training images") as caught:
        work_on(store, store.add_run(plan), place / "files")
    assert caught.value.hint
    assert (name in caught.value.message) is (value != 1e38)


@pytest.mark.slow
def test_a_copy_of_the_weights_is_the_same_evaluation(store, place, resolve, tmp_path):
    source = weights_file(place / "files", store.run("@last").id)
    copy = tmp_path / "copy.safetensors"
    shutil.copy(source, copy)
    # The file knows how it was trained, not how the run was evaluated.
    same = {"evaluation__data__train_subset": 150}
    assert resolve(copy, **same).fingerprint == resolve().fingerprint
    assert resolve(copy).fingerprint != resolve().fingerprint
    assert resolve(copy).spec["weights"] == str(copy)
    target = weights_file(place / "files", store.run("@last").id, "target")
    assert resolve(target, **same).fingerprint != resolve().fingerprint
    queued = store.add_run(resolve(copy, **same))
    done = work_on(store, queued, place / "files")
    assert done.results["top1"] == store.run("@last").results["top1"]


def test_a_file_of_a_run_is_of_the_network_that_it_says(store, place, resolve, tmp_path):
    same = {"evaluation__data__train_subset": 150}
    for network, other in (("online", "target"), ("target", "online")):
        file = weights_file(place / "files", store.run("@last").id, network)
        copy = shutil.copy(file, tmp_path / "copy.safetensors")
        of_run = resolve(evaluation__network=network)
        assert resolve(copy, **same).fingerprint == of_run.fingerprint
        assert (
            resolve(copy, **same, evaluation__network=network).spec["evaluation"]
            == (of_run.spec["evaluation"])
        )
        with pytest.raises(SpecError, match=f"of the {network} network, not of the {other} one"):
            resolve(copy, evaluation__network=other)
    with pytest.raises(WeightsError, match="does not fit"):
        resolve(file.with_name(PROJECTOR_FILE))


@pytest.mark.slow
def test_each_network_probe_and_data_set_is_an_evaluation_of_its_own(store, place, resolve):
    plans = [
        resolve(),
        resolve(evaluation__network="target"),
        resolve(evaluation__knn__k=5),
        resolve(evaluation__linear__weight_decays=[0.1]),
        resolve(evaluation__seed=7),
        resolve(evaluation__data__train_subset=120),
        resolve(evaluation__data__image_size=20),
        resolve(pretrain__precision="fp32"),
        resolve(pretrain__threads=2),
    ]
    assert len({plan.fingerprint for plan in plans}) == len(plans)
    assert resolve(evaluation__seed=0).fingerprint == plans[0].fingerprint, "the run's own seed"
    assert resolve(evaluation__data__data_dir=None).fingerprint == plans[0].fingerprint
    target = work_on(store, store.add_run(plans[1]), place / "files")
    assert bits(store, target, "knn_top1") != bits(store, store.run("@last"), "knn_top1")


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "seed"), [({}, 0), ({"evaluation__seed": 7}, 7)])
def test_the_seed_of_the_evaluation_draws_its_held_out_images(
    store, place, resolve, monkeypatch, changes, seed
):
    seen = []
    fit = accuracies.fit_linear_probe

    def spy(*args):
        seen.append(args[-1])
        return fit(*args)

    monkeypatch.setattr(accuracies, "fit_linear_probe", spy)
    work_on(store, store.add_run(resolve(**changes)), place / "files")
    assert seen == [seed]


@pytest.mark.slow
def test_another_data_set_brings_its_classes_and_its_normalisation(
    store, place, resolve, tmp_path, monkeypatch
):
    for split, count in (("train", 12), ("test", 4)):
        for shade, name in enumerate(("dark", "grey", "light")):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                value = 60 + 70 * shade + number
                Image.new("RGB", (40, 40), (value, value, 0)).save(folder / f"{number}.png")
    images = str(tmp_path / "images")
    plan = resolve(evaluation__data__dataset="folder", evaluation__data__data_dir=images)
    assert plan.spec["evaluation"]["data"]["image_size"] == 28, "that of the pretraining"
    assert plan.spec["evaluation"]["data"]["train_subset"] is None, "that is of the other data set"
    assert plan.spec["evaluation"]["knn"]["k"] == 36
    assert plan.warnings == ("knn: k 150 clamped to the 36 training images",)
    seen = []
    extract = accuracies.extract_features

    def spy(*args, **settings):
        seen.append((settings["mean"], settings["std"]))
        return extract(*args, **settings)

    monkeypatch.setattr(accuracies, "extract_features", spy)
    done = work_on(store, store.add_run(plan), place / "files")
    own = load_dataset(DataSpec(dataset="folder", data_dir=images, image_size=28))
    assert seen == [(own.mean, own.std)] * 2
    assert bits(store, done)[1] == 12
    assert done.results["top5"] == 100.0, "of three classes"


@pytest.mark.slow
def test_the_target_of_a_projector_is_the_online_backbone(store, place, resolve):
    spec = experiment_at(
        {"pretrain.ema.scope": "projector", "pretrain.epochs": 0, "pretrain.threads": 1},
        preset="smoke",
    )
    plan = experiment.resolve(spec, command="emabench run")
    run = work_on(store, store.add_run(plan), place / "files")
    notes = []
    target = resolve(run, notes, evaluation__network="target")
    assert "EMA scope projector averages no block of the backbone" in notes[0]
    assert target.spec["evaluation"]["network"] == "online"
    assert target.fingerprint == resolve(run).fingerprint
    file = weights_file(place / "files", run.id)
    assert resolve(file, notes, evaluation__network="target").fingerprint == target.fingerprint
    assert len(notes) == 2


@pytest.mark.slow
def test_a_target_that_was_deleted_is_not_replaced_by_the_online_network(store, place, resolve):
    weights_file(place / "files", store.run("@last").id, "target").unlink()
    with pytest.raises(NotFoundError, match="no weights of its target"):
        resolve(evaluation__network="target")
    resolve()


def test_it_has_no_floors_and_takes_over_none(store, place, resolve):
    run = store.run("@last")
    floors = {"evaluation": run.spec["evaluation"] | {"floors": True}}
    again = resolve(replace(run, spec=run.spec | floors))
    assert "floors" not in again.spec["evaluation"]
    assert again.fingerprint == resolve().fingerprint
    for weights in (run, weights_file(place / "files", run.id)):
        with pytest.raises(SpecError, match="a run measures its own floors"):
            resolve(weights, evaluation__floors=True)


def test_keep_nothing_does_not_mean_the_weights_of_another_run(store, place, resolve):
    folder = attempt_folder(place / "files", store.run("@last").id, 1)
    before = sorted(file.name for file in folder.iterdir())
    work_on(store, store.add_run(resolve()), place / "files", keep=Keep.NOTHING)
    assert sorted(file.name for file in folder.iterdir()) == before


def gone(file):
    file.unlink()


def other(file):
    state = load_file(file)
    save_file({name: value + 1 for name, value in state.items()}, file)


@pytest.mark.parametrize(
    ("change", "reason"),
    [(gone, "has no weights in"), (other, "are not those that the evaluation was queued for")],
)
def test_weights_that_vanish_or_change_fail_it_once_with_the_reason(
    store, place, resolve, change, reason
):
    queued = store.add_run(resolve())
    change(weights_file(place / "files", store.run("@last").id))
    with pytest.raises(EmabenchError, match=reason):
        work_on(store, queued, place / "files")
    (job,) = store.run(queued.id).jobs
    assert (job.state, len(job.attempts)) == (JobState.FAILED, 1)
    assert reason in job.reason


def test_a_file_of_the_user_that_vanished_fails_it_too(store, place, resolve, tmp_path):
    file = tmp_path / "w.safetensors"
    shutil.copy(weights_file(place / "files", store.run("@last").id), file)
    queued = store.add_run(resolve(file))
    file.unlink()
    with pytest.raises(EmabenchError, match=r"w\.safetensors are gone"):
        work_on(store, queued, place / "files")
    assert store.run(queued.id).state is JobState.FAILED


@pytest.mark.slow
def test_a_stop_in_the_middle_queues_it_again(store, place, resolve):
    queued = store.add_run(resolve())
    phases = []

    def hear(event):
        if isinstance(event, PhaseProgress):
            phases.append(event.phase)

    with pytest.raises(InterruptedRunError):
        work_on(store, queued, place / "files", stop=lambda: "test features" in phases, hear=hear)
    assert phases[-1] == "test features", "it did not wait for the probe"
    run = store.run(queued.id)
    assert (run.state, run.results) == (JobState.QUEUED, {})
    assert work_on(store, queued, place / "files").state is JobState.DONE


@pytest.mark.slow
def test_a_machine_without_the_device_of_the_pretraining_takes_its_own(
    store, place, resolve, tmp_path
):
    source = weights_file(place / "files", store.run("@last").id)
    fields = dict(store.run("@last").spec["pretrain"]) | {"device": "cuda:63"}
    file = tmp_path / "far.safetensors"
    save_file(load_file(source), file, {"spec": json.dumps(fields)})
    notes = []
    plan = resolve(file, notes)
    assert plan.spec["pretrain"]["device"] != "cuda:63"
    assert "no device 'cuda:63'" in notes[0]
    with pytest.raises(EmabenchError, match="no device 'cuda:63'"):
        resolve(file, pretrain__device="cuda:63")


@pytest.mark.slow
def test_the_evaluation_of_a_run_may_have_images_of_its_own(store, resolve):
    """Set in the run itself, it gives what an evaluation afterwards gives."""
    run = store.run("@last")
    assert run.identity["evaluation_data"] == run.identity["data"]
    assert bits(store, run)[1] == 100
    assert resolve().spec["evaluation"] == run.spec["evaluation"]
    spec = experiment_at({"evaluation.data.train_subset": 200}, preset="smoke")
    same = experiment.resolve(spec, command="")
    plain = experiment.resolve(experiment_at({}, preset="smoke"), command="")
    assert same.fingerprint == plain.fingerprint, "these are the images of the pretraining"
    assert "data" not in plain.spec["evaluation"]


@pytest.mark.slow
def test_a_backbone_that_cannot_take_the_images_is_found_before_the_training():
    fields = {
        "pretrain.backbone.name": "vit_tiny_patch16_224",
        "pretrain.backbone.stem": "original",
        "pretrain.backbone.options": {"patch_size": 7, "depth": 1},
        "evaluation.data.image_size": 56,
    }
    with pytest.raises(EmabenchError, match=r"image_size=56.*pos_embed") as caught:
        experiment.resolve(experiment_at(fields, preset="smoke"), command="")
    assert "28" in caught.value.hint


def test_a_run_names_no_weights():
    with pytest.raises(EmabenchError, match="a run evaluates its own"):
        experiment.resolve(experiment_at({"weights": "abc"}, preset="smoke"), command="")


@pytest.mark.slow
def test_torch_is_left_as_it_was(resolve):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    resolve()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_job_fails_once_where_the_images_are_others_than_it_was_queued_for(tmp_path):
    def draw(seed):
        for split, label in itertools.product(("train", "test"), ("ape", "bee")):
            place = tmp_path / "images" / split / label
            place.mkdir(parents=True, exist_ok=True)
            for number in range(16):
                pixels = np.random.default_rng([seed, number]).integers(0, 255, (16, 16, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{seed}-{number}.png")

    draw(0)
    point = {
        "pretrain.data.dataset": "folder", "pretrain.data.data_dir": str(tmp_path / "images"),
        "pretrain.data.train_subset": None, "pretrain.data.test_subset": None,
        "pretrain.threads": 1, "pretrain.batch_size": 8, "pretrain.max_steps": 2,
    }  # fmt: skip
    plan = experiment.resolve(experiment_at(point, preset="smoke"), command="emabench run")
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        queued = store.add_run(plan)

        def work_on(job):
            claim = store.queue.claim(job)
            heard = {"on_event": lambda event: None, "stop": lambda: False}
            work(store.queue, claim, Workplace(tmp_path / "files"), **heard)

        work_on(queued.pretrain_job)
        draw(1)
        with pytest.raises(OtherImagesError, match="not those that the run was queued for"):
            work_on(queued.eval_job)
        job = store.job(queued.eval_job)
        assert (job.state, len(job.attempts)) == (JobState.FAILED, 1)
        again = store.add_run(replace(plan, spec={**plan.spec}), force=True)
        with pytest.raises(OtherImagesError):
            work_on(again.pretrain_job)


def test_few_shots_of_images_without_labels_are_refused_for_the_labels(resolve, tmp_path):
    (tmp_path / "flat").mkdir()
    for number in range(20):
        Image.new("RGB", (16, 16), (9 * number, 0, 0)).save(tmp_path / "flat" / f"{number}.png")
    data = {"dataset": "folder", "data_dir": str(tmp_path / "flat")}
    fields = {f"evaluation__data__{name}": value for name, value in data.items()}
    with pytest.raises(SpecError, match="the images to evaluate on have no labels"):
        resolve(**fields, evaluation__few_shot=[50])
