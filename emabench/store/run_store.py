"""The store of runs, as the rest of the program sees it: records in, records out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self

from sqlalchemy.orm import Session

from emabench.records import (
    ANY_RUN,
    DEFAULT_MAX_ATTEMPTS,
    JobKind,
    JobRecord,
    MetricPoint,
    PlannedRun,
    QueuedRun,
    RunQuery,
    RunRecord,
    RunValues,
    StoredRuns,
    StudyLooks,
    StudyPlan,
    WantedValues,
)
from emabench.store.connection.database import Database
from emabench.store.connection.opening import open_for_reading, open_for_writing
from emabench.store.queue.enqueue import existing_run, insert_run, remove_experiments
from emabench.store.queue.job_queue import JobQueue
from emabench.store.runs.labels import (
    add_tags,
    checked_note,
    checked_tag,
    count_tags,
    remove_tag,
    write_label,
)
from emabench.store.runs.points import find_points
from emabench.store.runs.reader import find_job, find_runs, named_run
from emabench.store.runs.studies import join_study
from emabench.store.runs.study_looks import keep_plan, looks_of, note_look
from emabench.store.runs.values import find_correct, read_values
from emabench.store.runs.whole_runs import without_collection


class RunStore:
    """A store that is open; use it in a ``with`` statement or call ``close``.

    Every method is one transaction, and raises ``StoreError`` where the database fails. A store
    may be used from several threads, and by several processes that open it each.

    Attributes:
        queue: the jobs that wait, run and end.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.queue = JobQueue(database)

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
        weights_gone: Callable[[str], bool] = lambda run: False,
    ) -> QueuedRun:
        """Queue a run: a pretraining job and the evaluation that depends on it.

        The plan may also be that of a separate evaluation: that is one job.

        A run of the same fingerprint is not queued twice: the one that exists is returned, its
        failed or cancelled jobs queued again; it joins the study of the plan, if that has one. Safe
        with several processes at once.

        Args:
            plan: the resolved experiment.
            force: queues a repeat even if an identical run exists.
            priority: the highest is worked on first.
            max_attempts: failures of a job before it is given up.
            weights_gone: tells of a run by its id whether its weights were deleted: then its
                evaluation is not repeated, although it was mended.
        """

        def queue(session: Session) -> QueuedRun | None:
            found = None if force else existing_run(session, plan, weights_gone)
            if found is None:
                found = insert_run(
                    session, plan, is_repeat=force, priority=priority, max_attempts=max_attempts
                )
            joined = plan.study is None or join_study(session, found.id, plan.study)
            return found if joined else None  # it was removed just now

        while True:
            added = self._database.write_once(queue)
            if added is not None:
                return added

    def tag(
        self, run_ids: Sequence[str], *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> None:
        """Put words on runs, and take others from them. Safe with several processes at once.

        Args:
            run_ids: runs, separate evaluations or benches.
            add: what they do not have yet; one that they have changes nothing.
            remove: what they have; one that they lack changes nothing.

        Raises:
            UsageError: one of the words cannot be a tag.
            NotFoundError: there is no such run.
        """
        added = [checked_tag(tag) for tag in add]

        def write(session: Session) -> None:
            for experiment in _experiments(session, run_ids):
                add_tags(session, experiment, added)
                for tag in remove:
                    remove_tag(session, experiment, tag)

        self._database.write_once(write)

    def rename(self, run_ids: Sequence[str], name: str | None) -> None:
        """Give runs a name, which others may have too; None takes it away.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.write() as session:
            for experiment in _experiments(session, run_ids):
                write_label(session, experiment, name=name)

    def annotate(self, run_ids: Sequence[str], note: str) -> None:
        """Write a note about runs in place of the one that they have; an empty one is none.

        Raises:
            UsageError: it is too long.
            NotFoundError: there is no such run.
        """
        checked = checked_note(note)
        with self._database.write() as session:
            for experiment in _experiments(session, run_ids):
                write_label(session, experiment, note=checked)

    def tags(self) -> dict[str, int]:
        """Return how many runs, separate evaluations and benches have each tag."""
        with self._database.read() as session:
            return count_tags(session)

    def remove(self, run_ids: Sequence[str]) -> None:
        """Delete runs with all that the store holds of them; their files are left alone.

        Args:
            run_ids: complete ids of runs, or of separate evaluations.

        Raises:
            UsageError: somebody works on one of them.
            NotFoundError: there is no such run.
        """
        with self._database.write() as session:
            remove_experiments(session, [named_run(session, run).experiment_id for run in run_ids])

    def keep_plan(
        self,
        study: str,
        *,
        smoke: bool,
        pairs: tuple[int, ...],
        levels: tuple[float, ...],
        terms: Mapping[str, Any],
    ) -> StudyPlan:
        """Fix the looks of a study before its first run, and return those that hold.

        Args:
            study: its name.
            smoke: whether it is about smoke runs.
            pairs: at which it looks.
            levels: of the interval at each of them.
            terms: what it asks, see ``StudyPlan``.

        Raises:
            UsageError: others were fixed, and there are results already.
        """
        return self._database.write_once(
            lambda session: keep_plan(
                session, study, smoke=smoke, pairs=pairs, levels=levels, terms=terms
            )
        )

    def note_look(
        self, study: str, *, smoke: bool, taken_by: str, pairs: int, verdicts: Mapping[str, Any]
    ) -> bool:
        """Record a look at a study; return whether it shows what no look showed before.

        Args:
            study: its name.
            smoke: whether at smoke runs.
            taken_by: the command.
            pairs: most pairs of any question.
            verdicts: of each question, see ``TakenLook``.
        """
        with self._database.write() as session:
            return note_look(
                session, study, smoke=smoke, taken_by=taken_by, pairs=pairs, verdicts=verdicts
            )

    def looks(self, studies: Iterable[str]) -> StudyLooks:
        """Return the plans of studies and the looks at them, the earliest first."""
        with self._database.read() as session:
            return looks_of(session, studies)

    def read(self, query: RunQuery, wanted: WantedValues) -> StoredRuns:
        """Return runs as ``runs`` does, and figures of them, all of one moment.

        Args:
            query: the runs.
            wanted: the figures.

        Raises:
            NotFoundError: no run belongs to the study, or has an id.
            UsageError: several ids begin so.
        """
        with self._database.read() as session, without_collection():
            runs = find_runs(session, query)
            return StoredRuns(tuple(runs), read_values(session, [r.id for r in runs], wanted))

    def runs(self, query: RunQuery = ANY_RUN) -> list[RunRecord]:
        """Return runs, the newest last; separate evaluations are not among them.

        Runs that are asked for by id come in that order, and may be anything.

        Raises:
            NotFoundError: no run belongs to the study, or has an id.
            UsageError: several ids begin so.
        """
        with self._database.read() as session:
            return find_runs(session, query)

    def values(self, run_ids: Iterable[str], wanted: WantedValues) -> RunValues:
        """Return figures of runs that are known by complete id."""
        with self._database.read() as session:
            return read_values(session, list(run_ids), wanted)

    def evaluations(self, run_id: str | None = None, query: RunQuery = ANY_RUN) -> list[RunRecord]:
        """Return separate evaluations, the newest last, smoke ones too.

        Args:
            run_id: the complete id of the run whose weights they evaluate; None is any weights.
            query: as for ``runs``.
        """
        if run_id is not None:
            query = replace(query, where={**query.where, "weights": run_id})
        with self._database.read() as session:
            return find_runs(session, query, kind=JobKind.LINEAR_EVAL)

    def benches(self, query: RunQuery = ANY_RUN) -> list[RunRecord]:
        """Return benches, the newest last, smoke ones too; ``query`` is as for ``runs``."""
        with self._database.read() as session:
            return find_runs(session, query, kind=JobKind.BENCH)

    def everything(self) -> list[RunRecord]:
        """Return all runs, separate evaluations and benches, smoke ones too, of one moment."""
        every = RunQuery(smoke=True)
        with self._database.read() as session:
            kinds = (JobKind.PRETRAIN, JobKind.LINEAR_EVAL, JobKind.BENCH)
            return [run for kind in kinds for run in find_runs(session, every, kind=kind)]

    def run(self, id: str) -> RunRecord:
        """Return one run, or one evaluation of its own, with its jobs and attempts.

        Args:
            id: its id, a unique beginning of one, or ``@last`` for the newest run.

        Raises:
            NotFoundError: there is none.
            UsageError: several ids begin so.
        """
        with self._database.read() as session:
            (run,) = find_runs(session, RunQuery(ids=(id,)))
            return run

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

    def metrics(self, run_id: str, name: str | None = None) -> Sequence[MetricPoint]:
        """Return the metrics of a run in the order of steps, all of them or those of one name.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.read() as session:
            run = named_run(session, run_id).id
            return find_points(session, [run], None if name is None else [name])[run]

    def correct(self, run_id: str, name: str) -> tuple[bytes, int] | None:
        """Return which test images were classified rightly, as ``RunValues.correct`` has it.

        Args:
            run_id: the run.
            name: of the result, for example ``top1``.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.read() as session:
            run = named_run(session, run_id).id
            return find_correct(session, [run], [name]).get((run, name))


def _experiments(session: Session, run_ids: Sequence[str]) -> list[int]:
    """Return the rows of runs, in the order in which everybody locks them."""
    return sorted({named_run(session, run).experiment_id for run in run_ids})
