"""Whether one figure predicts another one, over the arms of a method and scope."""

import json
import math

import pytest
from scipy.stats import spearmanr
from seeding import plan, recorded

from emabench.analysis.curves.correlations import correlations, rank_correlation
from emabench.analysis.selection import select
from emabench.errors import NotFoundError
from emabench.records import MetricPoint
from emabench.report.tables.correlation_table import correlation_table

LOSSES = (5.0, 4.0, 4.5, 3.0, 2.0, 2.0)
TOP1 = (40.0, 50.0, 45.0, 52.0, 61.0, 60.0)


def runs_of(scope, top1, **fields):
    return [
        recorded(plan(ema_scope=scope, lr=0.1 * place, seed=seed, **fields), top1=value + seed)
        for place, value in enumerate(top1, start=1)
        for seed in (0, 1)
    ]


def points_of(runs):
    """An early value that says nothing, and the last one, which differs between seeds."""
    lr = {run.id: run.spec["pretrain"]["optimizer"]["lr"] for run in runs}
    seed = {run.id: run.spec["pretrain"]["seed"] for run in runs}
    return lambda run: [
        MetricPoint(1, 1, "loss", 9.0),
        MetricPoint(2, 2, "loss", LOSSES[round(10 * lr[run]) - 1] + seed[run]),
        MetricPoint(2, 2, "lr", 0.0),
    ]


def test_the_coefficient_is_that_of_scipy_with_the_interval_of_bonett_and_wright():
    found = rank_correlation(LOSSES, TOP1)
    assert found.rho == pytest.approx(spearmanr(LOSSES, TOP1).statistic)
    reach = 1.959963984540054 * math.sqrt((1 + found.rho**2 / 2) / 3)
    assert math.atanh(found.high) - math.atanh(found.low) == pytest.approx(2 * reach)
    assert found.low < found.rho < found.high


@pytest.mark.parametrize(
    ("first", "second", "rho"),
    [((1, 2, 3, 4), (4, 3, 2, 1), -1.0), ((1, 2, 3), (1, 3, 2), 0.5), ((1, 1), (1, 2), None)],
)
def test_there_is_no_interval_where_it_would_say_nothing(first, second, rho):
    found = rank_correlation(first, second)
    assert found.rho == (None if rho is None else pytest.approx(rho))
    assert (found.low, found.high) == (None, None)


def test_an_arm_counts_once_and_the_last_value_of_a_metric_counts():
    runs = [*runs_of("none", TOP1), *runs_of("full", TOP1[::-1])]
    found = correlations(select(runs, smoke=False), points_of(runs), "loss", "top1")
    by_scope = {each.scope: each for each in found.groups}
    assert by_scope["none"].ranks == rank_correlation(
        [loss + 0.5 for loss in LOSSES], [value + 0.5 for value in TOP1]
    )
    assert by_scope["none"].ranks.rho < -0.9 < 0.7 < by_scope["full"].ranks.rho
    assert [row[3] for row in correlation_table(found).rows] == [6, 6]
    groups = json.loads(json.dumps(found.to_json()))["groups"]
    assert groups[0]["n"] == 6
    lines = correlation_table(found, exact=True).to_records()
    for line, group in zip(lines, groups, strict=True):
        assert line == {"arms": group["n"], **{key: group[key] for key in line if key != "arms"}}


def test_other_methods_and_control_arms_are_never_put_in_one_order():
    runs = [
        *runs_of("none", TOP1),
        *runs_of("none", TOP1, pretrain__ema__target_gradient="detach"),
        *runs_of("none", TOP1, method="barlow_twins"),
    ]
    found = correlations(select(runs, smoke=False), points_of(runs), "loss", "top1")
    assert len({(each.method, each.target_gradient) for each in found.groups}) == 3


def test_a_figure_that_no_run_has_is_told():
    runs = runs_of("none", TOP1)
    arms = select(runs, smoke=False)
    with pytest.raises(NotFoundError, match="no run has both losss and top1"):
        correlations(arms, points_of(runs), "losss", "top1")
    some = points_of(runs)
    found = correlations(arms, lambda run: [] if run == runs[0].id else some(run), "loss", "top1")
    assert found.notes == ("1 run without loss or top1 left out",)
