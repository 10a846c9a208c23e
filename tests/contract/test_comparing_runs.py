"""What a comparison reads of many runs at once, wherever they are stored."""

from __future__ import annotations

import math

import numpy as np
from seeding import ENVIRONMENT, complete, plan

from emabench.analysis.comparison import compare
from emabench.analysis.metric_values import MetricValues, wanted_values
from emabench.analysis.metrics import parse_metrics
from emabench.records import MetricPoint, RunQuery, WantedValues
from emabench.store.connection import database


def trained(store, planned, points):
    """Queue a run, record points of its pretraining, and finish it."""
    run = store.add_run(planned)
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    store.queue.record(claim, points)
    store.queue.finish(claim, results={}, cost=None)
    return run.id


def test_correctness_is_read_for_many_runs_at_once(store, monkeypatch):
    monkeypatch.setattr(database, "AT_ONCE", 2)
    runs = [complete(store, plan(seed=seed)) for seed in range(5)]
    unfinished = store.add_run(plan(seed=9)).id
    found = store.values([*runs, unfinished], WantedValues(correct=("top1", "knn_top1"))).correct
    assert set(found) == {(run, "top1") for run in runs}
    assert found[runs[0], "top1"] == store.correct(runs[0], "top1")
    assert store.values([], WantedValues(correct=("top1",))).correct == {}
    assert store.values(runs, WantedValues(correct=())).correct == {}


def test_the_mean_of_a_series_leaves_unknown_values_out(store):
    name = "grad_norm_cv:projector"
    points = [MetricPoint(step, step, name, value) for step, value in ((1, 0.2), (2, 0.4))]
    points += [MetricPoint(3, 3, name, math.nan), MetricPoint(1, 1, "loss", 9.0)]
    known = trained(store, plan(seed=0), points)
    other = trained(store, plan(seed=1), [MetricPoint(1, 1, "loss", 9.0)])
    found = store.values([known, other], WantedValues(means=(name,))).series[name]
    assert list(found) == [known]
    assert math.isclose(found[known], 0.3)


def test_runs_that_shared_a_device_know_each_other(store):
    before = complete(store, plan(seed=0))
    first, second, elsewhere, unnamed = (store.add_run(plan(seed=seed)) for seed in (1, 2, 3, 4))
    claims = [
        store.queue.claim(run.pretrain_job, environment=ENVIRONMENT, device=device)
        for run, device in (
            *((first, "cuda:0"), (second, "cuda:0"), (elsewhere, "cuda:1")),
            (unnamed, None),
        )
    ]
    for claim in claims:
        store.queue.finish(claim, results={}, cost=None)
    after = complete(store, plan(seed=5))
    everything = [before, first.id, second.id, elsewhere.id, unnamed.id, after]
    found = store.values(everything, WantedValues(neighbours=True)).neighbours
    assert {run: set(others) for run, others in found.items()} == {
        first.id: {second.id, unnamed.id},
        second.id: {first.id, unnamed.id},
        elsewhere.id: {unnamed.id},
        unnamed.id: {first.id, second.id, elsewhere.id},
    }
    assert set(store.values([first.id], WantedValues(neighbours=True)).neighbours) == {first.id}


def test_a_comparison_gets_all_of_it_from_the_store(store):
    random = np.random.default_rng(0)
    name = "grad_norm_cv:projector"
    for scope, chance in (("none", 0.5), ("full", 0.7)):
        for seed in range(3):
            run = store.add_run(plan(ema_scope=scope, seed=seed))
            claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
            store.queue.record(claim, [MetricPoint(1000, 1, name, chance + seed / 100)])
            store.queue.finish(claim, results={}, cost=None)
            claim = store.queue.claim(run.eval_job, environment=ENVIRONMENT)
            right = (random.random(1000) < chance).astype(np.uint8)
            top1 = 100 * float(right.mean())
            correct = {"top1": right.tobytes()}
            store.queue.finish(claim, results={"top1": top1}, cost=None, correct=correct)
    metrics = parse_metrics("top1,grad_cv:projector")
    stored = store.read(RunQuery(), wanted_values(metrics))
    none, _ = compare(stored.runs, metrics, measured=MetricValues.of(stored.values)).rows
    error = none.metrics["top1"].image_error
    assert (error.images, error.n) == (1000, 3)
    middle = (error.low + error.high) / 2
    assert math.isclose(middle, none.metrics["top1"].baseline.value, abs_tol=1e-9)
    assert math.isclose(none.metrics["grad_cv:projector"].baseline.value, -0.2)
