"""What a bench prints of its steps agrees with itself."""

from datetime import UTC, datetime
from statistics import median

import pytest

from emabench.records import JobState, MetricPoint, RunRecord
from emabench.report.tables.bench_table import bench_rows

# Two speeds of the machine by turns: the medians of the arms fall into unlike ones.
FIRST = [60.0, 61.0, 65.3, 90.0, 91.0]
SECOND = [63.0, 64.0, 72.7, 92.0, 94.0]


def bench(steps):
    arms = [{"scope": scope, "target_gradient": "detach"} for scope in ("none", "full")]
    results = {f"step_ms:{arm}": median(each) for arm, each in enumerate(steps)}
    results |= {f"images_per_second:{arm}": 8000 / median(each) for arm, each in enumerate(steps)}
    record = RunRecord(
        id="b", name=None, smoke=False, command=None, state=JobState.DONE,
        spec={"bench": {"arms": arms}, "pretrain": {"batch_size": 8}},
        identity={}, fingerprint="f", created_at=datetime.now(UTC), results=results,
    )  # fmt: skip
    points = [
        MetricPoint(number, 1, f"step_ms:{arm}", value)
        for arm, each in enumerate(steps)
        for number, value in enumerate(each, start=1)
    ]
    return record, points


def test_the_milliseconds_of_two_arms_are_to_each_other_as_their_ratio_says():
    assert median(SECOND) / median(FIRST) > 1.1
    none, full = bench_rows(*bench([FIRST, SECOND]))
    assert full.ratio.high < 1.11, "the medians contradict the pairs"
    assert full.step_ms / none.step_ms == pytest.approx(full.ratio.value)
    for row in (none, full):
        assert row.images_per_second == pytest.approx(8000 / row.step_ms)


def test_a_bench_without_its_steps_prints_what_it_kept():
    record, _ = bench([FIRST, SECOND])
    none, full = bench_rows(record, [])
    assert (none.step_ms, full.step_ms) == (65.3, 72.7)
    assert full.ratio is None
