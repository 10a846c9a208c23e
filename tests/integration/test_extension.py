"""A finished run is trained on from its checkpoint, as a new run, in this process."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from emabench import experiment
from emabench.analysis.arms import group
from emabench.artifacts.files import scan_files
from emabench.artifacts.layout import CHECKPOINT, Keep, attempt_folder
from emabench.artifacts.pruning import Surplus, find_prunable
from emabench.errors import CheckpointError, InterruptedRunError, NotFoundError, UsageError
from emabench.events import Notice
from emabench.plans.extensions import extension_plan
from emabench.queue.worker import Workplace, work
from emabench.records import JobState, RunQuery
from emabench.spec.settings import experiment_at
from emabench.store import RunStore
from emabench.training.weights import weights_file

CONSTANT = {"pretrain.schedule.kind": "constant", "pretrain.ema.schedule": "constant"}


def planned(epochs, **fields):
    point = {
        "pretrain.method.name": "moco", "pretrain.ema.scope": "full", "pretrain.threads": 1,
        "pretrain.epochs": epochs, "pretrain.max_steps": None, "evaluation.enabled": False,
        "pretrain.method.options.queue_size": 64,
    }  # fmt: skip
    spec = experiment_at(
        point | {k.replace("__", "."): v for k, v in fields.items()}, preset="smoke"
    )
    return experiment.resolve(spec, command="emabench run")


def train(store, plan, files, *, keep=Keep.CHECKPOINTS, stop=lambda: False, said=None):
    claim = store.queue.claim(store.add_run(plan).pretrain_job)

    def hear(event):
        if isinstance(event, Notice) and said is not None:
            said.append(event.message)

    work(store.queue, claim, Workplace(files, keep=keep), on_event=hear, stop=stop)
    return store.run(claim.job_id)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a store that holds a run of one epoch under constant schedules."""
    place = tmp_path_factory.mktemp("trained")
    with RunStore.open(str(place / "results.db"), mode="write") as store:
        train(store, planned(1, **CONSTANT), place / "files")
    return place


@pytest.fixture
def place(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def store(place):
    with RunStore.open(str(place / "results.db"), mode="write") as opened:
        yield opened


def weights(place, run):
    return [load_file(weights_file(place / "files", run.id, name)) for name in ("online", "target")]


def same(first, second):
    return all(
        torch.equal(value, other[name])
        for each, other in zip(first, second, strict=True)
        for name, value in each.items()
    )


def test_under_constant_schedules_it_is_the_longer_training_to_the_last_bit(store, place):
    parent = store.run("@last")
    child = train(store, extension_plan(parent, 2, artifacts=place / "files"), place / "files")
    whole = train(store, planned(2, **CONSTANT), place / "files")
    assert same(weights(place, child), weights(place, whole))
    assert not same(weights(place, child), weights(place, parent))
    steps = child.spec["pretrain"]["extends"]["step"]
    assert child.cost.steps == whole.cost.steps - steps, "the beginning cost its own run"
    losses = {point.step: point.value for point in store.metrics(whole.id, "loss")}
    own = {point.step: point.value for point in store.metrics(child.id, "loss")}
    assert own == {step: value for step, value in losses.items() if step > steps}


@pytest.mark.slow
def test_it_enters_the_schedules_of_all_epochs_at_its_step(store, place):
    cosine = train(store, planned(1), place / "files")
    said = []
    child = train(store, extension_plan(cosine, 3, artifacts=place / "files"), place / "files",
                  said=said)  # fmt: skip
    whole = train(store, planned(3), place / "files")
    for name in ("lr", "decay"):
        all_of_it = {point.epoch: point.value for point in store.metrics(whole.id, name)}
        rest = {point.epoch: point.value for point in store.metrics(child.id, name)}
        assert rest == {epoch: value for epoch, value in all_of_it.items() if epoch > 1}
    (line,) = [each for each in said if each.startswith("goes on after step")]
    last = store.metrics(cosine.id, "lr")[-1].value
    assert f"the learning rate, {last:.4g} there" in line
    assert "where the schedules of epochs=1 ended" in child.warnings[-1]


@pytest.mark.slow
def test_its_identity_is_the_parent_and_the_checkpoint(store, place):
    parent = store.run("@last")
    plan = extension_plan(parent, 2, artifacts=place / "files")
    extends = plan.spec["pretrain"]["extends"]
    assert plan.identity["extends"] == [parent.fingerprint, extends["checkpoint"]]
    assert (extends["run"], extends["earlier_epochs"]) == (parent.id, [1])
    assert plan.command == f"emabench run --extend {parent.id} --epochs 2"
    assert plan.fingerprint not in (parent.fingerprint, planned(2, **CONSTANT).fingerprint)
    assert extension_plan(parent, 3, artifacts=place / "files").fingerprint != plan.fingerprint
    again = train(store, planned(1, **CONSTANT, pretrain__seed=1), place / "files")
    second = extension_plan(again, 2, artifacts=place / "files")
    assert second.fingerprint != plan.fingerprint
    children = [train(store, each, place / "files") for each in (plan, second)]
    (arm,) = group(children)
    assert list(arm.runs) == [0, 1], "each extends its own seed"
    assert len(group([*children, parent])) == 2
    longer = extension_plan(children[0], 3, artifacts=place / "files")
    assert longer.spec["pretrain"]["extends"]["earlier_epochs"] == [1, 2]
    assert same(
        weights(place, train(store, longer, place / "files")),
        weights(place, train(store, planned(3, **CONSTANT), place / "files")),
    )


@pytest.mark.slow
def test_a_stopped_extension_goes_on_from_its_own_checkpoint(store, place):
    parent = store.run("@last")
    plan = extension_plan(parent, 2, artifacts=place / "files")
    calls = iter(range(100))
    with pytest.raises(InterruptedRunError):
        train(store, plan, place / "files", stop=lambda: next(calls) > 1)
    shutil.rmtree(place / "files" / parent.id)
    (job,) = [job for job in store.run("@last").jobs if job.state is JobState.QUEUED]
    claim = store.queue.claim(job.id)
    work(
        store.queue, claim, Workplace(place / "files"), on_event=lambda e: None, stop=lambda: False
    )
    whole = train(store, planned(2, **CONSTANT), place / "files")
    assert same(weights(place, store.run(job.id)), weights(place, whole))


@pytest.mark.slow
def test_prune_keeps_the_checkpoint_while_it_is_needed(store, place):
    parent = store.run("@last")

    def surplus():
        runs = store.runs(RunQuery(smoke=True))
        kinds = [Surplus.DONE]
        files = scan_files(place / "files")
        return find_prunable(files, runs, is_readable=lambda file: True, kinds=kinds)

    assert {each.file.job_id for each in surplus()} == {parent.id}
    queued = store.add_run(extension_plan(parent, 2, artifacts=place / "files"))
    assert surplus() == []
    store.queue.cancel([queued.pretrain_job])
    assert surplus()


@pytest.mark.slow
def test_another_checkpoint_at_its_place_fails_it(store, place):
    parent = store.run("@last")
    plan = extension_plan(parent, 2, artifacts=place / "files")
    other = train(store, planned(1, **CONSTANT, pretrain__seed=3), place / "files")
    theirs, its = (
        attempt_folder(place / "files", run.id, 1) / CHECKPOINT for run in (other, parent)
    )
    shutil.copy(theirs, its)
    with pytest.raises(CheckpointError, match=f"checkpoint of run {parent.id} .* is gone"):
        train(store, plan, place / "files")
    with pytest.raises(CheckpointError, match="belongs to another training"):
        extension_plan(parent, 2, artifacts=place / "files")


def test_a_fix_that_concerns_the_longer_training_alone_is_no_obstacle(store, place):
    swav = {"pretrain.method.name": "swav", "pretrain.method.options.queue_from_epoch": 1,
            "pretrain.method.options.queue_size": 200, "pretrain.batch_size": 64,
            "pretrain.data.train_subset": 200}  # fmt: skip
    parent = train(store, planned(1, **swav), place / "files")
    assert "revisions" not in parent.identity
    child = train(store, extension_plan(parent, 2, artifacts=place / "files"), place / "files")
    assert child.state is JobState.DONE
    assert child.identity["revisions"] == ["swav-unfilled-queue"]


@pytest.mark.slow
def test_what_cannot_be_extended_says_why(store, place):
    parent = store.run("@last")
    with pytest.raises(UsageError, match="with epochs=1: 1 is not more"):
        extension_plan(parent, 1, artifacts=place / "files")
    store.add_run(planned(1, pretrain__seed=5))
    with pytest.raises(UsageError, match="is queued") as caught:
        extension_plan(store.run("@last"), 2, artifacts=place / "files")
    assert caught.value.hint
    bare = train(store, planned(1, pretrain__seed=6), place / "files", keep=Keep.WEIGHTS)
    with pytest.raises(NotFoundError, match="kept no checkpoint") as caught:
        extension_plan(bare, 2, artifacts=place / "files")
    assert "--keep checkpoints" in caught.value.hint
