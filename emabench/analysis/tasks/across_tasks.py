"""Arms over several tasks at once: one line for each value of the factor, tasks apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emabench.analysis.arms import METHOD, SCOPE, Arm
from emabench.analysis.comparison import ArmComparison
from emabench.analysis.factor import Factor
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.tasks.aggregates import (
    Aggregate,
    Scores,
    aggregate,
    interquartile_mean,
    probability_of_improvement,
)
from emabench.errors import NotFoundError, UsageError
from emabench.table import show_value

_Group = tuple[str, ...]


@dataclass(frozen=True)
class AcrossRow:
    """One value of the factor over all tasks.

    Attributes:
        label: what tells it from the other rows.
        is_baseline: whether the others are compared with it.
        middle: interquartile mean of all runs of all tasks, in the unit of the metric.
        improvement: probability that a run beats one of the baseline on a task; None for the
            baseline itself.
    """

    label: str
    is_baseline: bool
    middle: Aggregate
    improvement: Aggregate | None


@dataclass(frozen=True)
class AcrossTasks:
    """A comparison over several tasks.

    Attributes:
        metric: of the scores, as they are: nothing is normalised.
        tasks: each in words.
        seeds: those that all rows have on all tasks.
        rows: one per value of the factor.
        left_out: rows that lack a task of the baseline, in words.
    """

    metric: MetricInfo
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[AcrossRow, ...]
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values in full precision."""
        return {
            "metric": self.metric.name,
            "tasks": list(self.tasks),
            "seeds": list(self.seeds),
            "rows": [asdict(row) for row in self.rows],
            "left_out": list(self.left_out),
        }


def across_tasks(
    comparison: ArmComparison, fields: Sequence[Factor], measured: MetricValues
) -> AcrossTasks:
    """Compare the values of the factor over all tasks at once, by the first metric.

    Args:
        comparison: of the runs; its arms are put together.
        fields: those whose values make a task, such as the data set and the method.
        measured: what the store holds of the runs.

    Raises:
        UsageError: the first metric is a cost, or a field is the factor itself.
        NotFoundError: no value of the factor is there on all tasks of the baseline with two seeds.
    """
    metric, factor = comparison.metrics[0], comparison.factor
    if metric.kind == "ratio":
        raise UsageError(
            f"--across: {metric.name} has another scale on every task",
            hint="put an accuracy first, for example --metric top1",
        )
    if any(field.path == factor.path for field in fields):
        raise UsageError(
            f"--across {factor.name}: that is what is compared", hint="--by names another field"
        )
    table: dict[_Group, dict[_Group, Arm]] = {}
    told = [factor.path, METHOD, SCOPE, *comparison.arms.differing]
    own = [
        path
        for path in dict.fromkeys(told)
        if path == factor.path or not any(field.goes_along(path) for field in fields)
    ]
    for arm in comparison.arms.arms:
        row = tuple(show_value(arm.fields.get(path)) for path in own)
        task = tuple(show_value(field.value(arm.fields)) for field in fields)
        table.setdefault(row, {})[task] = arm
    baseline = show_value(comparison.baseline)
    base = max(
        (row for row in table if row[own.index(factor.path)] == baseline),
        key=lambda row: len(table[row]),
        default=None,
    )
    if base is None:
        raise NotFoundError(
            "nothing to compare with over the tasks", hint="--baseline names a value"
        )
    tasks = tuple(table[base])
    whole = {row: arms for row, arms in table.items() if set(tasks) <= set(arms)}
    seeds = _common_seeds((whole[row][task] for row in whole for task in tasks), metric, measured)
    if len(seeds) < 2 or len(whole) < 2:
        raise NotFoundError(
            f"fewer than two seeds, or values of {factor.name}, are there on all tasks",
            hint="run the missing seeds, or narrow the choice with --where",
        )
    scores = {row: _scores(whole[row], tasks, seeds, metric, measured) for row in whole}
    differing = [place for place in range(len(own)) if len({row[place] for row in whole}) > 1]
    labels = {row: " ".join(row[place] for place in differing) for row in whole}
    return AcrossTasks(
        metric,
        tuple(" ".join(task) for task in tasks),
        tuple(seeds),
        tuple(
            AcrossRow(
                labels[row],
                row == base,
                aggregate(interquartile_mean, each),
                None if row == base else _improvement(each, scores[base], metric),
            )
            for row, each in scores.items()
        ),
        tuple(" ".join(row) for row in table if row not in whole),
    )


def _improvement(scores: Scores, others: Scores, metric: MetricInfo) -> Aggregate:
    sign = 1 if metric.higher_is_better else -1
    return aggregate(probability_of_improvement, sign * scores, sign * others)


def _common_seeds(arms: Iterable[Arm], metric: MetricInfo, measured: MetricValues) -> list[int]:
    known = [
        {seed for seed, run in arm.runs.items() if measured.value(metric, run) is not None}
        for arm in arms
    ]
    return sorted(set.intersection(*known)) if known else []


def _scores(
    arms: Mapping[_Group, Arm],
    tasks: Sequence[_Group],
    seeds: Sequence[int],
    metric: MetricInfo,
    measured: MetricValues,
) -> Scores:
    return np.asarray(
        [[measured.value(metric, arms[task].runs[seed]) for task in tasks] for seed in seeds],
        dtype=np.float64,
    )
