"""The tables of a comparison: to read, to compute with, and of every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emabench.analysis.compared_arms import ArmRow
from emabench.analysis.comparison import ArmComparison
from emabench.analysis.verdicts import change_in_words
from emabench.report.tables.comparison_columns import (
    Column,
    data_columns,
    mean_and_sd,
    p_in_words,
    reach_of_images,
    reading_columns,
)
from emabench.table import UNKNOWN, Table, fixed, show_value, significant


def reading_table(comparison: ArmComparison, columns: Sequence[Column] | None = None) -> Table:
    """Return mean ± sd of each metric, and its difference or ratio to the baseline, [low, high].

    Numbers are rounded: accuracies to 2 decimals, costs to 4 significant digits.
    """
    chosen = reading_columns(comparison) if columns is None else columns
    rows = [tuple(column.shown(row) for column in chosen) for row in comparison.rows]
    right = frozenset(column.header for column in chosen if column.is_number)
    headers = tuple(column.header for column in chosen)
    return Table(headers, tuple(rows), right=right, spare=_spare(chosen, comparison))


def _spare(columns: Sequence[Column], comparison: ArmComparison) -> tuple[str, ...]:
    """Return what a narrow terminal does without, the first to go first.

    The answer is said again below the table. Then it is means, where changes are shown, and at last
    all of the later metrics.
    """
    first, *later = (metric.name for metric in comparison.metrics)
    groups = [["answer"], later]
    if comparison.baseline is not None:
        groups = [["answer"], [*later, first], [f"{name}:change" for name in later]]
    return tuple(c.header for group in groups for c in reversed(columns) if c.key in group)


def data_table(comparison: ArmComparison, columns: Sequence[Column] | None = None) -> Table:
    """Return everything in full precision, one number per column, for CSV."""
    chosen = data_columns(comparison) if columns is None else columns
    parts = [part for column in chosen for part in column.parts]
    rows = [tuple(read(row) for _, read in parts) for row in comparison.rows]
    return Table(tuple(header for header, _ in parts), tuple(rows))


_MOST_LINES = 12
"""Arms whose answers are said one by one, with their reasons; the table shows those of more."""
_CORRECTED = "corrected"
"""Header of the verdict that holds for all questions of the metric together."""
_REACHES = ("± seeds", "± images")
"""Headers of the 95 % reach of an accuracy's difference: by the seeds, and by the test images."""


def verdict_table(comparison: ArmComparison) -> Table:
    """Return one line per arm and metric that was compared: how sure it is, and the verdict."""
    headers = ["arm", "metric", "n", "p (min)", "p Holm", *_REACHES, "verdict", _CORRECTED]
    rows = []
    for row in comparison.rows:
        for metric in comparison.metrics:
            cell = row.metrics[metric.name]
            paired = cell.baseline
            if paired is None:
                continue
            reach = UNKNOWN
            if paired.kind == "difference" and paired.low is not None and paired.high is not None:
                reach = fixed((paired.high - paired.low) / 2)
            rows.append(
                (
                    row.label,
                    metric.name,
                    str(paired.n),
                    p_in_words(cell),
                    significant(paired.p_holm, 2),
                    reach,
                    reach_of_images(cell),
                    cell.words or UNKNOWN,
                    UNKNOWN if cell.corrected is None else cell.corrected.value,
                )
            )
    empty = {
        place
        for place, header in enumerate(headers)
        if header in ("p Holm", *_REACHES, _CORRECTED)
        and all(row[place] == UNKNOWN for row in rows)
    }
    kept = [place for place in range(len(headers)) if place not in empty]
    return Table(
        tuple(headers[place] for place in kept),
        tuple(tuple(row[place] for place in kept) for row in rows),
        right=frozenset(headers[2:-2]),
        whole=frozenset({"metric"}),
        spare=(*_REACHES[::-1], "p Holm", "n"),
    )


def headlines(comparison: ArmComparison) -> list[str]:
    """Return the answers of the arms, a line each; of many arms, a line an answer."""
    answers = [(row.label, row.headline) for row in comparison.rows if row.headline is not None]
    if len(answers) <= _MOST_LINES:
        return [f"{label}: {headline.words}" for label, headline in answers]
    arms: dict[str, list[str]] = {"yes": [], "no": [], "undecided": []}
    for label, headline in answers:
        arms[headline.answer].append(label)
    return [
        f"cheaper and not worse than {show_value(comparison.baseline)}: {answer} "
        f"({len(labels)} of {len(answers)}): {', '.join(labels)}"
        for answer, labels in arms.items()
        if labels
    ]


def runs_table(comparison: ArmComparison) -> Table:
    """Return every run with its values, and its change to the run that it is paired with."""
    headers = ["arm", "seed", "run"]
    for metric in comparison.metrics:
        unit = f" [{metric.shown_unit}]" if metric.shown_unit else ""
        headers.append(f"{metric.name}{unit}")
        if comparison.baseline is not None:
            relation = "/" if metric.kind == "ratio" else "-"
            headers.append(f"{metric.name} {relation} {show_value(comparison.baseline)}")
    rows = []
    for row, place, values, changes in _each_run(comparison):
        cells = [row.label, str(row.seeds[place]), row.runs[place].id]
        for metric, value, change in zip(comparison.metrics, values, changes, strict=True):
            cells.append(mean_and_sd(value, None, metric))
            if comparison.baseline is not None:
                cells.append(change_in_words(change, metric))
        rows.append(tuple(cells))
    return Table(
        tuple(headers),
        tuple(rows),
        right=frozenset((*headers[1:2], *headers[3:])),
        spare=tuple(headers[:3:-1]),
    )


def runs_data(comparison: ArmComparison) -> Table:
    """Return the same in full precision, with the fields in which arms differ, for CSV."""
    paths = list(comparison.rows[0].differing) if comparison.rows else []
    headers = ["label", "method", "ema_scope", *paths, "seed", "run"]
    for metric in comparison.metrics:
        headers += [metric.name, f"{metric.name}_{metric.kind}"]
    rows = []
    for row, place, values, changes in _each_run(comparison):
        cells: list[Any] = [row.label, row.method, row.ema_scope, *row.differing.values()]
        cells += [row.seeds[place], row.runs[place].id]
        for value, change in zip(values, changes, strict=True):
            cells += [value, change]
        rows.append(tuple(cells))
    return Table(tuple(headers), tuple(rows))


_EachRun = tuple[ArmRow, int, list[float | None], list[float | None]]


def _each_run(comparison: ArmComparison) -> list[_EachRun]:
    """Return each run by row and place, with its values and changes in the order of metrics."""
    found = []
    for row in comparison.rows:
        for place, seed in enumerate(row.seeds):
            cells = [row.metrics[metric.name] for metric in comparison.metrics]
            values = [cell.values[place] for cell in cells]
            changes = [None if c.baseline is None else c.baseline.by_seed(seed) for c in cells]
            found.append((row, place, values, changes))
    return found
