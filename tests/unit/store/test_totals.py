"""What a run amounts to, from its jobs."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import pytest

from emabench.records import AttemptRecord, CostReading, JobKind, JobRecord, JobState
from emabench.store.runs import run_summary as totals
from emabench.store.runs.run_summary import run_cost, run_environment, run_state

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Q, R, D, F, C = (
    JobState.QUEUED,
    JobState.RUNNING,
    JobState.DONE,
    JobState.FAILED,
    JobState.CANCELLED,
)


def job(kind, *costs):
    attempts = tuple(
        AttemptRecord(number, D, NOW, NOW, None, None, cost)
        for number, cost in enumerate(costs, start=1)
    )
    return JobRecord("a", kind, D, "f", {}, None, len(costs), None, NOW, attempts=attempts)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((Q, Q), Q),
        ((R, Q), R),
        ((D, Q), Q),
        ((D, R), R),
        ((D, D), D),
        ((F, F), F),
        ((D, F), F),
        ((C, Q), C),
        ((F, C), F),
        ((R, C), R),
        ((R, F), R),
    ],
)
def test_the_state_of_a_run(states, expected):
    assert run_state(states) is expected


def test_every_reading_has_a_rule():
    rules = [
        *totals._SUMS,
        *totals._COUNTS,
        *totals._PEAKS,
        *totals._RATES,
        *totals._CONSTANTS,
    ]
    assert sorted(rules) == sorted(f.name for f in fields(CostReading))


def test_times_are_summed_over_all_attempts_of_all_jobs():
    cost = run_cost(
        [
            job(JobKind.PRETRAIN, CostReading(total_s=1.0, train_s=0.5, steps=3), None),
            job(JobKind.LINEAR_EVAL, CostReading(total_s=2.0, eval_s=1.5)),
        ]
    )
    assert (cost.total_s, cost.train_s, cost.eval_s, cost.steps) == (3.0, 0.5, 1.5, 3)


def test_what_nobody_knows_stays_unknown_and_zero_stays_zero():
    cost = run_cost([job(JobKind.PRETRAIN, CostReading(data_wait_s=0.0, ema_bytes=0))])
    assert (cost.data_wait_s, cost.ema_bytes) == (0.0, 0)
    assert (cost.energy_j, cost.throughput, cost.host_peak_rss) == (None, None, None)
    assert run_cost([]) == CostReading()
    assert run_environment([]) is None


def test_rates_come_together_from_the_last_pretraining_attempt_that_measured():
    first = CostReading(throughput=500.0, throughput_p10=450.0, step_ms=5.0, host_peak_rss=7)
    second = CostReading(throughput=700.0, step_ms=4.0, host_peak_rss=6)
    third = CostReading(flops_per_step=1e9)
    cost = run_cost(
        [
            job(JobKind.PRETRAIN, first, second, third),
            job(JobKind.LINEAR_EVAL, CostReading(throughput=9.0, host_peak_rss=8)),
        ]
    )
    assert (cost.throughput, cost.step_ms, cost.throughput_p10) == (700.0, 4.0, None)
    assert (cost.flops_per_step, cost.host_peak_rss) == (1e9, 8)
