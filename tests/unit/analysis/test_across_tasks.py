"""Figures over several tasks: what they are, and which runs they are of."""

import numpy as np
import pytest
from scipy import stats
from seeding import plan, recorded

from emabench.analysis.comparison import compare
from emabench.analysis.factor import Factor
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import parse_metrics
from emabench.analysis.tasks.across_tasks import across_tasks
from emabench.analysis.tasks.aggregates import (
    aggregate,
    interquartile_mean,
    probability_of_improvement,
    resampled,
)
from emabench.errors import NotFoundError, UsageError

SCORES = np.random.default_rng(0).normal(60, 5, (5, 3))
OTHERS = np.random.default_rng(1).normal(61, 5, (4, 3))


def test_the_interquartile_mean_is_the_trimmed_mean_of_all_scores():
    expected = stats.trim_mean(SCORES, 0.25, axis=None)
    assert interquartile_mean(SCORES) == pytest.approx(expected, abs=1e-12)


def test_the_probability_of_improvement_is_the_share_of_pairs_that_are_won():
    u = [stats.mannwhitneyu(SCORES[:, k], OTHERS[:, k]).statistic for k in range(3)]
    expected = np.mean(u) / 20
    assert probability_of_improvement(SCORES, OTHERS) == pytest.approx(expected, abs=1e-12)
    assert probability_of_improvement(SCORES, SCORES) == pytest.approx(0.5)


def test_runs_are_drawn_again_within_their_task():
    marked = np.arange(3) * 100 + np.arange(5)[:, None]
    drawn = resampled(marked.astype(float), seed=0, resamples=200)
    assert drawn.shape == (200, 5, 3)
    assert np.all(drawn // 100 == np.arange(3))
    assert set(np.unique(drawn)) == set(marked.ravel())
    # Each task by itself.
    assert not np.array_equal(drawn[..., 0] % 100, drawn[..., 1] % 100)


def test_the_interval_is_that_of_the_resamples():
    found = aggregate(interquartile_mean, SCORES)
    drawn = interquartile_mean(resampled(SCORES, seed=0))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))))
    assert found.low < found.value < found.high


def runs_of(methods=("moco", "simclr"), scopes=("none", "full"), seeds=range(4)):
    return [
        recorded(
            plan(method=method, ema_scope=scope, seed=seed),
            top1=50 + 10 * (method == "moco") + 2 * (scope == "none") + seed / 10,
        )
        for method in methods
        for scope in scopes
        for seed in seeds
    ]


def across(runs, fields=("method",), metric="top1", baseline=None):
    comparison = compare(runs, parse_metrics(metric), baseline=baseline)
    return across_tasks(comparison, [Factor.parse(each) for each in fields], MetricValues())


def test_values_of_the_factor_are_compared_over_all_methods():
    found = across(runs_of())
    assert (found.tasks, found.seeds) == (("moco", "simclr"), (0, 1, 2, 3))
    rows = {row.label: row for row in found.rows}
    assert rows["full"].is_baseline
    assert rows["full"].improvement is None
    assert rows["none"].improvement.value == 1.0
    assert rows["none"].middle.value == pytest.approx(rows["full"].middle.value + 2)


def test_what_lacks_a_task_or_a_seed_is_left_out():
    lacking = [recorded(plan(method="moco", ema_scope="projector", seed=s)) for s in range(4)]
    more = [recorded(plan(method="moco", ema_scope="full", seed=9))]
    found = across([*runs_of(), *lacking, *more])
    assert len(found.left_out) == 1
    assert "projector" in found.left_out[0]
    assert {row.label for row in found.rows} == {"none", "full"}
    assert found.seeds == (0, 1, 2, 3)


def test_each_row_is_compared_with_the_row_that_differs_in_the_factor_alone():
    def more(scope, epochs, method, top1):
        return [
            recorded(plan(method=method, ema_scope=scope, epochs=epochs, seed=seed), top1=top1)
            for seed in range(2)
        ]

    tops = {("none", 30): 71, ("full", 30): 70, ("full", 10): 60, ("none", 5): 80}
    runs = [
        run
        for (scope, epochs), top1 in tops.items()
        for method in ("moco", "simclr")
        for run in more(scope, epochs, method, top1)
    ]
    found = across(runs)
    rows = {row.label: row for row in found.rows}
    assert rows["none 30"].reference == "full 30"
    assert rows["none 30"].improvement.value == 1.0
    assert {label for label in rows if rows[label].is_baseline} == {"full 30", "full 10"}
    assert all(rows[each].improvement is None for each in ("full 30", "full 10", "none 5"))
    (note,) = found.notes
    assert note.endswith("none 5")


def test_methods_with_and_without_a_control_are_compared_together():
    def of(method, scope, gradient, top1, **more):
        fields = {"pretrain__ema__target_gradient": gradient, **more}
        return [
            recorded(plan(method=method, ema_scope=scope, seed=seed, **fields), top1=top1)
            for seed in range(2)
        ]

    weak = {"pretrain__augmentation__second_view__jitter_probability": 0.0}
    runs = [*of("simclr", "none", "attach", 60), *of("simclr", "none", "detach", 50)]
    runs += [*of("byol", "none", "detach", 60), *of("ressl", "none", "detach", 60, **weak)]
    runs += [*of("simclr", "full", "detach", 61), *of("byol", "full", "detach", 61)]
    runs += of("ressl", "full", "detach", 61, **weak)
    found = across(runs, baseline="none")
    assert found.tasks == ("byol", "ressl", "simclr")
    assert [(row.label, row.reference) for row in found.rows] == [("none", None), ("full", "none")]
    assert found.left_out == ("none detach",)
    (note,) = across([*runs, *of("dcl", "full", "detach", 61)], baseline="none").notes
    assert note.endswith("the baseline lacks them: dcl")


def test_no_arm_takes_the_place_of_another():
    def of(temperature, scope, top1, **more):
        options = {"pretrain__method__options": {"temperature": temperature}}
        return [
            recorded(plan(method="simclr", ema_scope=scope, seed=s, **options, **more), top1=top1)
            for s in range(2)
        ]

    hot = [*of(0.5, "none", 60), *of(0.5, "full", 61)]
    cold = [*of(0.1, "none", 70), *of(0.1, "full", 69)]
    found = across([*hot, *cold, *runs_of(methods=["moco"])])
    assert found.tasks == ("moco", "simclr temperature=0.1", "simclr temperature=0.5")
    rows = {row.label: row for row in found.rows}
    assert rows["none"].improvement.value == pytest.approx((1 + 1 + 0) / 3)
    # An arm of before a fix stands for nothing that was repeated after it.
    mended = [
        *of(0.5, "none", 90, identity={"revisions": ["bf16-small-maps"]}),
        *of(0.5, "full", 91, identity={"revisions": ["bf16-small-maps"]}),
    ]
    fresh = across([*hot, *mended])
    assert [row.middle.value for row in fresh.rows] == [90, 91]
    assert fresh.notes == ("2 arms of before a fix left out",)


def test_what_cannot_be_compared_over_tasks_is_refused():
    with pytest.raises(UsageError, match="throughput has another scale"):
        across(runs_of(), metric="throughput")
    with pytest.raises(UsageError, match="that is what is compared"):
        across(runs_of(), fields=("ema_scope",))
    with pytest.raises(NotFoundError, match="fewer than two seeds"):
        across(runs_of(seeds=[0]))
