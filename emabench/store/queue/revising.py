"""A run is named after the code that computes it, and not after the code that queued it.

Between the two emabench may have been upgraded, and a fix have changed a number of the run.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from emabench.records import Claim, JobKind
from emabench.spec.fingerprint import run_fingerprints
from emabench.spec.revisions import EVALUATION, PRETRAINING, names_in
from emabench.store.queue.attempts import hold_attempt
from emabench.store.queue.enqueue import job_fingerprint, next_repeat
from emabench.store.queue.locking import lock_jobs
from emabench.store.schema.tables import Experiment, Job, Metric, Series


def revise_run(session: Session, claim: Claim, names: Sequence[str]) -> None:
    """Write the revisions that concern what an attempt makes into the identity of its run.

    The run gets the fingerprint that it would be queued with today, so that it is found as such;
    where another one has it already, as a repeat. An evaluation of its own keeps the fingerprint:
    it says which evaluation was asked for, and is made again by who asks today.

    The metrics of earlier attempts go: this attempt begins anew, and may not measure all of them.

    Args:
        session: a writing session.
        claim: the attempt, at a pretraining or an evaluation.
        names: of the revisions of this kind, oldest first.

    Raises:
        FencedError: the attempt is no longer this worker's.
        sqlalchemy.exc.IntegrityError: another process made the same repeat just now.
    """
    mine = select(Job.experiment_id).where(Job.id == claim.job_id).scalar_subquery()
    jobs = lock_jobs(
        session, session.scalars(select(Job.id).where(Job.experiment_id == mine)).all()
    )
    hold_attempt(session, claim)
    row = session.get_one(Experiment, jobs[0].experiment_id, populate_existing=True)
    kind = PRETRAINING if claim.kind is JobKind.PRETRAIN else EVALUATION
    if names_in(row.identity, kind) == tuple(names):
        return
    identity = {name: value for name, value in row.identity.items() if name != kind}
    if names:
        identity[kind] = list(names)
    if jobs[0].kind is JobKind.PRETRAIN:
        today = run_fingerprints(row.spec, identity)[-1]
        if today != row.fingerprint:
            row.fingerprint, row.repeat = today, next_repeat(session, today)
        for job in jobs:
            job.fingerprint = job_fingerprint(row.spec, identity, job.kind)
    row.identity = identity
    series = select(Series.id).where(Series.job_id == claim.job_id)
    session.execute(delete(Metric).where(Metric.series_id.in_(series)))
    session.execute(delete(Series).where(Series.job_id == claim.job_id))
