"""What a study will take and may tell, on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from emabench.analysis.looking.chances import PairSpread
    from emabench.analysis.question import Question
    from emabench.plans.grids import Axes
    from emabench.plans.study_outlook import LookOutlook, QuestionOutlook
    from emabench.plans.study_questions import StudyQuestion
    from emabench.records import RunRecord
    from emabench.spec.study import Study
    from emabench.table import Format, Table


def print_outlook(
    study: Study,
    budget: str,
    changes: Axes,
    *,
    db: str,
    artifacts: Path,
    form: Format,
    spread: float | None,
    truth: float,
) -> None:
    """Print what a study takes up to each look, and how likely each question is decided.

    Raises:
        NotFoundError: no spread is stated, and the store has none.
    """
    from emabench.analysis.verdicts import margin_width, turned_truth
    from emabench.cli.app.console import err, print_json
    from emabench.cli.show.settling import resolved_for_looks
    from emabench.cli.show.tables import print_table
    from emabench.errors import NotFoundError
    from emabench.plans.study_outlook import look_outlooks, question_outlooks
    from emabench.plans.study_questions import question_of, study_questions

    plans, looks, seeds = resolved_for_looks(study, budget, changes, db, artifacts)
    questions = study_questions(study, plans)
    question = question_of(study)
    metric = question.metrics[0]
    earlier, measured, resolution = _stored(db, questions, question)
    if spread is None and not measured:
        raise NotFoundError(
            f"the store {db} has no two pairs of the study {study.name} to take the spread from",
            hint="state one: --spread 0.5",
        )
    costs = look_outlooks(questions, looks, seeds, earlier)
    outlooks = question_outlooks(
        [each.label for each in questions],
        looks,
        margin=margin_width(metric, question.margins.get(metric.name)),
        truth=turned_truth(metric, truth),
        stated=spread,
        measured=measured,
        resolution=resolution,
    )
    if form == "json":
        print_json(
            {
                "schema_version": 1,
                "study": study.name,
                "budget": budget,
                "metric": metric.name,
                "margin": question.margins.get(metric.name),
                "difference": truth,
                "looks": [_look_values(each) for each in costs],
                "questions": [_question_values(each) for each in outlooks],
            }
        )
        return
    print_table(_table(outlooks, looks.pairs, exact=form == "csv"), form=form)
    if form == "text":
        for cost in costs:
            typer.echo(_cost_in_words(cost))
    for line in _advice(outlooks, metric.name, question.margins.get(metric.name)):
        err().print(line, soft_wrap=True)


def _stored(
    db: str, questions: Sequence[StudyQuestion], question: Question
) -> tuple[list[RunRecord], dict[str, PairSpread], float]:
    """Return the runs of the store, if there is one, and what they tell of the spread."""
    from emabench.analysis.metric_values import MetricValues
    from emabench.errors import NotFoundError, UnknownNameError
    from emabench.plans.study_outlook import measured_spreads
    from emabench.records import RunQuery
    from emabench.store import RunStore

    try:
        with RunStore.open(db, mode="read") as store:
            earlier = store.runs(RunQuery(smoke=True))
            known = {
                plan.fingerprint
                for q in questions
                for plan in (*q.arm.values(), *q.reference.values())
            }
            mine = [run for run in earlier if run.fingerprint in known]
            values = store.values([run.id for run in mine], question.wanted())
    except NotFoundError:
        return [], {}, 0.0
    labels = {plan.fingerprint: q.label for q in questions for plan in q.arm.values()}
    ids = {run.id: labels[run.fingerprint] for run in mine if run.fingerprint in labels}
    try:
        found = question.answer(mine, MetricValues.of(values), smoke=True)
    except (NotFoundError, UnknownNameError):  # of any run, or of the baseline
        return earlier, {}, 0.0
    return earlier, *measured_spreads(found, ids)


def _table(outlooks: Sequence[QuestionOutlook], pairs: Sequence[int], *, exact: bool) -> Table:
    from emabench.table import Table, fixed

    def share(chance: float) -> str:
        return f"{100 * chance:.0f} %"

    headers = ["question", "spread", "of", *(f"by {n} pairs" for n in pairs)]
    rows: list[tuple[object, ...]] = []
    for each in outlooks:
        spread = each.spread
        own = "stated" if spread.freedom is None else f"{spread.freedom + 1} pairs"
        if not each.is_own:
            own = "the others"
        if exact:
            shares = (*each.by_look, each.lowest, each.highest)
            rows.append((each.label, spread.value, own, *shares))
            continue
        low, high = share(each.lowest), share(each.highest)
        reach = low if low == high else f"{low} to {high}"
        rows.append((each.label, fixed(spread.value), own, *map(share, each.by_look), reach))
    ends = ("lowest", "highest") if exact else ("range",)
    right = frozenset(header for header in headers if header.startswith("by ")) | {"spread"}
    return Table((*headers, *ends), tuple(rows), right=right)


def _cost_in_words(cost: LookOutlook) -> str:
    from emabench.table import counted, duration

    todo = cost.rest.runs
    time = ""
    if todo and cost.rest.seconds is not None:
        part = "" if cost.rest.estimated == todo else f" for {cost.rest.estimated} of them"
        time = f", about {duration(cost.rest.seconds)}{part}"
    elif todo:
        time = ", time unknown: the store has no run like these"
    runs = counted(cost.runs, "run")
    return f"up to {cost.pairs} pairs (level {cost.level:.4f}): {runs}, {todo} to do{time}"


def _advice(outlooks: Sequence[QuestionOutlook], metric: str, margin: float | None) -> list[str]:
    lines = []
    if margin is None:
        lines.append(f"note: without a margin for {metric} only better and worse can be concluded")
    for each in outlooks:
        if each.is_hopeless:
            words = "" if margin is None else f"margin {margin:g} at "
            way = (
                "more than 1000 pairs would be needed"
                if each.pairs_needed is None
                else f"some {each.pairs_needed} pairs would decide it in 4 of 5 studies"
            )
            spread = f"{words}a spread of {each.spread.value:.2f}"
            lines.append(f"warning: {each.label} is hopeless: {spread}; {way}")
    return lines


def _look_values(cost: LookOutlook) -> dict[str, object]:
    return {
        "pairs": cost.pairs,
        "level": cost.level,
        "runs": cost.runs,
        "open_runs": cost.rest.runs,
        "seconds": cost.rest.seconds,
        "estimated_runs": cost.rest.estimated,
    }


def _question_values(each: QuestionOutlook) -> dict[str, object]:
    return {
        "label": each.label,
        "spread": each.spread.value,
        "freedom": each.spread.freedom,
        "is_own": each.is_own,
        "chance": list(each.by_look),
        "lowest": each.lowest,
        "highest": each.highest,
        "is_hopeless": each.is_hopeless,
        "pairs_needed": each.pairs_needed,
    }
