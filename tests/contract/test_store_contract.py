"""What every store promises, whatever database is underneath (see ``conftest.py``)."""

from __future__ import annotations

import math
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from seeding import ENVIRONMENT, complete, plan
from sqlalchemy import Engine, event

from emabench.errors import FencedError, NotFoundError, UsageError
from emabench.records import Claim, CostReading, JobKind, JobState, MetricPoint, RunQuery
from emabench.spec import BackboneSpec
from emabench.store import RunStore


def claim_of(store: RunStore, job: str) -> Claim:
    claim = store.queue.claim(job, environment=ENVIRONMENT)
    assert claim is not None
    return claim


def test_a_run_is_two_jobs_one_depending_on_the_other(store):
    queued = store.add_run(plan(name="first"))
    assert not queued.existed
    assert queued.state is JobState.QUEUED
    assert queued.id == queued.pretrain_job
    run = store.run(queued.id)
    pretrain, evaluation = run.jobs
    assert (pretrain.kind, evaluation.kind) == (JobKind.PRETRAIN, JobKind.LINEAR_EVAL)
    assert evaluation.id == queued.eval_job
    assert evaluation.depends_on == pretrain.id
    assert pretrain.depends_on is None
    assert len(pretrain.id) == 12
    int(pretrain.id, 16)


def test_a_run_keeps_its_plan(store):
    planned = replace(plan(smoke=True, name="n"), warnings=("queue clamped",))
    run = store.run(store.add_run(planned).id)
    assert run.spec == planned.spec
    assert run.identity == planned.identity
    assert (run.name, run.smoke, run.command) == ("n", True, planned.command)
    assert run.warnings == ("queue clamped",)
    assert run.fingerprint == planned.fingerprint
    assert abs(datetime.now(UTC) - run.created_at) < timedelta(hours=1)
    assert (run.environment, run.results, run.cost) == (None, {}, CostReading())


def test_the_pretraining_of_two_evaluations_has_one_fingerprint(store):
    first = store.run(store.add_run(plan()).id)
    second = store.run(store.add_run(plan(evaluation__knn__k=20)).id)
    assert first.jobs[0].fingerprint == second.jobs[0].fingerprint
    assert first.jobs[1].fingerprint != second.jobs[1].fingerprint


def test_an_identical_run_is_queued_once_unless_forced(store):
    first = store.add_run(plan())
    again = store.add_run(plan())
    assert again.existed
    assert again.id == first.id
    repeat = store.add_run(plan(), force=True)
    assert not repeat.existed
    assert repeat.id != first.id
    assert not store.add_run(plan(seed=1)).existed
    assert len(store.runs()) == 3


def test_a_finished_run_is_preferred_to_an_unfinished_repeat(store):
    done = complete(store, plan())
    store.add_run(plan(), force=True)
    found = store.add_run(plan())
    assert (found.id, found.state) == (done, JobState.DONE)


def test_the_failed_jobs_of_an_existing_run_are_queued_again(store):
    run = store.add_run(plan())
    store.queue.fail(claim_of(store, run.pretrain_job), reason="loss is NaN at step 3", cost=None)
    assert store.run(run.id).state is JobState.FAILED
    again = store.add_run(plan())
    assert (again.id, again.existed, again.state) == (run.id, True, JobState.QUEUED)
    assert claim_of(store, run.pretrain_job).attempt == 2


def test_a_job_is_claimed_once_and_after_what_it_needs(store):
    run = store.add_run(plan())
    assert store.queue.claim(run.eval_job, environment=ENVIRONMENT) is None
    claim = claim_of(store, run.pretrain_job)
    assert (claim.attempt, claim.kind, claim.depends_on) == (1, JobKind.PRETRAIN, None)
    assert claim.spec == plan().spec
    assert claim.queued_s >= 0
    assert store.run(run.id).state is JobState.RUNNING
    assert store.queue.claim(run.pretrain_job, environment=ENVIRONMENT) is None
    assert store.queue.claim(run.eval_job, environment=ENVIRONMENT) is None
    store.queue.finish(claim, results={}, cost=CostReading())
    assert store.queue.claim(run.pretrain_job, environment=ENVIRONMENT) is None
    assert claim_of(store, run.eval_job).depends_on == run.pretrain_job


def test_an_unknown_job_cannot_be_claimed(store):
    assert store.queue.claim("0" * 12, environment=ENVIRONMENT) is None


def test_metrics_are_overwritten_by_step_and_name(store):
    run = store.add_run(plan())
    claim = claim_of(store, run.pretrain_job)
    store.queue.record(claim, [])
    store.queue.record(claim, [MetricPoint(1, 1, "loss", 5.0), MetricPoint(1, 1, "top1", 9.0)])
    store.queue.record(claim, [MetricPoint(2, 1, "loss", 4.0), MetricPoint(2, 1, "loss", 3.0)])
    store.queue.release(claim, reason="interrupted", cost=None)
    store.queue.record(claim_of(store, run.pretrain_job), [MetricPoint(1, 1, "loss", 6.0)])
    assert [(p.step, p.value) for p in store.metrics(run.id, "loss")] == [(1, 6.0), (2, 3.0)]
    assert len(store.metrics(run.id)) == 3


def test_a_metric_may_be_nan_or_infinite(store):
    run = store.add_run(plan())
    values = [MetricPoint(1, 1, "loss", math.nan), MetricPoint(2, 1, "loss", math.inf)]
    store.queue.record(claim_of(store, run.pretrain_job), values)
    first, second = store.metrics(run.id)
    assert math.isnan(first.value)
    assert second.value == math.inf


def test_a_done_run_has_results_cost_and_environment(store):
    run = store.run(complete(store, plan(), top1=61.25))
    assert run.state is JobState.DONE
    assert run.results == {"online_top1": 56.25, "top1": 61.25, "knn_top1": 58.25}
    assert run.environment == ENVIRONMENT
    assert run.cost.total_s == 15.0
    assert run.cost.eval_s == 2.0
    assert run.cost.throughput == 1000.0
    assert run.cost.ema_bytes == 0
    assert run.cost.energy_j is None
    for job in run.jobs:
        (attempt,) = job.attempts
        assert attempt.state is JobState.DONE
        assert attempt.ended_at is not None
        assert attempt.ended_at >= attempt.started_at
        assert attempt.started_at.tzinfo is not None


def test_correctness_comes_back_packed_with_its_count(store):
    run = complete(store, plan())
    assert store.correct(run, "top1") == (bytes([0b10110001, 0b10000000]), 9)
    assert store.correct(run, "knn_top1") is None
    assert store.correct(run, "unheard") is None


def test_correctness_is_one_byte_per_image(store):
    claim = claim_of(store, store.add_run(plan()).pretrain_job)
    with pytest.raises(ValueError, match="one byte per image"):
        store.queue.finish(claim, results={}, cost=CostReading(), correct={"top1": b"\xa0"})
    store.queue.finish(claim, results={}, cost=CostReading())  # nothing of the refused one stayed


def test_a_failed_job_takes_its_dependants_along(store):
    run = store.add_run(plan())
    cost = CostReading(train_s=3.0, total_s=4.0)
    store.queue.fail(claim_of(store, run.pretrain_job), reason="loss is NaN at step 3", cost=cost)
    record = store.run(run.id)
    pretrain, evaluation = record.jobs
    assert record.state is JobState.FAILED
    assert pretrain.reason == "loss is NaN at step 3"
    assert evaluation.state is JobState.FAILED
    assert evaluation.reason == (
        f"needs job {run.pretrain_job}, which failed: loss is NaN at step 3"
    )
    assert record.cost.total_s == 4.0


def test_cost_sums_all_attempts_and_takes_rates_from_the_last(store):
    run = store.add_run(plan())
    first = CostReading(train_s=3.0, total_s=4.0, throughput=500.0, host_peak_rss=9)
    store.queue.release(claim_of(store, run.pretrain_job), reason="interrupted", cost=first)
    assert store.run(run.id).state is JobState.QUEUED
    assert store.run(run.id).jobs[0].reason == "interrupted"
    second = CostReading(train_s=5.0, total_s=6.0, throughput=700.0, host_peak_rss=8)
    claim = claim_of(store, run.pretrain_job)
    assert claim.attempt == 2
    store.queue.finish(claim, results={}, cost=second)
    record = store.run(run.id)
    assert (record.cost.train_s, record.cost.total_s) == (8.0, 10.0)
    assert (record.cost.throughput, record.cost.host_peak_rss) == (700.0, 9)
    assert record.cost.eval_s is None
    assert [a.state for a in record.jobs[0].attempts] == [JobState.CANCELLED, JobState.DONE]
    assert record.jobs[0].reason is None


@pytest.mark.parametrize("write", ["record", "finish", "fail", "release"])
def test_a_worker_whose_job_was_taken_is_fenced(store, write):
    run = store.add_run(plan())
    mine = claim_of(store, run.pretrain_job)
    store.queue.release(mine, reason="declared dead", cost=None)
    other = claim_of(store, run.pretrain_job)
    before = store.run(run.id)
    arguments = {
        "record": {"points": [MetricPoint(1, 1, "loss", 5.0)]},
        "finish": {"results": {"top1": 99.0}, "cost": CostReading(total_s=1.0)},
        "fail": {"reason": "late", "cost": None},
        "release": {"reason": "late", "cost": None},
    }
    with pytest.raises(FencedError):
        getattr(store.queue, write)(mine, **arguments[write])
    assert store.run(run.id) == before
    assert store.metrics(run.id) == []
    store.queue.finish(other, results={"top1": 50.0}, cost=CostReading())
    with pytest.raises(FencedError):
        getattr(store.queue, write)(other, **arguments[write])
    assert store.run(run.id).results == {"top1": 50.0}


def test_runs_are_chosen_by_name_smoke_and_fields(store):
    first = complete(store, plan(method="moco", ema_scope="full"))
    second = store.add_run(plan(method="simclr", name="sweep")).id
    third = store.add_run(plan(smoke=True)).id
    assert [run.id for run in store.runs()] == [first, second]
    assert [run.id for run in store.runs(RunQuery(smoke=True))] == [first, second, third]
    assert [run.id for run in store.runs(RunQuery(name="sweep"))] == [second]
    where = {"pretrain.ema.scope": "full", "pretrain.seed": 0}
    assert [run.id for run in store.runs(RunQuery(where=where))] == [first]
    assert store.runs(RunQuery(where={"pretrain.ema.scope": "none", "pretrain.seed": 7})) == []
    assert len(store.runs(RunQuery(where={"pretrain.data.data_dir": None}))) == 2
    network = BackboneSpec(name="small-resnet").as_timm().model_dump(mode="json")
    small = complete(store, plan(seed=5, pretrain__backbone=network))
    where = {"pretrain.backbone.name": "small-resnet"}
    assert [run.id for run in store.runs(RunQuery(where=where))] == [small]
    assert store.runs(RunQuery(where={"pretrain.backbone.name": "tiny-resnet"})) == []


def test_precision_and_threads_are_found_by_what_they_turned_out_to_be(store):
    store.add_run(plan(precision="auto"))
    assert len(store.runs(RunQuery(where={"pretrain.precision": "bf16"}))) == 1
    assert len(store.runs(RunQuery(where={"pretrain.precision": "auto"}))) == 1
    assert store.runs(RunQuery(where={"pretrain.precision": "fp32"})) == []
    assert len(store.runs(RunQuery(where={"pretrain.threads": 2}))) == 1


def test_reading_many_runs_takes_no_more_queries_than_reading_few(store):
    def queries() -> int:
        statements = []

        def count(connection, cursor, statement, *rest):
            statements.append(statement)

        event.listen(Engine, "before_cursor_execute", count)
        try:
            store.runs()
        finally:
            event.remove(Engine, "before_cursor_execute", count)
        return len(statements)

    complete(store, plan(seed=0))
    few = queries()
    for seed in range(1, 6):
        complete(store, plan(seed=seed))
    assert queries() == few


def test_a_run_is_found_by_a_unique_prefix_or_as_the_last(store, monkeypatch):
    ids = iter(["abc000000001", "e00000000001", "abd000000002", "e00000000002"])
    monkeypatch.setattr(secrets, "token_hex", lambda size: next(ids))
    store.add_run(plan(seed=0))
    store.add_run(plan(seed=1))
    assert store.run("abc").spec["pretrain"]["seed"] == 0
    assert store.run("ABD").spec["pretrain"]["seed"] == 1
    assert store.run("@last").id == "abd000000002"
    assert store.metrics("@last") == []
    with pytest.raises(UsageError) as caught:
        store.run("ab")
    assert "abc000000001" in (caught.value.hint or "")
    for unknown in ("x", "", "%", "ab_", "e00000000001"):
        with pytest.raises(NotFoundError):
            store.run(unknown)


def test_an_empty_store_has_no_last_run(store):
    assert store.runs() == []
    with pytest.raises(NotFoundError, match="no runs"):
        store.run("@last")


def test_a_reader_sees_what_a_writer_wrote(store, url):
    run = complete(store, plan())
    with RunStore.open(url, mode="read") as reader:
        assert reader.run(run) == store.run(run)
        later = complete(store, plan(seed=1))
        assert [r.id for r in reader.runs()] == [run, later]
