"""Comparing arms: what each EMA scope costs and buys, seed by seed against a baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emabench.errors import NotFoundError
from emabench.records import JobState, RunRecord
from emabench.report.arms import (
    IDENTITY,
    TARGET_GRADIENT,
    Arm,
    differing_fields,
    group,
    scope_rank,
)
from emabench.report.baseline import baseline_scope, reference_arm
from emabench.report.collapse import is_collapsed
from emabench.report.metrics import MetricInfo
from emabench.report.statistics import Paired, paired_difference, paired_ratio, summary

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Cell:
    """One metric of one arm: ``values`` in the order of the seeds, None where unknown."""

    mean: float | None
    sd: float | None
    values: tuple[float | None, ...]
    baseline: Paired | None = None


@dataclass(frozen=True)
class Row:
    """One arm of a comparison; ``differing`` holds the fields that are not the same in all."""

    method: str
    ema_scope: str
    differing: Mapping[str, Any]
    seeds: tuple[int, ...]
    metrics: Mapping[str, Cell]
    is_baseline: bool = False

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.seeds)


@dataclass(frozen=True)
class Comparison:
    """The rows of a comparison, what it is compared with, and what its reader should know."""

    metrics: tuple[MetricInfo, ...]
    baseline: str | None
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values of the documented form; see ``docs/explanation/comparison.md``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "rows": [_row_json(row) for row in self.rows],
            "warnings": list(self.warnings),
        }


def compare(
    runs: Sequence[RunRecord],
    metrics: Sequence[MetricInfo],
    *,
    baseline: str | None = None,
    smoke: bool = False,
) -> Comparison:
    """Compare finished runs, grouped by everything except the seed.

    Args:
        runs: runs of any state, newest last; those that are not done are counted in a note.
        metrics: what to compare.
        baseline: an EMA scope; None takes ``full`` if there is one, else ``none``, else nothing.
        smoke: whether smoke runs take part.

    Raises:
        NotFoundError: no run is left to compare.
        UnknownNameError: no run has the scope that was asked for as baseline.
    """
    chosen, notes = _select(runs, smoke=smoke)
    arms, repeats = group(chosen)
    if repeats:
        notes.append(f"{repeats} repeated runs left out: of each seed the newest counts")
    notes.extend(metric.note for metric in metrics if metric.note is not None)
    scope = baseline_scope(arms, baseline)
    differing = differing_fields(arms)
    arms.sort(key=lambda arm: _order(arm, differing))
    warnings = _collapsed(arms)
    rows = [_row(arm, arms, metrics, scope, differing, warnings) for arm in arms]
    if any(metric.kind == "ratio" for metric in metrics):
        warnings.extend(_mixed_devices(arms))
    return Comparison(
        tuple(metrics), scope, tuple(rows), tuple(dict.fromkeys(warnings)), tuple(notes)
    )


def _collapsed(arms: Sequence[Arm]) -> list[str]:
    """Return a warning that names the runs whose embeddings collapsed, if there are any."""
    found = [run.id for arm in arms for run in arm.runs.values() if is_collapsed(run)]
    if not found:
        return []
    what = "1 run" if len(found) == 1 else f"{len(found)} runs"
    return [f"{what} collapsed: {', '.join(found)}"]


def _select(runs: Sequence[RunRecord], *, smoke: bool) -> tuple[list[RunRecord], list[str]]:
    """Return the finished runs, and notes on those that were left out."""
    wanted = [run for run in runs if smoke or not run.smoke]
    done = [run for run in wanted if run.state is JobState.DONE]
    notes = []
    others = Counter(run.state.value for run in wanted if run.state is not JobState.DONE)
    if others:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(others.items()))
        notes.append(f"{counts} left out")
    if not done:
        left_out = len(runs) - len(wanted)
        if left_out:
            what = "only smoke runs" if len(wanted) == 0 else f"{left_out} smoke runs"
            raise NotFoundError(
                f"nothing to compare: {what} left out", hint="--smoke compares them too"
            )
        if notes:
            raise NotFoundError(
                f"nothing to compare: {notes[0]}, no run is done",
                hint="emabench list shows the runs and their states",
            )
        raise NotFoundError(
            "nothing to compare: no run fits", hint="emabench run makes one; loosen --where, --name"
        )
    return done, notes


def _order(arm: Arm, differing: Iterable[str]) -> tuple[Any, ...]:
    others = tuple(str(arm.fields.get(path)) for path in differing if path != TARGET_GRADIENT)
    return arm.method, others, scope_rank(arm.scope), str(arm.fields.get(TARGET_GRADIENT))


def _row(
    arm: Arm,
    arms: Sequence[Arm],
    metrics: Sequence[MetricInfo],
    scope: str | None,
    differing: Iterable[str],
    warnings: list[str],
) -> Row:
    candidates = [other for other in arms if other.scope == scope]
    reference = reference_arm(arm, candidates, warnings)
    return Row(
        method=arm.method,
        ema_scope=arm.scope,
        differing={path: arm.fields.get(path) for path in differing},
        seeds=tuple(arm.runs),
        metrics={metric.name: _cell(arm, metric, reference) for metric in metrics},
        is_baseline=arm.scope == scope and reference is None,
    )


def _cell(arm: Arm, metric: MetricInfo, reference: Arm | None) -> Cell:
    values = {seed: metric.read(run) for seed, run in arm.runs.items()}
    known = summary([value for value in values.values() if value is not None])
    paired = None
    if reference is not None:
        pairs = [
            (value, other)
            for seed, value in values.items()
            if value is not None
            and seed in reference.runs
            and (other := metric.read(reference.runs[seed])) is not None
        ]
        pair = paired_ratio if metric.kind == "ratio" else paired_difference
        paired = pair([first for first, _ in pairs], [second for _, second in pairs])
    return Cell(known.mean, known.sd, tuple(values.values()), paired)


def _mixed_devices(arms: Iterable[Arm]) -> list[str]:
    """Warn of costs that were measured on several machines, although their identities agree."""
    devices: dict[tuple[Any, ...], set[str]] = {}
    for arm in arms:
        key = tuple(str(arm.fields.get(name)) for name in IDENTITY)
        names = devices.setdefault(key, set())
        for run in arm.runs.values():
            if run.environment is not None:
                compiled = ", compiled" if run.environment.compiled else ""
                count = run.environment.device_count
                many = f"{count} x " if count > 1 else ""
                names.add(f"{many}{run.environment.device}{compiled}")
    return [
        f"costs were measured on different devices: {', '.join(sorted(names))}; "
        "their means and ratios are not of one machine"
        for names in devices.values()
        if len(names) > 1
    ]


def _row_json(row: Row) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, cell in row.metrics.items():
        cells[name] = {"mean": cell.mean, "sd": cell.sd, "values": list(cell.values)}
        if cell.baseline is not None:
            cells[name]["baseline"] = asdict(cell.baseline)
    return {
        "method": row.method,
        "ema_scope": row.ema_scope,
        **row.differing,
        "n": row.n,
        "seeds": list(row.seeds),
        "metrics": cells,
    }
