"""Which runs belong to which study: a run may belong to several, or to none."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from emabench.errors import NotFoundError, did_you_mean
from emabench.spec.study import study_names
from emabench.store.schema.tables import Job, StudyMember


def join_study(session: Session, run_id: str, study: str) -> bool:
    """Note that a run belongs to a study; return whether the run is there, not just removed.

    Raises:
        sqlalchemy.exc.IntegrityError: see ``add_to_studies``.
    """
    experiment_id = session.scalar(select(Job.experiment_id).where(Job.id == run_id))
    if experiment_id is None:
        return False
    add_to_studies(session, experiment_id, [study])
    return True


def add_to_studies(session: Session, experiment_id: int, studies: Iterable[str]) -> None:
    """Note that a run belongs to studies; what is known already changes nothing.

    Raises:
        sqlalchemy.exc.IntegrityError: another process said the same, or removed the run, just now.
    """
    known = set(studies_of(session, experiment_id))
    session.add_all(
        StudyMember(study=study, experiment_id=experiment_id)
        for study in dict.fromkeys(studies)
        if study not in known
    )
    session.flush()


def studies_of(session: Session, experiment_id: int) -> list[str]:
    """Return the studies that a run belongs to, sorted."""
    query = select(StudyMember.study).where(StudyMember.experiment_id == experiment_id)
    return sorted(session.scalars(query))


def check_study(session: Session, study: str) -> None:
    """Raise unless a run belongs to the study.

    Raises:
        NotFoundError: none does; near names of the store are proposed.
    """
    known = session.scalars(select(StudyMember.study).distinct()).all()
    if study in known:
        return
    hint = f"emabench studies run {study} queues them"
    if known and study not in study_names():
        hint = did_you_mean(study, known)
    raise NotFoundError(f"the store has no runs of the study {study!r}", hint=hint)
