"""The store of runs, as the rest of the program sees it: records in, records out."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from emabench.errors import FencedError, StoreError
from emabench.records import (
    Claim,
    CostReading,
    Environment,
    JobState,
    MetricPoint,
    PlannedRun,
    QueuedRun,
    RunRecord,
)
from emabench.store.attempts import claim_job, end_attempt, write_metrics, write_results
from emabench.store.database import Database
from emabench.store.enqueue import existing_run, insert_run
from emabench.store.opening import open_for_reading, open_for_writing
from emabench.store.processes import ProcessIdentity
from emabench.store.reader import find_correct, find_metrics, find_run, find_runs
from emabench.store.tables import Attempt, Job

_GONE = "its process is gone"


class RunStore:
    """A store that is open; use it in a ``with`` statement or call ``close``.

    Every method is one transaction, and raises ``StoreError`` where the database fails. A store
    may be used from several threads, and by several processes that open it each.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, location: str, *, mode: Literal["read", "write"]) -> Self:
        """Open the store at a path (SQLite) or URL.

        Args:
            location: for example ``results.db`` or ``postgresql+psycopg://user@host/name``.
            mode: ``read`` never creates or changes anything; ``write`` creates what is missing.

        Raises:
            NotFoundError: nothing is there to read.
            SchemaVersionError: the store has another schema version.
            StoreError: something else is there, or it cannot be read or written.
        """
        opener = open_for_reading if mode == "read" else open_for_writing
        return cls(opener(location))

    def close(self) -> None:
        """Give up all connections; the store cannot be used afterwards."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add_run(self, plan: PlannedRun, *, force: bool = False) -> QueuedRun:
        """Queue a run: a pretraining job and the evaluation that depends on it.

        A run of the same fingerprint is not queued twice: the one that exists is returned, its
        failed or cancelled jobs queued again. Safe with several processes at once.

        Args:
            plan: the resolved experiment.
            force: queues a repeat even if an identical run exists.
        """
        while True:
            try:
                with self._database.write() as session:
                    found = None if force else existing_run(session, plan)
                    return insert_run(session, plan) if found is None else found
            except StoreError as error:
                # Two processes chose the same number for a repeat: the later looks again.
                if not isinstance(error.__cause__, IntegrityError):
                    raise

    def claim(self, job_id: str, *, environment: Environment) -> Claim | None:
        """Take a job; None if it is not queued, or what it depends on is not done.

        However many processes try, exactly one gets the claim.

        Args:
            job_id: the job to work on.
            environment: where this process works on it.
        """
        with self._database.write() as session:
            return claim_job(session, job_id, environment)

    def record(self, claim: Claim, points: Iterable[MetricPoint]) -> None:
        """Write metrics; one that has the same step and name is overwritten.

        Raises:
            FencedError: the attempt was declared dead.
        """
        with self._database.write() as session:
            write_metrics(session, claim, points)

    def finish(
        self,
        claim: Claim,
        *,
        results: Mapping[str, float],
        cost: CostReading,
        correct: Mapping[str, bytes] | None = None,
    ) -> None:
        """End the job as done.

        Args:
            claim: the right to do so.
            results: final figures by name, accuracies in percent.
            cost: what this attempt cost.
            correct: by name of a result, one byte per test image in the order of the test set,
                1 where the prediction was right and 0 where it was wrong.

        Raises:
            FencedError: the attempt was declared dead.
        """
        done = JobState.DONE
        with self._database.write() as session:
            end_attempt(session, claim, job=done, attempt=done, reason=None, cost=cost)
            write_results(session, claim, results, correct or {})

    def fail(self, claim: Claim, *, reason: str, cost: CostReading | None) -> None:
        """End the job as failed, and the jobs that depend on it.

        Raises:
            FencedError: the attempt was declared dead.
        """
        failed = JobState.FAILED
        with self._database.write() as session:
            end_attempt(session, claim, job=failed, attempt=failed, reason=reason, cost=cost)

    def release(self, claim: Claim, *, reason: str, cost: CostReading | None) -> None:
        """End the attempt, which was interrupted, and queue the job again.

        Raises:
            FencedError: the attempt was declared dead.
        """
        queued, cancelled = JobState.QUEUED, JobState.CANCELLED
        with self._database.write() as session:
            end_attempt(session, claim, job=queued, attempt=cancelled, reason=reason, cost=cost)

    def reap_dead(self) -> list[str]:
        """Queue the jobs again whose process, on this host, ended without a word.

        Returns:
            The ids of the jobs.
        """
        running = (
            select(Attempt, Job.kind)
            .join(Job, Job.id == Attempt.job_id)
            .where(Attempt.state == JobState.RUNNING, Attempt.host == socket.gethostname())
        )
        with self._database.read() as session:
            claims = [
                Claim(attempt.job_id, kind, attempt.number, {}, None, 0.0)
                for attempt, kind in session.execute(running)
                if ProcessIdentity(attempt.host, attempt.pid, attempt.process_started).is_gone()
            ]
        return [claim.job_id for claim in claims if self._reap(claim)]

    def _reap(self, claim: Claim) -> bool:
        queued, failed = JobState.QUEUED, JobState.FAILED
        try:
            with self._database.write() as session:
                end_attempt(session, claim, job=queued, attempt=failed, reason=_GONE, cost=None)
        except FencedError:  # another process reaped it first
            return False
        return True

    def runs(
        self,
        *,
        smoke: bool = False,
        where: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> list[RunRecord]:
        """Return runs, the newest last.

        Args:
            smoke: whether smoke runs are wanted too.
            where: complete field paths and the values that the resolved spec must have there;
                device, precision and threads may also match the identity of the run.
            name: the name that the runs were given.
        """
        with self._database.read() as session:
            return find_runs(session, smoke=smoke, where=where or {}, name=name)

    def run(self, id: str) -> RunRecord:
        """Return one run with its jobs and attempts.

        Args:
            id: a run id, a unique beginning of one, or ``@last`` for the newest run.

        Raises:
            NotFoundError: there is none.
            UsageError: several ids begin so.
        """
        with self._database.read() as session:
            return find_run(session, id)

    def metrics(self, run_id: str, name: str | None = None) -> list[MetricPoint]:
        """Return the metrics of a run in the order of steps, all of them or those of one name.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.read() as session:
            return find_metrics(session, run_id, name)

    def correct(self, run_id: str, name: str) -> tuple[bytes, int] | None:
        """Return which test images were classified rightly; None where it is unknown.

        Args:
            run_id: the run.
            name: of the result, for example ``top1``.

        Returns:
            One bit per image, in the order of the test set and the first in the highest bit of
            the first byte (``numpy.unpackbits`` reads it), and the number of images.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.read() as session:
            return find_correct(session, run_id, name)
