"""The columns that a comparison can show: fields, counts, and what is known of each metric."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emabench.analysis.compared_arms import ArmRow, MetricCell
from emabench.analysis.comparison import ArmComparison
from emabench.analysis.metrics import MetricInfo
from emabench.analysis.verdicts import paired_in_words
from emabench.errors import SpecError, UnknownNameError, UsageError
from emabench.spec.paths import SHORT_NAMES, full_path, value_at
from emabench.table import UNKNOWN, fixed, show_known, show_value, significant

Part = tuple[str, Callable[[ArmRow], Any]]
"""Header and value of a column in full precision."""

ASPECTS = ("change", "p", "verdict", "corrected", "test_set")
"""What a metric has beside its mean, as ``--columns`` takes it: ``top1:change``."""


@dataclass(frozen=True)
class Column:
    """One column to read, and the columns of numbers that it is made of.

    Attributes:
        key: as ``--columns`` takes it.
        header: for people.
        shown: the rounded text of a row.
        parts: for CSV.
        is_number: whether it is aligned to the right.
    """

    key: str
    header: str
    shown: Callable[[ArmRow], str]
    parts: tuple[Part, ...]
    is_number: bool = False


def reading_columns(comparison: ArmComparison) -> list[Column]:
    """Return the columns that are shown unless others are chosen: only fields that differ."""
    found = [*_differing_fields(comparison), _count()]
    for metric in comparison.metrics:
        found.append(_mean(metric))
        if comparison.baseline is not None:
            found.append(_change(metric, comparison))
    if any(row.headline is not None for row in comparison.rows):
        found.append(_answer())
    return found


def mean_columns(comparison: ArmComparison) -> list[Column]:
    """Return the columns that are shown where no arm is compared with another one."""
    return [*_differing_fields(comparison), _count(), *map(_mean, comparison.metrics)]


def data_columns(comparison: ArmComparison) -> list[Column]:
    """Return all columns, for programs."""
    found = [*_fields(comparison), _count(), _seeds()]
    for metric in comparison.metrics:
        found.append(_mean(metric))
        if comparison.baseline is not None:
            found += _aspects(metric, comparison).values()
    if comparison.baseline is not None:
        found.append(_answer())
    return found


def chosen_columns(comparison: ArmComparison, text: str) -> list[Column]:
    """Return the columns that ``--columns`` names, in its order.

    Args:
        comparison: what is shown.
        text: a comma list of fields of the spec, ``n``, ``seeds``, ``answer``, metrics, and
            ``<metric>:change``, ``:p``, ``:verdict``, ``:corrected`` or ``:test_set``.

    Raises:
        UsageError: a part is empty.
        UnknownNameError: there is no such column.
    """
    known: dict[str, Column] = {c.key: c for c in (*_fields(comparison), _count(), _seeds())}
    known["answer"] = _answer()
    for metric in comparison.metrics:
        known[metric.name] = _mean(metric)
        known |= {c.key: c for c in _aspects(metric, comparison).values()}
    names = [part.strip() for part in text.split(",")]
    if not all(names):
        raise UsageError(f"--columns {text!r} has an empty part", hint="for example n,top1")
    return [known.get(name) or _field_column(name, known) for name in names]


def field_headers(paths: Sequence[str]) -> dict[str, str]:
    """Return a short header for each field: its last words, as many as it takes."""
    headers: dict[str, str] = {}
    for path in paths:
        words = path.split(".")
        names = [".".join(words[start:]) for start in range(len(words) - 1, -1, -1)]
        others = [other for other in paths if other != path]
        headers[path] = next(
            (n for n in names if not any(o == n or o.endswith(f".{n}") for o in others)), path
        )
    return headers


def mean_and_sd(mean: float | None, sd: float | None, metric: MetricInfo) -> str:
    """Return a value of a metric as people read it, with its spread if that is known."""
    if mean is None:
        return UNKNOWN
    scale = 1.0 if metric.shown is None else metric.shown[0]
    if metric.unit == "%":
        shown, spread = fixed(mean), fixed(sd)
    else:
        shown = significant(mean / scale)
        spread = significant(None if sd is None else sd / scale, 2)
    return shown if sd is None else f"{shown} ± {spread}"


def _fields(comparison: ArmComparison) -> list[Column]:
    columns = [
        _plain("method", "method", lambda row: row.method),
        _plain("ema_scope", "ema_scope", lambda row: row.ema_scope),
    ]
    paths = list(comparison.rows[0].differing) if comparison.rows else []
    for path, header in field_headers(paths).items():
        columns.append(
            Column(
                path,
                header,
                lambda row, path=path: show_known(row.differing[path]),  # type: ignore[misc]
                ((path, lambda row, path=path: row.differing[path]),),  # type: ignore[misc]
            )
        )
    return columns


def _differing_fields(comparison: ArmComparison) -> list[Column]:
    found = _fields(comparison)
    if len({row.method for row in comparison.rows}) < 2:
        found = [column for column in found if column.key != "method"]
    scopes = {row.ema_scope for row in comparison.rows}
    if len(scopes) < 2 and len(found) > 1 and not comparison.factor.is_scope:
        found = [column for column in found if column.key != "ema_scope"]
    return found


def _field_column(name: str, known: Mapping[str, Column]) -> Column:
    try:
        path = full_path(name)
    except SpecError:
        near: Iterable[str] = [*known, *SHORT_NAMES]
        raise UnknownNameError("column", name, near) from None
    if path in known:
        return known[path]
    return _plain(path, name, lambda row: value_at(row.runs[0].spec, path))


def _plain(key: str, header: str, read: Callable[[ArmRow], Any]) -> Column:
    return Column(key, header, lambda row: show_known(read(row)), ((key, read),))


def _count() -> Column:
    def shown(row: ArmRow) -> str:
        fewest, most = row.used
        return str(most) if fewest == most else f"{fewest} to {most}"

    return Column("n", "n", shown, (("n", lambda row: row.n),), is_number=True)


def _seeds() -> Column:
    return Column(
        "seeds",
        "seeds",
        lambda row: " ".join(map(str, row.seeds)),
        (("seeds", lambda row: row.seeds),),
    )


def _answer() -> Column:
    def answer(row: ArmRow) -> str | None:
        return None if row.headline is None else row.headline.answer

    def shown(row: ArmRow) -> str:
        return "baseline" if row.is_baseline else answer(row) or UNKNOWN

    def more(row: ArmRow) -> int | None:
        return None if row.headline is None else row.headline.more_seeds

    header = "cheaper, not worse"
    return Column("answer", header, shown, (("answer", answer), ("more_seeds", more)))


def _mean(metric: MetricInfo) -> Column:
    name = metric.name

    def shown(row: ArmRow) -> str:
        return mean_and_sd(row.metrics[name].mean, row.metrics[name].sd, metric)

    parts: tuple[Part, ...] = (
        (f"{name}_mean", lambda row: row.metrics[name].mean),
        (f"{name}_sd", lambda row: row.metrics[name].sd),
        (f"{name}_values", lambda row: row.metrics[name].values),
    )
    unit = f" [{metric.shown_unit}]" if metric.shown_unit else ""
    return Column(name, f"{name}{unit}", shown, parts, is_number=True)


def _aspects(metric: MetricInfo, comparison: ArmComparison) -> dict[str, Column]:
    verdicts = (_verdict(metric), _corrected(metric))
    columns = (_change(metric, comparison), _p(metric), *verdicts, _test_set(metric))
    return dict(zip(ASPECTS, columns, strict=True))


def _change(metric: MetricInfo, comparison: ArmComparison) -> Column:
    relation = "/" if metric.kind == "ratio" else "-"
    header = f"{metric.name} {relation} {show_value(comparison.baseline)}"

    def shown(row: ArmRow) -> str:
        paired = row.metrics[metric.name].baseline
        if paired is None:
            return "baseline" if row.is_baseline else UNKNOWN
        return paired_in_words(paired, metric)

    names = ("value", "low", "high", "n", "sd")
    ends = ("", "_low", "_high", "_n", "_sd")
    parts = tuple(
        (f"{metric.name}_{metric.kind}{end}", _of_paired(metric, name))
        for name, end in zip(names, ends, strict=True)
    )
    return Column(f"{metric.name}:change", header, shown, parts, is_number=True)


def _p(metric: MetricInfo) -> Column:
    names = ("p", "p_smallest", "p_holm")
    parts = tuple((f"{metric.name}_{name}", _of_paired(metric, name)) for name in names)

    def shown(row: ArmRow) -> str:
        return p_in_words(row.metrics[metric.name])

    return Column(f"{metric.name}:p", f"{metric.name} p (min)", shown, parts, is_number=True)


def p_in_words(cell: MetricCell) -> str:
    """Return the p of the sign-flip test beside the smallest that the pairs can attain."""
    paired = cell.baseline
    if paired is None or paired.p is None:
        return UNKNOWN
    return f"{significant(paired.p, 2)} ({significant(paired.p_smallest, 2)})"


def reach_of_images(cell: MetricCell) -> str:
    """Return the 95 % reach of the test-set error in percentage points."""
    error = cell.image_error
    return UNKNOWN if error is None else fixed((error.high - error.low) / 2)


def _verdict(metric: MetricInfo) -> Column:
    def shown(row: ArmRow) -> str:
        return row.metrics[metric.name].words or UNKNOWN

    def value(row: ArmRow) -> str | None:
        verdict = row.metrics[metric.name].verdict
        return None if verdict is None else verdict.value

    parts = ((f"{metric.name}_verdict", value),)
    return Column(f"{metric.name}:verdict", f"{metric.name} verdict", shown, parts)


def _corrected(metric: MetricInfo) -> Column:
    def value(row: ArmRow) -> str | None:
        verdict = row.metrics[metric.name].corrected
        return None if verdict is None else verdict.value

    def shown(row: ArmRow) -> str:
        return value(row) or UNKNOWN

    parts = ((f"{metric.name}_verdict_corrected", value),)
    return Column(f"{metric.name}:corrected", f"{metric.name} corrected", shown, parts)


def _test_set(metric: MetricInfo) -> Column:
    def shown(row: ArmRow) -> str:
        return reach_of_images(row.metrics[metric.name])

    def se(row: ArmRow) -> float | None:
        error = row.metrics[metric.name].image_error
        return None if error is None else error.se

    parts = ((f"{metric.name}_test_set_se", se),)
    header = f"{metric.name} ± images"
    return Column(f"{metric.name}:test_set", header, shown, parts, is_number=True)


def _of_paired(metric: MetricInfo, attribute: str) -> Callable[[ArmRow], Any]:
    def read(row: ArmRow) -> Any:
        paired = row.metrics[metric.name].baseline
        return None if paired is None else getattr(paired, attribute)

    return read
