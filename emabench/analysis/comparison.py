"""Comparing arms: what each value of a factor costs and buys, seed by seed against a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emabench.analysis import cautions as caution
from emabench.analysis.arms import SEED
from emabench.analysis.baseline import baseline_value
from emabench.analysis.cautions import Caution, cautions_in_json
from emabench.analysis.compared_arms import ArmRow, MetricCell, Terms, build_rows
from emabench.analysis.factor import EMA_SCOPE, Factor
from emabench.analysis.looking.looks import Looks
from emabench.analysis.looking.said_of_looks import interval_notes, skewed_differences
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo, is_collapsed
from emabench.analysis.selection import Arms, LeftOut, select
from emabench.analysis.statistics import CONFIDENCE, Interval, Paired
from emabench.analysis.verdicts import Verdict, is_flat
from emabench.errors import NotFoundError
from emabench.records import RunRecord, StudyPlan
from emabench.spec.paths import SHORT_NAMES, value_at
from emabench.table import show_value

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ArmComparison:
    """The rows of a comparison, what it is compared with, and what its reader should know.

    Attributes:
        factor: the field whose values are compared.
        baseline: its value that the others are compared with; None is nothing.
        metrics: in the order in which they were asked for.
        margins: by metric; of ratio metrics as a fraction.
        interval: how the 95 % intervals are computed.
        looks: those that the study planned, where the interval is that of a look.
        plan: what the study fixed before its runs, where the store knows it.
        arms: that take part, and the runs that do not.
        rows: one per arm.
        cautions: what the reader must know before believing it.
        notes: what is only good to know.
    """

    factor: Factor
    baseline: Any
    metrics: tuple[MetricInfo, ...]
    margins: Mapping[str, float]
    interval: Interval
    arms: Arms
    rows: tuple[ArmRow, ...]
    cautions: tuple[Caution, ...] = ()
    notes: tuple[str, ...] = ()
    looks: Looks | None = None
    plan: StudyPlan | None = None

    def questions(self, metric: str) -> int:
        """Return how many comparisons of a metric there are."""
        return sum(row.metrics[metric].baseline is not None for row in self.rows)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The runs that do not take part, and why."""
        return self.arms.left_out

    @property
    def warnings(self) -> tuple[str, ...]:
        """The cautions in words."""
        return tuple(each.message for each in self.cautions)

    def to_json(self) -> dict[str, Any]:
        """Return plain values of the documented form, in full precision; None is unknown.

        Keys are only ever added; see ``docs/explanation/comparison.md``.
        """
        return {
            "schema_version": SCHEMA_VERSION,
            "by": self.factor.name,
            "factor": self.factor.path,
            "baseline": self.baseline,
            "confidence": CONFIDENCE,
            "interval": self.interval,
            "looks": None if self.looks is None else asdict(self.looks),
            "metrics": [
                {**_metric(m, self.margins.get(m.name)), "questions": self.questions(m.name)}
                for m in self.metrics
            ],
            "rows": [_row(row, self) for row in self.rows],
            "left_out": [_left_out(each) for each in self.left_out],
            **cautions_in_json(self.cautions),
            "notes": list(self.notes),
        }


def compare(
    runs: Sequence[RunRecord],
    metrics: Sequence[MetricInfo],
    *,
    by: Factor = EMA_SCOPE,
    baseline: str | None = None,
    margins: Mapping[str, float] | None = None,
    smoke: bool = False,
    interval: Interval = "t",
    measured: MetricValues | None = None,
    looks: Looks | None = None,
) -> ArmComparison:
    """Compare finished runs, grouped by everything except the seed.

    Args:
        runs: runs of any state, newest last; those that are not done are counted and named.
        metrics: what to compare.
        by: the factor whose values are compared.
        baseline: a value of it as it is typed; None takes, of EMA scopes, ``full`` if there is one,
            else ``none``, else nothing; of other factors the smallest value.
        margins: by metric: a difference within it is none. In the unit of the metric, or the
            fraction of a ratio.
        smoke: whether smoke runs take part.
        interval: of which kind.
        measured: what else the store holds of the runs, see ``wanted_values``.
        looks: that were planned, for the interval ``looks``.

    Raises:
        NotFoundError: no run is left to compare, or none holds any of the metrics.
        UnknownNameError: no run has the value that was asked for as baseline.
    """
    arms = select(runs, smoke=smoke, by=by, to="compare")
    measured = MetricValues() if measured is None else measured
    value = baseline_value(arms.arms, baseline, by)
    terms = Terms(metrics, margins or {}, interval, measured, by, value, looks)
    found = caution.failed_runs(each.run for each in arms.left_out if each.why != "smoke")
    found += caution.unreadable_runs(each.run for each in arms.left_out)
    found += caution.earlier_arms(arms.arms)
    found += caution.outdated_figures(arms.outdated, (metric.name for metric in metrics))
    found += caution.collapsed_runs(arms.runs)
    found += caution.smoke_runs(arms.runs)
    found += _unknown_metrics(arms.runs, metrics, measured)
    found += _without_baseline(arms, terms)
    rows = build_rows(arms, terms, found)
    found += _about_rows(rows, metrics)
    found += skewed_differences(rows, metrics)
    found += _about_runs(rows, terms)
    return ArmComparison(
        by,
        value,
        tuple(metrics),
        terms.margins,
        interval,
        arms,
        tuple(rows),
        tuple(dict.fromkeys(found)),
        (
            *arms.notes,
            *arms.together,
            *_notes(arms, terms, baseline),
            *interval_notes(rows, terms),
        ),
        looks,
    )


def _unknown_metrics(
    runs: Sequence[RunRecord], metrics: Sequence[MetricInfo], measured: MetricValues
) -> list[Caution]:
    """Warn of metrics that no run holds.

    Raises:
        NotFoundError: that are all of them.
    """
    held = {m.name for m in metrics if any(measured.value(m, run) is not None for run in runs)}
    lost = [metric.name for metric in metrics if metric.name not in held]
    if not lost:
        return []
    known = sorted({name for run in runs for name in run.results})
    hint = (
        f"the runs have {', '.join(known)} and costs"
        if known
        else "emabench show says what a run has"
    )
    if any(metric.over == "steps" and metric.name in lost for metric in metrics):
        hint = "emabench bench, with settings and data set of the runs, times their steps"
    message = f"no run has {' or '.join(lost)}"
    if not held:
        raise NotFoundError(f"nothing to compare: {message}", hint=hint)
    return [Caution("no-values", message, hint=hint)]


def _without_baseline(arms: Arms, terms: Terms) -> list[Caution]:
    """Warn where nothing is compared with anything."""
    if terms.baseline is not None:
        return []
    factor = terms.factor.name
    values = dict.fromkeys(show_value(terms.factor.value(arm.fields)) for arm in arms.arms)
    if len(values) == 1:
        message = f"nothing to compare: all runs have {factor} {next(iter(values))}"
        hint = f"run another {factor}, or compare by another field with --by"
    else:
        message = f"nothing to compare with: no {factor} is the baseline"
        hint = f"--baseline takes one of {', '.join(values)}"
    return [Caution("no-baseline", message, hint=hint)]


def _about_rows(rows: Sequence[ArmRow], metrics: Sequence[MetricInfo]) -> list[Caution]:
    """Warn of seeds without a partner, too few pairs, and differences without any spread."""
    found = []
    for row in rows:
        if row.reference is None:
            continue
        reference = rows[row.reference]
        other = reference.label
        found += caution.unlike_revisions(row.label, row.runs, other, reference.runs)
        if not (row.unpaired or row.missing):
            continue
        lacks = [
            f"{who} lacks {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
            for who, seeds in ((other, row.unpaired), (row.label, row.missing))
            if seeds
        ]
        message = f"{row.label} and {other} do not pair up: {', '.join(lacks)}"
        found.append(Caution("unpaired", message, hint="run the missing seeds"))
    found += _unknown_values(rows)
    pairs = {
        row.label: max(
            (
                paired.n
                for cell in row.metrics.values()
                if (paired := cell.baseline) is not None and paired.over == "seeds"
            ),
            default=0,
        )
        for row in rows
        if row.reference is not None
    }
    found += caution.few_pairs(pairs)
    flat = [
        f"{row.label} {metric.name}"
        for metric in metrics
        for row in rows
        if (cell := row.metrics[metric.name]).baseline is not None
        and is_flat(cell.baseline)
        and cell.verdict is Verdict.INCONCLUSIVE
    ]
    if flat:
        message = f"all differences are equal, so their spread is unknown: {caution.listed(flat)}"
        found.append(Caution("no-spread", message, hint="run more seeds, or test on more images"))
    return found


def _unknown_values(rows: Sequence[ArmRow]) -> list[Caution]:
    """Warn of metrics that some runs of an arm hold, and some do not."""
    lacking = []
    for row in rows:
        for name, cell in row.metrics.items():
            known = sum(value is not None for value in cell.values)
            if 0 < known < row.n:
                lacking.append(f"{name} of {row.label} in {row.n - known} of {row.n}")
    if not lacking:
        return []
    message = f"unknown values are left out: {caution.listed(lacking)} runs"
    return [Caution("unknown-values", message, hint="n says how many seeds were used")]


def _about_runs(rows: Sequence[ArmRow], terms: Terms) -> list[Caution]:
    """Warn of what is unlike or disturbed among the runs that take part."""
    with_costs = any(metric.role == "cost" for metric in terms.metrics)
    runs = [run for row in rows for run in row.runs]
    groups = [
        [*row.runs, *(() if row.reference is None else rows[row.reference].runs)] for row in rows
    ]
    found = caution.mixed_environments(groups, with_costs=with_costs, factor=terms.factor.path)
    found += caution.dirty_trees(runs)
    if any(metric.is_disturbed for metric in terms.metrics):
        found += caution.disturbed_costs(runs, terms.measured)
    return found + caution.own_warnings(runs)


def _notes(arms: Arms, terms: Terms, baseline: str | None) -> list[str]:
    notes = [metric.note for metric in terms.metrics if metric.note is not None]
    if terms.baseline is not None and baseline is None and not terms.factor.is_scope:
        value = show_value(terms.baseline)
        notes.append(f"{terms.factor.name} {value} is the baseline; --baseline takes another")
    first = next((m.name for m in terms.metrics if m.role == "accuracy"), None)
    if first is not None and first not in terms.margins and len(arms.arms) > 1:
        notes.append(
            "without a margin no verdict says equivalent or not worse: set --margin "
            f"{first}=0.5, before the runs"
        )
    evaluated = [m.name for m in terms.metrics if m.role == "accuracy" and m.name != "online_top1"]
    networks = {value_at(run.spec, "evaluation.network") for run in arms.runs}
    if evaluated and len(networks) == 1 and None not in networks:  # several are a column
        notes.append(f"{', '.join(evaluated)}: of the {networks.pop()} network")
    return notes


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


def _row(row: ArmRow, comparison: ArmComparison) -> dict[str, Any]:
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


def _cell(cell: MetricCell) -> dict[str, Any]:
    found: dict[str, Any] = {"mean": cell.mean, "sd": cell.sd, "values": list(cell.values)}
    if cell.baseline is not None:
        found["baseline"] = _paired(cell.baseline)
        found["verdict"] = None if cell.verdict is None else cell.verdict.value
        found["words"] = cell.words
        found["corrected"] = None if cell.corrected is None else cell.corrected.value
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
        "reason": run.unreadable or next((job.reason for job in run.jobs if job.reason), None),
        "method": value_at(run.spec, SHORT_NAMES["method"]),
        "ema_scope": value_at(run.spec, SHORT_NAMES["ema_scope"]),
        "seed": value_at(run.spec, SEED),
    }
