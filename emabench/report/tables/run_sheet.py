"""Everything known of one run, as titled tables to read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from emabench.analysis.metrics import state_in_words
from emabench.records import TITLES, CostReading, JobKind, MetricPoint, RunRecord
from emabench.report.tables.evaluation_table import evaluated, own_table
from emabench.report.tables.run_table import PERCENT, evaluated_network, last_points, spec_value
from emabench.table import (
    UNKNOWN,
    Table,
    duration,
    fixed,
    price_of,
    show_known,
    significant,
    sparkline,
)

_BYTES = (
    "ema_bytes",
    "ema_bytes_moved",
    "device_peak_allocated",
    "device_peak_reserved",
    "host_peak_rss",
)
_CURVE = 24
"""Letters of a curve."""
_UNITS = {
    "throughput": "images/s",
    "throughput_p10": "images/s",
    "throughput_p90": "images/s",
    "energy_j": "J",
}


def run_sheet(
    run: RunRecord,
    points: Sequence[MetricPoint],
    evaluations: Sequence[RunRecord] = (),
    *,
    price_per_hour: float | None = None,
) -> list[tuple[str, Table]]:
    """Return the sections of ``emabench show`` in their order, each with its title.

    Args:
        run: a run, or a separate evaluation.
        points: of all metrics, in the order of steps.
        evaluations: the other evaluations of the run's weights.
        price_per_hour: of the device; turns the time into money.
    """
    return [
        (TITLES[run.kind], _about(run)),
        ("results", _results(run)),
        ("evaluations", own_table(evaluations)),
        ("cost of all attempts", _cost(run.cost, price_per_hour)),
        ("environment", _environment(run)),
        ("attempts", _attempts(run)),
        ("last metrics", _metrics(points)),
    ]


def _about(run: RunRecord) -> Table:
    network = evaluated_network(run)
    rows = [
        ("id", run.id),
        ("name", run.name or UNKNOWN),
        *(("study", study) for study in run.studies),
        *([("tags", ", ".join(run.tags))] if run.tags else []),
        *([] if run.note is None else [("note", run.note)]),
        ("state", state_in_words(run) + (" (smoke)" if run.smoke else "")),
        *_of_evaluation(run),
        *((name, show_known(spec_value(run, name))) for name in _names(run)),
        *([] if run.is_evaluation or network is None else [("network", network)]),
        *((name, _as_words(value)) for name, value in run.identity.items()),
        ("fingerprint", run.fingerprint),
        ("created", _moment(run.created_at)),
        ("command", run.command or UNKNOWN),
        *(("warning", warning) for warning in run.warnings),
    ]
    return Table(("", "value"), tuple(rows))


def _names(run: RunRecord) -> tuple[str, ...]:
    """Return the fields that say what it is; a bench has several scopes, in a table of its own."""
    return ("method", "seed") if run.kind is JobKind.BENCH else ("method", "ema_scope", "seed")


def _of_evaluation(run: RunRecord) -> list[tuple[str, str]]:
    """Return of what a separate evaluation is; nothing for a run."""
    if not run.is_evaluation:
        return []
    weights = str(run.spec.get("weights"))
    values = {"file" if Path(weights).is_absolute() else "run": weights, **evaluated(run.spec)}
    return [(name, show_known(value)) for name, value in values.items()]


def _as_words(value: Any) -> str:
    """Return a value of an identity as text: names of revisions, references of plugins."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _results(run: RunRecord) -> Table:
    if run.kind is JobKind.BENCH:  # its figures are those of its arms
        return Table(("result", "value"), ())
    rows = [
        (name, fixed(value) if PERCENT.search(name) else f"{value:.6g}")
        for name, value in sorted(run.results.items())
    ]
    return Table(("result", "value"), tuple(rows), right=frozenset({"value"}))


def _cost(cost: CostReading, price_per_hour: float | None) -> Table:
    rows = [(name, _reading(name, value)) for name, value in cost.as_dict().items()]
    price = price_of(cost.total_s, price_per_hour)
    if price is not None:
        rows.append(("price", significant(price, 3)))
    return Table(("reading", "value"), tuple(rows), right=frozenset({"value"}))


def _reading(name: str, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    if name.endswith("_s"):
        return duration(value)
    if name.endswith("_ms"):
        return f"{significant(value)} ms"
    if name == "flops_per_step":
        return f"{significant(value / 1e9)} GFLOP"
    if name in _BYTES:
        return f"{significant(value / 2**20)} MiB"
    unit = _UNITS.get(name)
    return f"{significant(value)} {unit}" if unit else str(value)


def _environment(run: RunRecord) -> Table:
    rows: list[tuple[str, str]] = []
    if run.environment is not None:
        for name, value in vars(run.environment).items():
            if name != "versions":
                rows.append((name, UNKNOWN if value is None else str(value)))
        rows += list(run.environment.versions.items())
    return Table(("", "value"), tuple(rows))


def _attempts(run: RunRecord) -> Table:
    rows = [
        (
            job.kind.value,
            job.id,
            str(attempt.number),
            attempt.state.value,
            _moment(attempt.started_at),
            duration(None if attempt.cost is None else attempt.cost.total_s),
            attempt.reason or UNKNOWN,
        )
        for job in run.jobs
        for attempt in job.attempts
    ]
    rows += [
        (job.kind.value, job.id, UNKNOWN, job.state.value, UNKNOWN, UNKNOWN, job.reason or UNKNOWN)
        for job in run.jobs
        if not job.attempts
    ]
    headers = ("job", "id", "attempt", "state", "started", "total", "reason")
    right = frozenset({"attempt", "total"})
    return Table(headers, tuple(rows), right=right, spare=("total", "started"))


def _metrics(points: Sequence[MetricPoint]) -> Table:
    """Return the newest point of each metric with its curve, from smallest to largest value.

    Those of single blocks are left to ``stability``.
    """
    curves: dict[str, list[float]] = defaultdict(list)
    for point in points:
        curves[point.name].append(point.value)
    rows = [
        (
            point.name,
            str(point.epoch),
            str(point.step),
            f"{point.value:.6g}",
            sparkline(curves[point.name], _CURVE),
        )
        for point in last_points(points)
        if ":" not in point.name
    ]
    headers = ("metric", "epoch", "step", "value", "curve")
    return Table(headers, tuple(rows), right=frozenset(headers[1:4]), spare=("step", "epoch"))


def _moment(value: datetime) -> str:
    return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
