"""The store of runs, as the rest of the program sees it: records in, records out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from sqlalchemy.exc import IntegrityError

from emabench.errors import StoreError
from emabench.records import (
    DEFAULT_MAX_ATTEMPTS,
    JobRecord,
    MetricPoint,
    PlannedRun,
    QueuedRun,
    RunRecord,
)
from emabench.store.connection.opening import open_for_reading, open_for_writing
from emabench.store.queue.enqueue import existing_run, insert_run, remove_experiments
from emabench.store.queue.job_queue import JobQueue
from emabench.store.runs.compared_values import find_correct_of, find_neighbours, find_series_means
from emabench.store.runs.points import find_points
from emabench.store.runs.reader import (
    experiment_of,
    find_benches,
    find_correct,
    find_evaluations,
    find_job,
    find_metrics,
    find_run,
    find_runs,
)
from emabench.store.runs.studies import join_study


class RunStore(JobQueue):
    """A store that is open; use it in a ``with`` statement or call ``close``.

    Every method is one transaction, and raises ``StoreError`` where the database fails. A store
    may be used from several threads, and by several processes that open it each.
    """

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

    def add_run(
        self,
        plan: PlannedRun,
        *,
        force: bool = False,
        priority: int = 0,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
    ) -> QueuedRun:
        """Queue a run: a pretraining job and the evaluation that depends on it.

        The plan may also be that of an evaluation of its own: that is one job.

        A run of the same fingerprint is not queued twice: the one that exists is returned, its
        failed or cancelled jobs queued again; it joins the study of the plan, if that has one. Safe
        with several processes at once.

        Args:
            plan: the resolved experiment.
            force: queues a repeat even if an identical run exists.
            priority: the highest is worked on first.
            max_attempts: failures of a job before it is given up.
        """
        while True:
            try:
                with self._database.write() as session:
                    found = None if force else existing_run(session, plan)
                    if found is None:
                        found = insert_run(
                            session,
                            plan,
                            is_repeat=force,
                            priority=priority,
                            max_attempts=max_attempts,
                        )
                    if plan.study is None or join_study(session, found.id, plan.study):
                        return found
            except StoreError as error:
                # Two processes queued the same run, or repeat: the later looks again.
                if not isinstance(error.__cause__, IntegrityError):
                    raise

    def remove(self, run_ids: Sequence[str]) -> None:
        """Delete runs with all that the store holds of them; their files are left alone.

        Args:
            run_ids: complete ids of runs, or of evaluations of their own.

        Raises:
            UsageError: somebody works on one of them.
            NotFoundError: there is no such run.
        """
        with self._database.write() as session:
            remove_experiments(session, [experiment_of(session, run) for run in run_ids])

    def runs(
        self,
        *,
        smoke: bool = False,
        where: Mapping[str, Any] | None = None,
        name: str | None = None,
        study: str | None = None,
    ) -> list[RunRecord]:
        """Return runs, the newest last; evaluations of their own are not among them.

        Args:
            smoke: whether smoke runs are wanted too.
            where: complete field paths and the values that the resolved spec must have there;
                device, precision and threads may also match the identity of the run.
            name: the name that the runs were given.
            study: the study that the runs belong to.

        Raises:
            NotFoundError: no run belongs to the study.
        """
        with self._database.read() as session:
            return find_runs(session, smoke=smoke, where=where or {}, name=name, study=study)

    def evaluations(
        self, run_id: str | None = None, *, where: Mapping[str, Any] | None = None
    ) -> list[RunRecord]:
        """Return evaluations of their own, the newest last, smoke ones too.

        Args:
            run_id: the complete id of the run whose weights they evaluate; None is any weights.
            where: as for ``runs``.
        """
        with self._database.read() as session:
            return find_evaluations(session, run_id=run_id, where=where)

    def benches(self, *, where: Mapping[str, Any] | None = None) -> list[RunRecord]:
        """Return benches, the newest last, smoke ones too.

        Args:
            where: as for ``runs``.
        """
        with self._database.read() as session:
            return find_benches(session, where=where)

    def run(self, id: str) -> RunRecord:
        """Return one run, or one evaluation of its own, with its jobs and attempts.

        Args:
            id: its id, a unique beginning of one, or ``@last`` for the newest run.

        Raises:
            NotFoundError: there is none.
            UsageError: several ids begin so.
        """
        with self._database.read() as session:
            return find_run(session, id)

    def job(self, id: str) -> JobRecord:
        """Return one job with its attempts.

        Args:
            id: a job id, a unique beginning of one, or ``@last`` for the newest pretraining.

        Raises:
            NotFoundError: there is none.
            UsageError: several ids begin so.
        """
        with self._database.read() as session:
            return find_job(session, id)

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

    def correct_of(
        self, run_ids: Iterable[str], names: Sequence[str]
    ) -> dict[tuple[str, str], tuple[bytes, int]]:
        """Return what ``correct`` returns for many complete ids of runs, by run and result."""
        with self._database.read() as session:
            return find_correct_of(session, run_ids, names)

    def series_means(self, run_ids: Iterable[str], name: str) -> dict[str, float]:
        """Return, by run, the mean over training of one metric; runs without it are left out.

        Args:
            run_ids: complete ids of runs.
            name: of the metric, for example ``grad_norm_cv:projector``.
        """
        with self._database.read() as session:
            return find_series_means(session, run_ids, name)

    def points(self, run_ids: Iterable[str], names: Sequence[str]) -> dict[str, list[MetricPoint]]:
        """Return the metrics of some names of many runs, by run and in the order of steps.

        Args:
            run_ids: complete ids of runs.
            names: of metrics; one that ends in ``:`` stands for all that begin so.
        """
        with self._database.read() as session:
            return find_points(session, run_ids, names)

    def neighbours(self, run_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return, by run, the others that worked on its device while it was trained.

        Args:
            run_ids: complete ids of runs; those that had the device for themselves are left out.
        """
        with self._database.read() as session:
            return find_neighbours(session, run_ids)
