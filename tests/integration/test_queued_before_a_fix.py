"""Runs that an emabench of before some fixes queued, and today's works off.

The store is of commit 4773241: a pretraining of which three of nine steps are made, one that has
not begun, and one that is done and waits for its evaluation. A later fix concerns each of them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from emabench import experiment
from emabench.events import CheckpointSaved, Notice
from emabench.queue.worker import Workplace, work
from emabench.records import JobState, RunQuery
from emabench.spec import ExperimentSpec
from emabench.spec.revisions import EVALUATION, PRETRAINING
from emabench.store import RunStore
from emabench.store.transfer.soundness import check
from emabench.store.transfer.upgrade import upgrade

BEFORE = Path(__file__).parents[1] / "assets" / "before_revisions"
HALF_TRAINED, NOT_BEGUN, NOT_EVALUATED = range(3)
"""Seeds of the runs."""


@pytest.fixture
def place(tmp_path):
    shutil.copytree(BEFORE, tmp_path / "before")
    upgrade(str(tmp_path / "before" / "results.db"), backup=False)
    return Workplace(tmp_path / "before" / "files", device="cpu")


def run_of(store, seed):
    runs = store.runs(RunQuery(smoke=True))
    return next(run for run in runs if run.spec["pretrain"]["seed"] == seed)


def work_off(store, job, place):
    """Make an attempt at a job, and return what was told."""
    told = []
    claim = store.queue.claim(job)
    work(store.queue, claim, place, on_event=told.append, stop=lambda: False)
    return told


def planned_today(run):
    return experiment.resolve(ExperimentSpec.parse(run.spec), command="emabench run")


def trained_today(run, folder):
    """Return the metrics of the same run, queued and trained by today's code."""
    with RunStore.open(str(folder / "today.db"), mode="write") as store:
        queued = store.add_run(planned_today(run))
        work_off(store, queued.id, Workplace(folder / "today", device="cpu"))
        return store.metrics(queued.id)


@pytest.mark.parametrize("seed", [HALF_TRAINED, pytest.param(NOT_BEGUN, marks=pytest.mark.slow)])
def test_a_pretraining_is_named_after_the_code_that_made_all_of_it(place, tmp_path, seed):
    location = str(tmp_path / "before" / "results.db")
    with RunStore.open(location, mode="write") as store:
        before = run_of(store, seed)
        assert PRETRAINING not in before.identity
        told = work_off(store, before.id, place)
        now = store.run(before.id)
        assert now.identity == {**before.identity, PRETRAINING: ["swav-unfilled-queue"]}
        assert now.jobs[0].state is JobState.DONE
        saved = next(event for event in told if isinstance(event, CheckpointSaved))
        assert saved == CheckpointSaved(1, resumed=False)
        refused = [e for e in told if isinstance(e, Notice) and "after a change" in e.message]
        assert len(refused) == (seed == HALF_TRAINED)
        assert store.metrics(now.id) == trained_today(now, tmp_path)
        plan = planned_today(now)
        assert (now.fingerprint, now.identity) == (plan.fingerprint, plan.identity)
        assert store.add_run(plan).id == now.id
        again = store.add_run(plan, force=True)
        mine, theirs = (store.run(run).jobs for run in (now.id, again.id))
        assert [job.fingerprint for job in mine] == [job.fingerprint for job in theirs]
    assert check(location) == []


def test_an_evaluation_is_named_after_the_code_that_made_it_and_its_pretraining_is_not(
    place, tmp_path
):
    location = str(tmp_path / "before" / "results.db")
    with RunStore.open(location, mode="write") as store:
        before = run_of(store, NOT_EVALUATED)
        work_off(store, before.jobs[1].id, place)
        now = store.run(before.id)
        assert now.state is JobState.DONE
        assert now.identity == {**before.identity, EVALUATION: ["knn-votes"]}
        found = store.add_run(planned_today(now))
        assert (found.id, found.state) == (now.id, JobState.DONE)
        assert now.jobs[0].fingerprint == before.jobs[0].fingerprint
    assert check(location) == []
