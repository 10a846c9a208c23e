"""Arms over several tasks at once: one line for each value of the factor, tasks apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emabench.analysis.arms import METHOD, SCOPE, TARGET_GRADIENT, Arm
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
from emabench.table import counted, show_value

_Group = tuple[str, ...]


@dataclass(frozen=True)
class AcrossRow:
    """One value of the factor over all tasks.

    Attributes:
        label: what tells it from the other rows.
        is_baseline: whether others are compared with it.
        middle: interquartile mean of all runs of all tasks, in the unit of the metric.
        improvement: probability that a run beats one of its baseline on a task; None for a
            baseline itself, and where there is none.
        reference: label of the baseline that it is compared with.
    """

    label: str
    is_baseline: bool
    middle: Aggregate
    improvement: Aggregate | None
    reference: str | None = None


@dataclass(frozen=True)
class AcrossTasks:
    """A comparison over several tasks.

    Attributes:
        metric: of the scores, as they are: nothing is normalised.
        tasks: each in words; what only differs along with a task, such as an option of the
            method, makes tasks of its own.
        seeds: those that all rows have on all tasks.
        rows: one per value of the factor.
        left_out: rows that lack a task of the baseline, in words.
        notes: what else is not shown, or not compared.
    """

    metric: MetricInfo
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    rows: tuple[AcrossRow, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values in full precision."""
        return {
            "metric": self.metric.name,
            "tasks": list(self.tasks),
            "seeds": list(self.seeds),
            "rows": [asdict(row) for row in self.rows],
            "left_out": list(self.left_out),
            "notes": list(self.notes),
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
        UsageError: the first metric is a cost, a field is the factor itself, or several arms have
            one value on one task.
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
    table = _table(comparison, fields)
    baselines = [row for row, cells in table.cells.items() if table.is_baseline(row)]
    if not baselines:
        raise NotFoundError(
            "nothing to compare with over the tasks", hint="--baseline names a value"
        )
    tasks = tuple(table.cells[max(baselines, key=lambda row: len(table.cells[row]))])
    whole = {row: cells for row, cells in table.cells.items() if set(tasks) <= set(cells)}
    seeds = _common_seeds(
        (whole[row][task].arm for row in whole for task in tasks), metric, measured
    )
    if len(seeds) < 2 or len(whole) < 2:
        raise NotFoundError(
            f"fewer than two seeds, or values of {factor.name}, are there on all tasks",
            hint="run the missing seeds, or narrow the choice with --where",
        )
    scores = {row: _scores(whole[row], tasks, seeds, metric, measured) for row in whole}
    width = len(next(iter(whole)))
    differing = [place for place in range(width) if len({row[place] for row in whole}) > 1]
    labels = {row: _words(row[place] for place in differing) for row in whole}
    rows, alone = [], []
    for row, each in scores.items():
        base = table.base(row, tasks)
        if base not in whole:
            base = None
        if base is None and not table.is_baseline(row):
            alone.append(labels[row])
        rows.append(
            AcrossRow(
                labels[row],
                table.is_baseline(row),
                aggregate(interquartile_mean, each),
                None if base is None else _improvement(each, scores[base], metric),
                None if base is None else labels[base],
            )
        )
    notes = [f"not compared, no one baseline is theirs on all tasks: {', '.join(alone)}"]
    return AcrossTasks(
        metric,
        table.names(tasks),
        tuple(seeds),
        tuple(rows),
        tuple(_words(row) for row in table.cells if row not in whole),
        (*table.notes, *(notes if alone else ()), *_lost(table, tasks)),
    )


@dataclass(frozen=True)
class _Cell:
    """One arm, the row and the task of that which it is compared with, and whether others are."""

    arm: Arm
    reference: tuple[_Group, _Group] | None
    is_baseline: bool


@dataclass(frozen=True)
class _Table:
    """All arms by their row and their task.

    Attributes:
        cells: the arms.
        own: how many values of a task were asked for.
        also: names of the other values of a task, which differ along with the first ones.
        notes: what is left out.
    """

    cells: Mapping[_Group, Mapping[_Group, _Cell]]
    own: int
    also: Sequence[str]
    notes: Sequence[str]

    def is_baseline(self, row: _Group) -> bool:
        """Whether others are compared with a row."""
        return all(cell.is_baseline for cell in self.cells[row].values())

    def base(self, row: _Group, tasks: Sequence[_Group]) -> _Group | None:
        """Return the one row that a row is compared with on all tasks, if there is one."""
        references = {(task, self.cells[row][task].reference) for task in tasks}
        bases = {None if each is None else each[0] for _, each in references}
        is_same = all(each is not None and each[1] == task for task, each in references)
        return bases.pop() if is_same and len(bases) == 1 else None

    def names(self, tasks: Sequence[_Group]) -> tuple[str, ...]:
        """Return tasks in words; what differs along with them only where it tells them apart."""
        names = []
        for task in tasks:
            alike = [other for other in tasks if other[: self.own] == task[: self.own]]
            more = [
                f"{name}={task[place]}"
                for place, name in enumerate(self.also, self.own)
                if len({other[place] for other in alike}) > 1
            ]
            names.append(" ".join((*task[: self.own], *more)))
        return tuple(names)


def _table(comparison: ArmComparison, fields: Sequence[Factor]) -> _Table:
    """Return the arms of a comparison by row and task, without those of before a fix."""
    factor, arms = comparison.factor, comparison.arms.arms
    told = dict.fromkeys([factor.path, METHOD, SCOPE, *comparison.arms.differing])
    one_value = _fields_of_one_value(arms, fields, told)
    along = [
        path
        for path in told
        if path != factor.path
        and (path in one_value or any(field.goes_along(path) for field in fields))
    ]
    also = [path for path in along if path not in {field.path for field in fields}]

    def place(arm: Arm, reference: int | None) -> tuple[_Group, _Group]:
        values = [field.value(arm.fields) for field in fields]
        task = tuple(map(show_value, [*values, *(arm.fields.get(path) for path in also)]))
        row = {path: show_value(arm.fields.get(path)) for path in told if path not in along}
        is_control = reference is not None and arms[reference].scope == arm.scope
        if not is_control and TARGET_GRADIENT in row and factor.path != TARGET_GRADIENT:
            row[TARGET_GRADIENT] = ""  # it tells a control alone: some methods always cut it
        return tuple(row.values()), task

    places = [place(arm, row.reference) for arm, row in zip(arms, comparison.rows, strict=True)]
    cells: dict[_Group, dict[_Group, _Cell]] = defaultdict(dict)
    early = 0
    for arm, shown, (row, task) in zip(arms, comparison.rows, places, strict=True):
        if arm.before:
            early += 1
        elif task in cells[row]:
            raise UsageError(
                f"--across: several arms are {_words(row)} on task {_words(task)}",
                hint="narrow the choice with --where",
            )
        else:
            reference = None if shown.reference is None else places[shown.reference]
            cells[row][task] = _Cell(arm, reference, shown.is_baseline)
    notes = [f"{counted(early, 'arm')} of before a fix left out"] if early else []
    names = [path.rpartition(".")[2] for path in also]
    return _Table(dict(cells), len(fields), names, notes)


def _fields_of_one_value(
    arms: Sequence[Arm], fields: Sequence[Factor], paths: Iterable[str]
) -> set[str]:
    """Return the fields that have one value on each task: they belong to it, not to a row."""
    on_task: dict[_Group, list[Arm]] = defaultdict(list)
    for arm in arms:
        on_task[tuple(show_value(field.value(arm.fields)) for field in fields)].append(arm)
    return {
        path
        for path in paths
        if all(len({arm.texts.get(path) for arm in group}) == 1 for group in on_task.values())
    }


def _lost(table: _Table, tasks: Sequence[_Group]) -> list[str]:
    """Say which tasks are not shown, as the baseline lacks them."""
    known = list(dict.fromkeys(task for cells in table.cells.values() for task in cells))
    lost = [name for task, name in zip(known, table.names(known), strict=True) if task not in tasks]
    return [f"not shown, the baseline lacks them: {', '.join(lost)}"] if lost else []


def _words(values: Iterable[str]) -> str:
    return " ".join(filter(None, values))


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
    cells: Mapping[_Group, _Cell],
    tasks: Sequence[_Group],
    seeds: Sequence[int],
    metric: MetricInfo,
    measured: MetricValues,
) -> Scores:
    return np.asarray(
        [[measured.value(metric, cells[task].arm.runs[seed]) for task in tasks] for seed in seeds],
        dtype=np.float64,
    )
