"""What the reader of a comparison is told about its intervals, and about who looked before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from emabench.analysis.cautions import Caution
from emabench.analysis.statistics import skewness
from emabench.analysis.verdicts import Verdict
from emabench.records import RunRecord, StudyLooks, StudyPlan, TakenLook

if TYPE_CHECKING:
    from emabench.analysis.compared_arms import ArmRow, Terms
    from emabench.analysis.comparison import ArmComparison
    from emabench.analysis.metrics import MetricInfo

ANYTIME_FROM = 5
"""Pairs below which an interval that holds at any time is the whole line."""


def interval_notes(rows: Sequence[ArmRow], terms: Terms) -> list[str]:
    """Return what the intervals are for, and how many questions were asked."""
    compared = [row for row in rows if row.reference is not None]
    if not compared:
        return []
    if terms.interval == "anytime":
        notes = [
            "intervals hold at any number of pairs, whoever looked before; they are wide, and "
            f"there is none below {ANYTIME_FROM} pairs"
        ]
    elif terms.looks is not None:
        notes = [_of_looks(rows, terms)]
    else:
        notes = [
            "intervals are for a number of pairs that was fixed beforehand; --anytime has such "
            "that hold at every look"
        ]
    for metric in terms.metrics:
        cells = [row.metrics[metric.name] for row in compared]
        known = [cell for cell in cells if cell.corrected is not None]
        lost = sum(cell.corrected is not cell.verdict for cell in known)
        if metric.role == "accuracy" and known:
            notes.append(
                f"{metric.name} is asked of {len(known)} comparisons: corrected for that, "
                f"{lost or 'none'} of {len(known)} verdicts "
                f"{'become' if lost > 1 else 'becomes'} weaker"
            )
    return notes


def _of_looks(rows: Sequence[ArmRow], terms: Terms) -> str:
    assert terms.looks is not None
    planned = ", ".join(map(str, terms.looks.pairs))
    taken = [
        cell.baseline.look
        for row in rows
        for cell in (row.metrics[terms.metrics[0].name],)
        if cell.baseline is not None and cell.baseline.look is not None
    ]
    told = {
        f"look {look.number} of {look.of} at {look.pairs} pairs, level {look.level:.4f}"
        if look.number
        else f"no look yet, the first is at {look.following} pairs"
        for look in taken
    }
    return f"planned looks at {planned} pairs; {'; '.join(sorted(told)) or 'none is taken yet'}"


def skewed_differences(rows: Sequence[ArmRow], metrics: Sequence[MetricInfo]) -> list[Caution]:
    """Name the comparisons whose differences are skewed, so that no interval is sure of them."""
    found = []
    for metric in metrics:
        for row in rows:
            paired = row.metrics[metric.name].baseline
            if paired is None or paired.kind == "ratio":
                continue
            skew = skewness(paired.differences)
            if skew is not None:
                found.append(f"{row.label} {metric.name} ({skew:+.1f})")
    if not found:
        return []
    message = f"differences are skewed, so that 95 % cannot be promised: {', '.join(found)}"
    return [
        Caution("skewed", message, hint="compare --runs shows every seed; look for a seed apart")
    ]


def said_of_plan(
    comparison: ArmComparison,
    plan: StudyPlan | None,
    looks: StudyLooks,
    margins: Mapping[str, float],
) -> list[Caution]:
    """Return what the store knows of the looks and speaks against the intervals that are shown.

    Args:
        comparison: as it is shown.
        plan: of the study that was asked for; None for none.
        looks: of all studies that the runs belong to.
        margins: that were planned, by metric.
    """
    found: list[Caution] = []
    pairs = _pairs(comparison)
    if comparison.interval in ("t", "bca") and pairs:
        kinds = {run.smoke for row in comparison.rows for run in row.runs}
        found += _looked_before(pairs, [each for each in looks.taken if each.smoke in kinds])
    if plan is None:
        return found
    if plan.done_before:
        message = (
            f"the study {plan.study} was planned when {plan.done_before} of its runs were done: "
            "who had looked at them is not covered"
        )
        found.append(Caution("planned-late", message))
    if comparison.interval == "t":
        others = {label: n for label, n in pairs.items() if n not in plan.pairs}
        if others:
            shown = ", ".join(f"{label} (n={n})" for label, n in others.items())
            fixed = ", ".join(map(str, plan.pairs))
            message = f"the study planned to look at {fixed} pairs, not at these: {shown}"
            hint = "--anytime has intervals for looks that were not planned"
            found.append(Caution("unplanned", message, hint=hint))
    found += _other_margins(margins, comparison.margins)
    return found + _mixed_hardware(comparison.rows)


def look_taken(comparison: ArmComparison) -> tuple[int, dict[str, dict[str, object]]]:
    """Return what a look shows: the most pairs, and pairs and verdict of each question."""
    metric = comparison.metrics[0].name
    verdicts: dict[str, dict[str, object]] = {}
    for row in comparison.rows:
        cell = row.metrics[metric]
        if cell.baseline is not None:
            verdict = None if cell.verdict is None else cell.verdict.value
            verdicts[row.label] = {"n": cell.baseline.n, "verdict": verdict}
    return max((int(str(each["n"])) for each in verdicts.values()), default=0), verdicts


def is_decided(verdict: Verdict | None) -> bool:
    """Whether a question needs no more seeds."""
    return verdict not in (None, Verdict.INCONCLUSIVE)


def _pairs(comparison: ArmComparison) -> dict[str, int]:
    first = comparison.metrics[0].name
    return {
        row.label: paired.n
        for row in comparison.rows
        if (paired := row.metrics[first].baseline) is not None
    }


def _looked_before(pairs: Mapping[str, int], looks: Sequence[TakenLook]) -> list[Caution]:
    most = max(pairs.values())
    earlier = [taken for taken in looks if 1 < taken.pairs < most]
    if not earlier:
        return []
    first = earlier[0]
    counts = ", ".join(map(str, sorted({taken.pairs for taken in earlier})))
    message = (
        f"these runs were looked at before, at {counts} pairs (first on "
        f"{first.taken_at:%Y-%m-%d}): a second look makes the intervals too narrow"
    )
    hint = "compare --study takes the planned looks; --anytime holds at every look"
    return [Caution("looked", message, hint=hint)]


def _other_margins(planned: Mapping[str, float], used: Mapping[str, float]) -> list[Caution]:
    changed = [
        f"{name} {used[name]:g} instead of {width:g}"
        for name, width in planned.items()
        if name in used and used[name] != width
    ]
    if not changed:
        return []
    message = f"the margin is not the one that was fixed before the runs: {', '.join(changed)}"
    return [Caution("margin", message)]


def _mixed_hardware(rows: Sequence[ArmRow]) -> list[Caution]:
    """Name the questions whose arms were trained on different kinds of CPU or GPU."""
    mixed = {}
    for row in rows:
        if row.reference is not None:
            kinds = devices_of([*row.runs, *rows[row.reference].runs])
            if len(kinds) > 1:
                mixed[row.label] = ", ".join(sorted(kinds))
    if not mixed:
        return []
    shown = "; ".join(f"{label} ({kinds})" for label, kinds in mixed.items())
    return [Caution("hardware", f"arms of one question ran on different hardware: {shown}")]


def devices_of(runs: Iterable[RunRecord]) -> set[str]:
    """Return the names of the CPUs or GPUs that runs were trained on, as far as known."""
    return {run.environment.device for run in runs if run.environment is not None}
