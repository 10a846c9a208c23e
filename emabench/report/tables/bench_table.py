"""What a bench measured, as rows: one for each arm, compared with the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

from emabench.analysis.benched import step_times
from emabench.analysis.statistics import Paired, paired_ratio
from emabench.records import MetricPoint, RunRecord
from emabench.report.tables.cost_table import OWN_PASS
from emabench.spec.paths import SHORT_NAMES, value_at
from emabench.table import UNKNOWN, Table, scaled, significant

PHASES = (
    "augment",
    "online_forward",
    "target_forward",
    "loss",
    "backward",
    "optimizer",
    "ema_update",
)
_MIB = 2**20
_SAME = 1.01
"""A ratio of operations below it is no second pass."""
_FEW = 5


@dataclass(frozen=True)
class BenchRow:
    """One arm of a bench.

    Attributes:
        ema_scope: its EMA scope.
        target_gradient: whether gradient flows through its target: ``attach`` or ``detach``.
        images_per_second: at the mean step.
        step_ms: milliseconds of a step: the geometric mean of the timed ones, so that those of two
            arms are to each other as ``ratio`` says.
        steps: timed steps.
        phases_ms: median milliseconds of each phase of a step; empty if none was timed.
        flops_per_step: floating-point operations, one multiply-add = 2; None is unknown.
        peak_memory_bytes: of the device, or of the process on a CPU; None is unknown.
        ema_bytes: held by the EMA copies.
        energy_j_per_step: joules; None where there is no counter.
        ratio: of the milliseconds of a step to those of the first arm, step by step.
        predicted_ratio: the same, of the floating-point operations.
    """

    ema_scope: str
    target_gradient: str
    images_per_second: float
    step_ms: float
    steps: int
    phases_ms: Mapping[str, float]
    flops_per_step: float | None
    peak_memory_bytes: float | None
    ema_bytes: float | None
    energy_j_per_step: float | None
    ratio: Paired | None
    predicted_ratio: float | None


def bench_rows(bench: RunRecord, points: Sequence[MetricPoint]) -> list[BenchRow]:
    """Return the arms of a finished bench in their order.

    Args:
        bench: the bench.
        points: its metrics: the milliseconds of every step.
    """
    arms = bench.spec["bench"]["arms"]
    steps = step_times(bench, points)
    first_flops = bench.results.get("flops_per_step:0")
    rows = []
    for index, arm in enumerate(arms):
        found = {
            name.rpartition(":")[0]: value
            for name, value in bench.results.items()
            if name.endswith(f":{index}")
        }
        flops = found.get("flops_per_step")
        # A store may have lost the single steps; what the bench itself kept is their median.
        step_ms = geometric_mean(steps[index]) if steps[index] else found["step_ms"]
        rows.append(
            BenchRow(
                ema_scope=arm["scope"],
                target_gradient=arm["target_gradient"],
                images_per_second=1000 * bench.spec["pretrain"]["batch_size"] / step_ms,
                step_ms=step_ms,
                steps=len(steps[index]),
                phases_ms={p: found[f"{p}_ms"] for p in PHASES if f"{p}_ms" in found},
                flops_per_step=flops,
                peak_memory_bytes=found.get("peak_memory_bytes"),
                ema_bytes=found.get("ema_bytes"),
                energy_j_per_step=found.get("energy_j_per_step"),
                ratio=paired_ratio(steps[index], steps[0]),
                predicted_ratio=flops / first_flops if flops and first_flops else None,
            )
        )
    return rows


def bench_values(rows: Sequence[BenchRow]) -> list[dict[str, Any]]:
    """Return the rows as plain values for JSON; unknown is null."""
    return [
        vars(row)
        | {
            "phases_ms": dict(row.phases_ms) or None,
            "ratio": None
            if row.ratio is None
            else {"value": row.ratio.value, "low": row.ratio.low, "high": row.ratio.high},
        }
        for row in rows
    ]


def bench_tables(rows: Sequence[BenchRow]) -> list[tuple[str, Table]]:
    """Return titled tables: the costs with their ratios, and the phases of a step."""
    labels = _labels(rows)
    first = labels[0]
    headers: tuple[str, ...] = (
        "ema scope",
        "images/s",
        "ms/step",
        f"measured ÷ {first}",
        "FLOPs say",
        "GFLOP/step",
        "peak MiB",
        "EMA MiB",
    )
    costs: list[tuple[str, ...]] = [
        (
            label,
            significant(row.images_per_second),
            significant(row.step_ms),
            _ratio(row),
            significant(row.predicted_ratio),
            scaled(row.flops_per_step, 1e9),
            scaled(row.peak_memory_bytes, _MIB),
            scaled(row.ema_bytes, _MIB),
        )
        for label, row in zip(labels, rows, strict=True)
    ]
    if any(row.energy_j_per_step is not None for row in rows):
        headers = (*headers, "J/step")
        pairs = zip(costs, rows, strict=True)
        costs = [(*cells, significant(row.energy_j_per_step)) for cells, row in pairs]
    phases = [
        (label, *(significant(row.phases_ms.get(name), 3) for name in PHASES), _rest(row))
        for label, row in zip(labels, rows, strict=True)
    ]
    names = ("ema scope", *(name.replace("_", " ") for name in PHASES), "rest")
    return [
        ("cost of a step", Table(headers, tuple(costs), right=frozenset(headers[1:]))),
        ("milliseconds of a step by phase", Table(names, tuple(phases), frozenset(names[1:]))),
    ]


def _labels(rows: Sequence[BenchRow]) -> list[str]:
    """Return the scopes, with what happens to the target's gradient where that tells arms apart."""
    scopes = [row.ema_scope for row in rows]
    if len(set(scopes)) == len(scopes):
        return scopes
    return [f"{row.ema_scope} ({row.target_gradient})" for row in rows]


def _ratio(row: BenchRow) -> str:
    if row.ratio is None:
        return UNKNOWN
    if row.ratio.low is None or row.ratio.low == row.ratio.high:
        return significant(row.ratio.value)
    interval = f"[{significant(row.ratio.low)}, {significant(row.ratio.high)}]"
    return f"{significant(row.ratio.value)} {interval}"


def _rest(row: BenchRow) -> str:
    """Return what of the mean step no phase accounts for: queue, learning rate, loop."""
    if not row.phases_ms:
        return UNKNOWN
    return significant(max(0.0, row.step_ms - sum(row.phases_ms.values())), 3)


def bench_title(bench: RunRecord) -> str:
    """Return what was measured on what, in one line."""
    names = ("method", "backbone", "dataset", "image_size", "batch_size")
    method, backbone, dataset, size, batch = (
        value_at(bench.spec, SHORT_NAMES[name]) for name in names
    )
    where = bench.environment
    machine = "" if where is None else f", {where.device}"
    on = f"{bench.identity.get('precision')}, {bench.identity.get('threads')} threads"
    return (
        f"bench {bench.id}: {method}, {backbone}, {dataset} {size} px, batch {batch}{machine}, {on}"
    )


def bench_details(bench: RunRecord, points: Sequence[MetricPoint]) -> dict[str, Any]:
    """Return a finished bench as plain values for JSON."""
    rows = bench_rows(bench, points)
    return {
        "id": bench.id,
        "method": value_at(bench.spec, SHORT_NAMES["method"]),
        "backbone": value_at(bench.spec, SHORT_NAMES["backbone"]),
        "dataset": value_at(bench.spec, SHORT_NAMES["dataset"]),
        "image_size": value_at(bench.spec, SHORT_NAMES["image_size"]),
        "batch_size": value_at(bench.spec, SHORT_NAMES["batch_size"]),
        "device": None if bench.environment is None else bench.environment.device,
        "precision": bench.identity.get("precision"),
        "threads": bench.identity.get("threads"),
        "command": bench.command,
        "rows": bench_values(rows),
        "notes": bench_notes(rows),
    }


def bench_notes(rows: Sequence[BenchRow]) -> list[str]:
    """Return what a reader should know beside the numbers."""
    notes = []
    free = [
        label
        for label, row in zip(_labels(rows), rows, strict=True)
        if row.predicted_ratio is not None
        and row.predicted_ratio < _SAME
        and row.ema_scope not in ("none", "projector")
    ]
    if rows[0].ema_scope == "none" and free:
        notes.append(f"{', '.join(free)}: no more operations than none: {OWN_PASS}")
    if any(row.steps < _FEW for row in rows):
        notes.append("few timed steps: --steps or --seconds takes more, for narrower intervals")
    return notes
