"""Runs that are given weights of other runs, through store, command line and worker."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from emabench.artifacts.files import scan_files
from emabench.artifacts.pruning import Surplus, find_prunable
from emabench.errors import WeightsError
from emabench.plans.grids import grid, resolve_all
from emabench.queue.kept_weights import kept_weights
from emabench.queue.worker import Workplace, work
from emabench.records import JobState
from emabench.store import RunStore
from emabench.training.weights import weights_file

SMOKE = ["max_steps=2", "threads=1", "evaluation.enabled=false"]


def plan(place, **fields):
    flags = {"preset": "smoke", "set_": SMOKE, "device": "cpu", **fields}
    kept = kept_weights(str(place / "results.db"), place / "files")
    (planned,) = resolve_all(grid(flags), kept=kept, on_event=lambda event: None)
    return planned


def work_on(store, queued, place):
    claim = store.queue.claim(queued.pretrain_job)
    heard = {"on_event": lambda event: None, "stop": lambda: False}
    work(store.queue, claim, Workplace(place / "files"), **heard)
    return store.run(queued.id)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("trained")
    with RunStore.open(str(place / "results.db"), mode="write") as store:
        run = work_on(store, store.add_run(plan(place)), place)
        assert run.state is JobState.DONE
    return place


@pytest.fixture
def place(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "place")


@pytest.fixture
def store(place):
    with RunStore.open(str(place / "results.db"), mode="write") as opened:
        yield opened


def test_a_run_starts_from_the_newest_run_and_names_it(store, place):
    first = store.run("@last")
    planned = plan(place, init="@last")
    assert planned.spec["pretrain"]["init"] == first.id
    assert planned.command.endswith(f"--set init={first.id}")
    run = work_on(store, store.add_run(planned), place)
    assert run.state is JobState.DONE
    again = plan(place, init=first.id[:5])
    assert again.fingerprint == planned.fingerprint
    assert store.add_run(again).existed


def test_weights_that_changed_fail_the_job_once_and_the_same_ones_elsewhere_mend_it(
    store, place, tmp_path
):
    file = tmp_path / "backbone.safetensors"
    shutil.copy(weights_file(place / "files", store.run("@last").id), file)
    queued = store.add_run(plan(place, init=str(file)))
    good = file.rename(tmp_path / "moved.safetensors")
    save_file({name: value + 1 for name, value in load_file(good).items()}, file)
    with pytest.raises(WeightsError, match="not those that the run was queued for"):
        work_on(store, queued, place)
    (job,) = store.run(queued.id).jobs
    assert (job.state, len(job.attempts)) == (JobState.FAILED, 1)
    other = store.add_run(plan(place, init=str(file)))
    assert other.id != queued.id, "other weights, another run"
    same = store.add_run(plan(place, init=str(good)))
    assert (same.id, same.existed) == (queued.id, True)
    assert work_on(store, same, place).state is JobState.DONE


def test_weights_that_a_queued_run_is_given_are_not_pruned(store, place):
    first = store.run("@last").id

    def prunable():
        files = scan_files(place / "files")
        runs = store.runs()
        assert runs == []
        runs = [store.run(each) for each in {file.job_id for file in files} | set(queued)]
        found = find_prunable(files, runs, is_readable=lambda file: True, kinds=[Surplus.WEIGHTS])
        return {each.file.path.name for each in found if each.file.job_id == first}

    queued = []
    names = {"online.safetensors", "projector.safetensors"}
    assert prunable() == names
    queued.append(
        store.add_run(plan(place, ema_scope="full", set_=[*SMOKE, f"ema.teacher={first}"])).id
    )
    assert prunable() == set()
    work_on(
        store,
        store.add_run(plan(place, ema_scope="full", set_=[*SMOKE, f"ema.teacher={first}"])),
        place,
    )
    assert prunable() == names


def test_the_queue_looks_for_weights_where_the_worker_puts_them(emabench, place):
    asked = ["queue", "--preset", "smoke", "--init", "@last", "--db", str(place / "results.db")]
    assert "has no weights in" in emabench(asked).err
    done = emabench([*asked, "--artifacts", str(place / "files"), "--json"])
    assert done.code == 0, done.err


@pytest.mark.slow
def test_the_command_line_takes_a_frozen_teacher(emabench):
    smoke = ["--preset", "smoke", "--device", "cpu", "--set", "max_steps=2", "--set", "threads=1"]
    assert emabench(["run", *smoke]).code == 0
    first = json.loads(emabench(["list", "--smoke", "--json"]).out)["runs"][0]["id"]
    done = emabench(["run", *smoke, "--ema-scope", "full", "--set", "ema.teacher=@last", "--json"])
    assert done.code == 0, done.err
    assert "eval mode and never moves" in done.err
    (run,) = json.loads(done.out)["runs"]
    assert run["command"].endswith(f"ema.teacher={first}")
    refused = emabench(["run", *smoke, "--set", "ema.teacher=@last"])
    assert refused.code == 2
    assert "use --ema-scope full" in refused.err


def test_weights_are_needed_by_a_training_whose_evaluation_was_cancelled(store, place):
    first = store.run("@last").id
    fields = {"ema_scope": "full", "set_": [*SMOKE[:2], f"ema.teacher={first}"]}
    queued = store.add_run(plan(place, **fields))
    store.queue.cancel([queued.eval_job])
    assert store.run(queued.id).state is JobState.CANCELLED
    files = scan_files(place / "files")
    runs = [store.run(first), store.run(queued.id)]
    found = find_prunable(files, runs, is_readable=lambda file: True, kinds=[Surplus.WEIGHTS])
    assert found == []
    store.queue.cancel([queued.pretrain_job])
    runs = [store.run(first), store.run(queued.id)]
    assert find_prunable(files, runs, is_readable=lambda file: True, kinds=[Surplus.WEIGHTS])
