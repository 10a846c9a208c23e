"""The tables of a comparison: one to read, one to compute with."""

from __future__ import annotations

from typing import Any

from emabench.report.comparison import Cell, Comparison
from emabench.report.metrics import MetricInfo
from emabench.report.numbers import UNKNOWN, fixed, signed, significant
from emabench.report.statistics import Paired
from emabench.report.tables import Table, show_value


def reading_table(comparison: Comparison) -> Table:
    """Return mean ± sd of each metric, and its difference or ratio to the baseline, [low, high].

    Numbers are rounded: accuracies to 2 decimals, costs to 4 significant digits.
    """
    fields = _field_headers(comparison)
    numbers = ["n"]
    for metric in comparison.metrics:
        numbers.append(f"{metric.name} [{_unit(metric)}]")
        if comparison.baseline is not None:
            numbers.append(f"{metric.name} {_relation(metric)} {comparison.baseline}")
    rows = []
    for row in comparison.rows:
        cells = [row.method, row.ema_scope]
        for path in fields:
            value = row.differing[path]
            cells.append(UNKNOWN if value is None else show_value(value))
        cells.append(str(row.n))
        for metric in comparison.metrics:
            cell = row.metrics[metric.name]
            cells.append(_mean_and_sd(cell, metric))
            if comparison.baseline is not None:
                cells.append("baseline" if row.is_baseline else _paired(cell.baseline))
        rows.append(tuple(cells))
    headers = ("method", "ema_scope", *fields.values(), *numbers)
    return Table(headers, tuple(rows), right=frozenset(numbers))


def data_table(comparison: Comparison) -> Table:
    """Return everything in full precision, one number per column, for CSV."""
    fields = _field_headers(comparison)
    headers = ["method", "ema_scope", *fields, "n", "seeds"]
    for metric in comparison.metrics:
        headers += [f"{metric.name}_{part}" for part in ("mean", "sd", "values")]
        if comparison.baseline is not None:
            headers += [
                f"{metric.name}_{metric.kind}{part}" for part in ("", "_low", "_high", "_n")
            ]
    rows = []
    for row in comparison.rows:
        cells: list[Any] = [row.method, row.ema_scope]
        cells += [row.differing[path] for path in fields]
        cells += [row.n, row.seeds]
        for metric in comparison.metrics:
            cell = row.metrics[metric.name]
            cells += [cell.mean, cell.sd, cell.values]
            if comparison.baseline is not None:
                paired = cell.baseline
                cells += (
                    [None] * 4
                    if paired is None
                    else [paired.value, paired.low, paired.high, paired.n]
                )
        rows.append(tuple(cells))
    return Table(tuple(headers), tuple(rows))


def _field_headers(comparison: Comparison) -> dict[str, str]:
    """Return a short header for each differing field: its last words, as many as it takes."""
    paths = list(comparison.rows[0].differing) if comparison.rows else []
    headers: dict[str, str] = {}
    for path in paths:
        words = path.split(".")
        names = [".".join(words[start:]) for start in range(len(words) - 1, -1, -1)]
        others = [other for other in paths if other != path]
        headers[path] = next(
            (n for n in names if not any(o == n or o.endswith(f".{n}") for o in others)), path
        )
    return headers


def _relation(metric: MetricInfo) -> str:
    return "/" if metric.kind == "ratio" else "-"


def _unit(metric: MetricInfo) -> str:
    return metric.unit if metric.shown is None else metric.shown[1]


def _mean_and_sd(cell: Cell, metric: MetricInfo) -> str:
    if cell.mean is None:
        return UNKNOWN
    scale = 1.0 if metric.shown is None else metric.shown[0]
    if metric.kind == "difference":
        mean, sd = fixed(cell.mean), fixed(cell.sd)
    else:
        mean = significant(cell.mean / scale)
        sd = significant(None if cell.sd is None else cell.sd / scale, 2)
    return mean if cell.sd is None else f"{mean} ± {sd}"


def _paired(paired: Paired | None) -> str:
    if paired is None:
        return UNKNOWN
    value, low, high = (
        fixed(number, 3) if paired.kind == "ratio" else signed(number)
        for number in (paired.value, paired.low, paired.high)
    )
    return value if paired.low is None else f"{value} [{low}, {high}]"
