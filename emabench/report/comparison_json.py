"""A comparison as plain values: what ``compare --json`` prints, and what reports are made of."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from emabench.report.arms import SEED
from emabench.report.cautions import Caution
from emabench.report.collapse import is_collapsed
from emabench.report.metrics import MetricInfo
from emabench.report.selection import LeftOut
from emabench.report.statistics import CONFIDENCE, Paired
from emabench.spec.paths import SHORT_NAMES, value_at

if TYPE_CHECKING:
    from emabench.report.comparison import Comparison
    from emabench.report.rows import Cell, Row

SCHEMA_VERSION = 1


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return plain values in full precision; None is unknown. Keys are only ever added."""
    return {
        "schema_version": SCHEMA_VERSION,
        "by": comparison.factor.name,
        "factor": comparison.factor.path,
        "baseline": comparison.baseline,
        "confidence": CONFIDENCE,
        "interval": comparison.interval,
        "metrics": [_metric(m, comparison.margins.get(m.name)) for m in comparison.metrics],
        "rows": [_row(row, comparison) for row in comparison.rows],
        "left_out": [_left_out(each) for each in comparison.left_out],
        "warnings": list(comparison.warnings),
        "cautions": [_caution(each) for each in comparison.cautions],
        "notes": list(comparison.notes),
    }


def _metric(metric: MetricInfo, margin: float | None) -> dict[str, Any]:
    scale, unit = (1.0, metric.unit) if metric.shown is None else metric.shown
    return {
        "name": metric.name,
        "unit": metric.unit,
        "kind": metric.kind,
        "role": metric.role,
        "higher_is_better": metric.higher_is_better,
        "margin": margin,
        "shown": {"divisor": scale, "unit": unit},
    }


def _row(row: Row, comparison: Comparison) -> dict[str, Any]:
    line = None if row.headline is None else asdict(row.headline)
    return {
        "label": row.label,
        "method": row.method,
        "ema_scope": row.ema_scope,
        **row.differing,
        "value": row.value,
        "n": row.n,
        "seeds": list(row.seeds),
        "runs": [
            {"id": run.id, "seed": seed, "collapsed": is_collapsed(run)}
            for run, seed in zip(row.runs, row.seeds, strict=True)
        ],
        "is_baseline": row.is_baseline,
        "reference": row.reference,
        "unpaired": {"arm": list(row.unpaired), "baseline": list(row.missing)},
        "headline": line,
        "metrics": {metric.name: _cell(row.metrics[metric.name]) for metric in comparison.metrics},
    }


def _cell(cell: Cell) -> dict[str, Any]:
    found: dict[str, Any] = {"mean": cell.mean, "sd": cell.sd, "values": list(cell.values)}
    if cell.baseline is not None:
        found["baseline"] = _paired(cell.baseline)
        found["verdict"] = None if cell.verdict is None else cell.verdict.value
        found["words"] = cell.words
        error = cell.image_error
        found["test_set"] = None if error is None else asdict(error)
    return found


def _paired(paired: Paired) -> dict[str, Any]:
    values = asdict(paired)
    del values["differences"]
    changes = "differences" if paired.kind == "difference" else "ratios"
    return {**values, "seeds": list(paired.seeds), changes: list(paired.differences)}


def _left_out(left_out: LeftOut) -> dict[str, Any]:
    run = left_out.run
    return {
        "id": run.id,
        "why": left_out.why,
        "reason": next((job.reason for job in run.jobs if job.reason), None),
        "method": value_at(run.spec, SHORT_NAMES["method"]),
        "ema_scope": value_at(run.spec, SHORT_NAMES["ema_scope"]),
        "seed": value_at(run.spec, SEED),
    }


def _caution(caution: Caution) -> dict[str, Any]:
    return {
        "code": caution.code,
        "message": caution.message,
        "runs": list(caution.runs),
        "hint": caution.hint,
    }
