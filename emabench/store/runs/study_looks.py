"""What studies fixed before their first run, and every look at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from emabench.errors import UsageError
from emabench.records import JobState, StudyLooks, StudyPlan, TakenLook
from emabench.store.schema.tables import (
    Experiment,
    Job,
    StudyLookRow,
    StudyMember,
    StudyPlanRow,
)


def keep_plan(
    session: Session,
    study: str,
    *,
    smoke: bool,
    pairs: tuple[int, ...],
    levels: tuple[float, ...],
    terms: Mapping[str, Any],
) -> StudyPlan:
    """Fix the looks of a study, unless they are fixed already; return those that hold.

    As long as no run of the study is done, the plan may be another one.

    Raises:
        UsageError: other looks or terms were fixed, and there are results already.
    """
    done = _done(session, study, smoke)
    row = session.get(StudyPlanRow, (study, smoke))
    if row is not None and done:
        changed = _changed(row, pairs, terms)
        if changed is not None:
            raise UsageError(
                f"the study {study} was planned {changed}, and {done} of its runs are done",
                hint="copy its file under another name, or take compare --anytime",
            )
    elif row is None or (row.pairs, row.terms) != (list(pairs), dict(terms)):
        if row is not None:
            session.delete(row)
            session.flush()
        row = StudyPlanRow(
            study=study,
            smoke=smoke,
            pairs=list(pairs),
            levels=list(levels),
            terms=dict(terms),
            planned_at=datetime.now(UTC),
            done_before=done,
        )
        session.add(row)
        session.flush()
    return _plan(row)


def note_look(
    session: Session,
    study: str,
    *,
    smoke: bool,
    taken_by: str,
    pairs: int,
    verdicts: Mapping[str, Any],
) -> bool:
    """Record a look at a study, and return whether it shows anything that no look showed before."""
    return add_look(
        session,
        StudyLookRow(
            study=study,
            smoke=smoke,
            taken_at=datetime.now(UTC),
            taken_by=taken_by,
            pairs=pairs,
            verdicts=dict(verdicts),
        ),
    )


def add_look(session: Session, look: StudyLookRow) -> bool:
    """Keep a look unless one showed the same before; return whether none did."""
    seen = session.scalars(select(StudyLookRow).where(StudyLookRow.study == look.study)).all()
    if any((row.smoke, row.verdicts) == (look.smoke, look.verdicts) for row in seen):
        return False
    session.add(look)
    session.flush()
    return True


def add_plan(session: Session, plan: StudyPlanRow) -> None:
    """Keep the plan of another store, unless the study has one here.

    Runs of the study that are done here already count as done before it.
    """
    key = (plan.study, plan.smoke)
    if session.get(StudyPlanRow, key) is not None:
        return
    plan.done_before += _done(session, *key)
    with suppress(IntegrityError), session.begin_nested():  # another process keeps one just now
        session.add(plan)
        session.flush()


def looks_of(session: Session, studies: Iterable[str]) -> StudyLooks:
    """Return the plans of studies, and the looks at them, the earliest first."""
    names = list(dict.fromkeys(studies))
    plans = session.scalars(select(StudyPlanRow).where(StudyPlanRow.study.in_(names)))
    taken = session.scalars(
        select(StudyLookRow)
        .where(StudyLookRow.study.in_(names))
        .order_by(StudyLookRow.taken_at, StudyLookRow.id)
    )
    return StudyLooks(
        tuple(map(_plan, plans)),
        tuple(
            TakenLook(
                row.study, row.smoke, row.taken_at, row.taken_by, row.pairs, dict(row.verdicts)
            )
            for row in taken
        ),
    )


def _plan(row: StudyPlanRow) -> StudyPlan:
    return StudyPlan(
        row.study,
        row.smoke,
        tuple(row.pairs),
        tuple(row.levels),
        dict(row.terms),
        row.planned_at,
        row.done_before,
    )


def _changed(row: StudyPlanRow, pairs: Sequence[int], terms: Mapping[str, Any]) -> str | None:
    """Return in words what was planned otherwise, if anything; early plans know less."""
    if row.pairs != list(pairs):
        return f"to look at {', '.join(map(str, row.pairs))} pairs"
    other = [name for name, value in row.terms.items() if terms.get(name) != value]
    return f"with {other[0]} {_in_words(row.terms[other[0]])}" if other else None


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={width:g}" for name, width in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _done(session: Session, study: str, smoke: bool) -> int:
    """Return how many runs of a study are done, with all of their jobs."""
    is_open = select(Job.id).where(Job.experiment_id == Experiment.id, Job.state != JobState.DONE)
    query = (
        select(func.count())
        .select_from(Experiment)
        .join(StudyMember, StudyMember.experiment_id == Experiment.id)
        .where(StudyMember.study == study, Experiment.smoke.is_(smoke), ~is_open.exists())
    )
    return session.scalar(query) or 0
