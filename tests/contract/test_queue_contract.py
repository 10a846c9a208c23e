"""What every store promises about its queue: who gets which job, and what becomes of it."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from seeding import ENVIRONMENT, complete, plan
from sqlalchemy import func, select

from emabench.errors import FencedError, NotFoundError, UsageError
from emabench.events import StepProgress
from emabench.records import Claim, CostReading, JobKind, JobState, MetricPoint
from emabench.store import RunStore
from emabench.store.queue.watching import NEWER_EMABENCH
from emabench.store.schema.tables import StoreTable

PROGRESS = StepProgress(
    step=3, total_steps=8, epoch=1, epochs=2, steps_per_epoch=4, loss=2.5, images_per_second=99.0
)


def next_of(store: RunStore, kind: str = "cpu") -> Claim:
    claim = store.queue.claim_next(kind)
    assert claim is not None
    return claim


def finish(store: RunStore, claim: Claim) -> None:
    store.queue.finish(claim, results={}, cost=CostReading())


def fail(store: RunStore, claim: Claim) -> JobState:
    return store.queue.fail(claim, reason="out of memory", cost=None, retry=True)


def rows(store: RunStore) -> dict[str, int]:
    """Return the number of rows of each table that has any."""
    with store._database.read() as session:
        counts = {
            table.name: session.scalar(select(func.count()).select_from(table))
            for table in StoreTable.metadata.tables.values()
        }
    return {name: count for name, count in counts.items() if count}


def test_the_highest_priority_is_claimed_first_then_the_oldest_run(store):
    old = store.add_run(plan(seed=0))
    late = store.add_run(plan(seed=1))
    urgent = store.add_run(plan(seed=2), priority=5)
    lazy = store.add_run(plan(seed=3), priority=-5)
    claimed = []
    while (claim := store.queue.claim_next("cpu")) is not None:
        claimed.append(claim.job_id)
        finish(store, claim)
    runs = [urgent, old, late, lazy]
    assert claimed == [job for run in runs for job in (run.pretrain_job, run.eval_job)]


def test_an_evaluation_is_passed_over_until_its_pretraining_is_done(store):
    first, second = store.add_run(plan(seed=0)), store.add_run(plan(seed=1))
    claim = next_of(store)
    assert claim.job_id == first.pretrain_job
    assert next_of(store).job_id == second.pretrain_job
    assert store.queue.claim_next("cpu") is None
    finish(store, claim)
    evaluation = next_of(store)
    assert (evaluation.job_id, evaluation.depends_on) == (first.eval_job, first.pretrain_job)
    assert (evaluation.kind, evaluation.run_id) == (JobKind.LINEAR_EVAL, first.id)
    assert store.queue.claim_next("cpu") is None


def test_a_claim_tells_what_its_worker_needs(store):
    run = store.add_run(plan())
    claim = store.queue.claim_next("cpu", device="cpu")
    assert (claim.job_id, claim.run_id, claim.attempt) == (run.pretrain_job, run.id, 1)
    assert (claim.spec, claim.threads, claim.depends_on) == (plan().spec, 2, None)
    assert claim.queued_s >= 0
    (running,) = store.queue.running()
    assert (running.device, running.number, running.heartbeat) == ("cpu", 1, 0)


def test_only_jobs_for_the_kind_of_device_are_claimed(store):
    store.add_run(plan(seed=0))
    on_gpu = store.add_run(plan(seed=1, identity={"device_kind": "cuda"}))
    assert store.queue.claim_next("mps") is None
    assert next_of(store, "cuda").job_id == on_gpu.pretrain_job
    assert store.queue.claim_next("cuda") is None
    assert store.queue.queued_by_need() == {("cpu", ()): 2, ("cuda", ()): 1}


def test_jobs_of_a_newer_spec_version_are_left_to_newer_workers(store, monkeypatch):
    store.add_run(plan())
    for module in ("queue.claiming", "queue.watching"):
        monkeypatch.setattr(f"emabench.store.{module}.SPEC_VERSION", 0)
    assert store.queue.claim_next("cpu") is None
    assert store.queue.queued_by_need() == {(NEWER_EMABENCH, ()): 2}


def test_the_process_that_begins_says_where_it_works(store):
    run = store.add_run(plan())
    claim = next_of(store)
    assert store.job(run.pretrain_job).attempts[0].environment is None
    store.queue.begin(claim, ENVIRONMENT)
    assert store.job(run.pretrain_job).attempts[0].environment == ENVIRONMENT
    store.queue.release(claim, reason="stopped", cost=None)
    with pytest.raises(FencedError):
        store.queue.begin(claim, replace(ENVIRONMENT, host="another-host"))
    assert rows(store)["environments"] == 1


def test_a_heartbeat_counts_on_and_tells_how_far_the_attempt_got(store):
    store.add_run(plan())
    claim = next_of(store)
    store.queue.beat(claim)
    assert store.queue.running()[0].step is None
    store.queue.beat(claim, PROGRESS)
    store.queue.beat(claim)  # says nothing new: what was said stays
    (running,) = store.queue.running()
    assert running.heartbeat == 3
    assert (running.step, running.total_steps) == (3, 8)
    assert (running.loss, running.images_per_second) == (2.5, 99.0)
    assert not running.process_gone
    finish(store, claim)
    assert store.queue.running() == []
    with pytest.raises(FencedError):
        store.queue.beat(claim, PROGRESS)


def test_a_cost_that_was_said_while_running_outlives_a_kill(store):
    run = store.add_run(plan())
    claim = next_of(store)
    store.queue.record(
        claim, [MetricPoint(1, 1, "loss", 5.0)], CostReading(train_s=1.0, total_s=2.0)
    )
    store.queue.record(claim, [], CostReading(train_s=3.0, total_s=4.0))
    assert fail(store, claim) is JobState.QUEUED  # nobody can say what it cost in the end
    assert store.job(run.pretrain_job).attempts[0].cost == CostReading(train_s=3.0, total_s=4.0)
    assert store.run(run.id).cost.total_s == 4.0


def test_a_job_is_tried_again_until_it_failed_too_often(store):
    run = store.add_run(plan(), max_attempts=2)
    assert fail(store, next_of(store)) is JobState.QUEUED
    job = store.job(run.pretrain_job)
    assert (job.state, job.failures, job.max_attempts) == (JobState.QUEUED, 1, 2)
    assert job.reason == "out of memory"
    store.queue.release(next_of(store), reason="interrupted", cost=None)
    assert store.job(run.pretrain_job).failures == 1  # an interruption is no failure
    assert fail(store, next_of(store)) is JobState.FAILED
    pretrain, evaluation = store.run(run.id).jobs
    assert [a.state for a in pretrain.attempts] == [
        JobState.FAILED, JobState.CANCELLED, JobState.FAILED,
    ]  # fmt: skip
    assert evaluation.state is JobState.FAILED
    assert evaluation.reason == f"needs job {run.pretrain_job}, which failed: out of memory"
    assert store.queue.claim_next("cpu") is None


def test_failures_count_only_while_nothing_new_is_saved(store):
    run = store.add_run(plan(), max_attempts=2)
    for number in range(1, 6):  # killed five times, and further every time
        claim = next_of(store)
        store.queue.saved(claim, 10 * number, resumed=number > 1)
        assert fail(store, claim) is JobState.QUEUED
        assert store.job(run.pretrain_job).failures == 1
    assert fail(store, next_of(store)) is JobState.FAILED
    with pytest.raises(FencedError):
        store.queue.saved(claim, 60, resumed=True)


def test_a_job_that_loses_what_it_saves_is_given_up(store):
    store.add_run(plan(), max_attempts=2)
    for state in (JobState.QUEUED, JobState.FAILED):
        claim = next_of(store)
        store.queue.saved(claim, 10, resumed=False)  # anew every time
        store.queue.beat(claim, StepProgress(15, 100, 1, 10, 10, 1.0, 1.0))
        assert fail(store, claim) is state


def test_a_failure_that_would_come_again_is_final(store):
    run = store.add_run(plan())
    claim = next_of(store)
    assert store.queue.fail(claim, reason="NaN", cost=None, retry=False) is JobState.FAILED
    assert store.run(run.id).state is JobState.FAILED


def test_a_heart_that_beat_on_saves_its_attempt(store):
    store.add_run(plan(), max_attempts=2)
    claim = next_of(store)
    (seen,) = store.queue.running()
    store.queue.beat(claim)
    assert store.queue.reap(seen, reason="its heartbeat stopped") is None
    store.queue.beat(claim)
    (seen,) = store.queue.running()
    assert store.queue.reap(seen, reason="its heartbeat stopped") is JobState.QUEUED
    assert store.queue.reap(seen, reason="its heartbeat stopped") is None  # somebody was faster
    with pytest.raises(FencedError):
        store.queue.beat(claim)
    job = store.job(claim.job_id)
    assert (job.failures, job.attempts[0].reason) == (1, "its heartbeat stopped")
    assert next_of(store).attempt == 2
    (seen,) = store.queue.running()
    assert store.queue.reap(seen, reason="its heartbeat stopped") is JobState.FAILED


def test_a_cancelled_job_takes_its_dependants_along_and_fences_its_worker(store):
    run, other = store.add_run(plan(seed=0)), store.add_run(plan(seed=1))
    claim = next_of(store)
    assert store.queue.cancel([run.pretrain_job]) == [run.pretrain_job]
    pretrain, evaluation = store.run(run.id).jobs
    assert (pretrain.state, evaluation.state) == (JobState.CANCELLED, JobState.CANCELLED)
    (attempt,) = pretrain.attempts
    assert (attempt.state, attempt.reason) == (JobState.CANCELLED, "cancelled by the user")
    assert attempt.ended_at is not None
    assert f"needs job {run.pretrain_job}, which was cancelled" in evaluation.reason
    for write in (
        store.queue.beat,
        lambda claim: store.queue.record(claim, []),
        lambda c: finish(store, c),
    ):
        with pytest.raises(FencedError):
            write(claim)
    assert store.queue.running() == []
    assert store.queue.cancel([run.pretrain_job, run.eval_job]) == []
    assert next_of(store).job_id == other.pretrain_job


def test_only_the_evaluation_may_be_cancelled(store):
    run = store.add_run(plan())
    assert store.queue.cancel([run.eval_job]) == [run.eval_job]
    finish(store, next_of(store))
    assert store.queue.claim_next("cpu") is None
    assert store.run(run.id).state is JobState.CANCELLED


def test_a_retry_takes_the_needed_job_along_and_forgets_the_failures(store):
    run = store.add_run(plan(), max_attempts=1)
    assert fail(store, next_of(store)) is JobState.FAILED
    again = store.queue.retry([run.eval_job])
    assert sorted(again) == sorted([run.pretrain_job, run.eval_job])
    pretrain, evaluation = store.run(run.id).jobs
    assert (pretrain.state, pretrain.failures, pretrain.reason) == (JobState.QUEUED, 0, None)
    assert (evaluation.state, evaluation.reason) == (JobState.QUEUED, None)
    assert len(pretrain.attempts) == 1
    claim = next_of(store)
    assert (claim.job_id, claim.attempt) == (run.pretrain_job, 2)
    assert store.queue.retry([run.pretrain_job, run.eval_job]) == []  # neither failed
    finish(store, claim)
    assert store.queue.retry([run.pretrain_job]) == []


def test_what_somebody_works_on_is_not_removed(store):
    run = store.add_run(plan())
    claim = next_of(store)
    before = store.run(run.id)
    with pytest.raises(UsageError, match="running") as caught:
        store.remove([run.id])
    assert f"emabench cancel {run.pretrain_job}" in caught.value.hint
    assert store.run(run.id) == before
    finish(store, claim)
    store.remove([run.id])
    with pytest.raises(NotFoundError):
        store.run(run.id)


def test_a_removed_run_leaves_nothing_behind(store):
    kept = complete(store, plan(seed=0))
    before, run = rows(store), store.run(kept)
    elsewhere = replace(ENVIRONMENT, host="another-host")
    removed = [
        complete(store, plan(seed=1)),
        complete(store, plan(seed=2), environment=elsewhere),
        store.add_run(plan(seed=3)).id,
    ]
    assert rows(store)["environments"] == 2
    store.remove(removed)
    assert rows(store) == before
    assert store.run(kept) == run
    store.remove([kept])
    assert rows(store) == {}


def test_the_queue_at_one_moment(store):
    assert store.queue.snapshot().counts == dict.fromkeys(JobState, 0)
    done = complete(store, plan(seed=0))
    broken = store.add_run(plan(seed=1), max_attempts=1)
    fail(store, next_of(store))
    running = store.add_run(plan(seed=2))
    claim = next_of(store)
    store.queue.beat(claim, PROGRESS)
    waiting = [store.add_run(plan(seed=seed)) for seed in (3, 4)]
    urgent = store.add_run(plan(seed=5), priority=1)
    queue = store.queue.snapshot(limit=4)
    assert queue.counts == {
        JobState.QUEUED: 7,
        JobState.RUNNING: 1,
        JobState.DONE: 2,
        JobState.FAILED: 2,
        JobState.CANCELLED: 0,
    }
    assert [job.id for job in queue.queued] == [
        urgent.pretrain_job, urgent.eval_job, running.eval_job, waiting[0].pretrain_job,
    ]  # fmt: skip
    assert (queue.queued[0].run_id, queue.queued[0].priority) == (urgent.id, 1)
    assert [job.id for job in queue.failed] == [broken.pretrain_job]  # it alone failed by itself
    assert [(a.job_id, a.run_id, a.step) for a in queue.running] == [(running.id, running.id, 3)]
    assert store.queue.states([done, running.id, "nobody"]) == {
        done: JobState.DONE, running.id: JobState.RUNNING,
    }  # fmt: skip


def test_a_job_is_found_by_a_unique_beginning_of_its_id(store, monkeypatch):
    ids = iter(["abc000000001", "abd000000001", "ffc000000002", "ffd000000002"])
    monkeypatch.setattr(secrets, "token_hex", lambda size: next(ids))
    store.add_run(plan(seed=0))
    store.add_run(plan(seed=1))
    assert store.job("abc").kind is JobKind.PRETRAIN
    job = store.job("ABD")
    assert (job.kind, job.run_id, job.depends_on) == (
        JobKind.LINEAR_EVAL, "abc000000001", "abc000000001",
    )  # fmt: skip
    assert store.job("@last").id == "ffc000000002"
    with pytest.raises(UsageError) as caught:
        store.job("ff")
    assert "ffc000000002, ffd000000002" in caught.value.hint
    with pytest.raises(NotFoundError):
        store.job("a%")


def test_a_reason_may_hold_what_is_no_text(store):
    claim = store.queue.claim(store.add_run(plan()).pretrain_job)
    store.queue.fail(claim, reason="cannot read a\udcff\0.png", cost=None)
    assert store.job(claim.job_id).reason == "cannot read a\\udcff.png"
