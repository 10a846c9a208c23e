"""The queue in the store, as workers and their observers see it: claims in, records out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from emabench.errors import FencedError
from emabench.events import StepProgress
from emabench.records import (
    Claim,
    CostReading,
    Environment,
    JobState,
    MetricPoint,
    QueueRecord,
    RunningAttempt,
)
from emabench.store.connection.database import Database
from emabench.store.queue.attempts import (
    beat,
    begin_attempt,
    end_attempt,
    fail_attempt,
    forget_failures,
    reap_attempt,
    write_metrics,
    write_results,
)
from emabench.store.queue.claiming import (
    HasPlugins,
    claim_job,
    claim_next,
    offers_with_plugins,
)
from emabench.store.queue.enqueue import cancel_jobs, retry_jobs
from emabench.store.queue.processes import ProcessIdentity
from emabench.store.queue.revising import revise_run
from emabench.store.queue.watching import count_queued, find_queue, find_running, find_states


class JobQueue:
    """Jobs that wait, run and end. Every method is one transaction.

    Every write of a worker is fenced: it raises ``FencedError`` and changes nothing where the
    attempt was ended by somebody else.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self, job_id: str, *, environment: Environment | None = None, device: str | None = None
    ) -> Claim | None:
        """Take a job; None if it is not queued, or what it depends on is not done.

        However many processes try, exactly one gets the claim.

        Args:
            job_id: the job to work on.
            environment: where this process works on it; None is said later by ``begin``.
            device: name of the device.
        """
        with self._database.write() as session:
            return claim_job(session, job_id, environment=environment, device=device)

    def claim_next(
        self,
        device_kind: str,
        *,
        device: str | None = None,
        has: HasPlugins | None = None,
    ) -> Claim | None:
        """Take the first job of the queue for a kind of device; None if there is none to take.

        Args:
            device_kind: kind of the device.
            device: its name.
            has: whether some plugins are here: a job that uses others is left alone; None: there
                are none.
        """
        offers = [device_kind]
        if has is not None:
            with self._database.read() as session:
                offers += offers_with_plugins(session, device_kind, has)
        with self._database.write() as session:
            return claim_next(session, offers, device=device)

    def begin(
        self, claim: Claim, environment: Environment, *, process: ProcessIdentity | None = None
    ) -> None:
        """Say that a process works on the attempt, and where.

        Args:
            claim: the right to do so.
            environment: where it works.
            process: the process; None is this one.
        """
        with self._database.write() as session:
            begin_attempt(session, claim, environment, process or ProcessIdentity.of_this())

    def revise(self, claim: Claim, names: Sequence[str]) -> None:
        """Name the changes of numbers that concern what the attempt makes, in its run's identity.

        Args:
            claim: the right to do so.
            names: of the revisions.
        """
        # Two processes may make the same repeat of a run.
        self._database.write_once(lambda session: revise_run(session, claim, names))

    def beat(
        self, claim: Claim, progress: StepProgress | None = None, *, count: int | None = None
    ) -> None:
        """Move the heartbeat of the attempt, and say how far it got.

        Args:
            claim: the right to do so.
            progress: how far.
            count: what the heartbeat stands at; None counts it on.
        """
        with self._database.write() as session:
            beat(session, claim, progress, count)

    def record(
        self, claim: Claim, points: Iterable[MetricPoint], cost: CostReading | None = None
    ) -> None:
        """Write metrics; one that has the same step and name is overwritten.

        Args:
            claim: the right to do so.
            points: the metrics.
            cost: what the attempt cost so far, in case that it is killed.
        """
        with self._database.write() as session:
            write_metrics(session, claim, points, cost)

    def saved(self, claim: Claim, step: int, *, resumed: bool) -> None:
        """Forget the failures of the job if more was saved than ever before.

        Args:
            claim: the right to do so.
            step: the state after which was saved.
            resumed: whether the attempt went on from what an earlier one had saved.
        """
        with self._database.write() as session:
            forget_failures(session, claim, step, resumed=resumed)

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
        """
        done = JobState.DONE
        with self._database.write() as session:
            end_attempt(session, claim, job=done, attempt=done, reason=None, cost=cost)
            write_results(session, claim, results, correct or {})

    def fail(
        self, claim: Claim, *, reason: str, cost: CostReading | None, retry: bool = False
    ) -> JobState:
        """End the attempt as failed.

        Args:
            claim: the right to do so.
            reason: one line.
            cost: what this attempt cost; None keeps what was said last.
            retry: whether another attempt may help.

        Returns:
            ``queued`` where another attempt follows; ``failed`` where none may help or
            ``max_attempts`` have failed: then the jobs that depend on this one fail too.
        """
        with self._database.write() as session:
            return fail_attempt(session, claim, reason=reason, cost=cost, retry=retry)

    def release(self, claim: Claim, *, reason: str, cost: CostReading | None) -> None:
        """End the attempt, which was interrupted, and queue the job again."""
        queued, cancelled = JobState.QUEUED, JobState.CANCELLED
        with self._database.write() as session:
            end_attempt(session, claim, job=queued, attempt=cancelled, reason=reason, cost=cost)

    def states(self, job_ids: Sequence[str]) -> dict[str, JobState]:
        """Return the states of those of the jobs that exist."""
        with self._database.read() as session:
            return find_states(session, job_ids)

    def queued_by_need(self) -> dict[tuple[str, tuple[str, ...]], int]:
        """Return the number of queued jobs by what they need.

        That is the kind of device, or the program, and the references of the plugins.
        """
        with self._database.read() as session:
            return count_queued(session)

    def running(self) -> list[RunningAttempt]:
        """Return the attempts that somebody works on."""
        with self._database.read() as session:
            return find_running(session)

    def reap(self, attempt: RunningAttempt, *, reason: str) -> JobState | None:
        """Declare an attempt dead, unless it ended or its heart beat on since it was observed.

        Returns:
            What its job came to, ``queued`` or ``failed``; None if the attempt was left alone.
        """
        claim = Claim(attempt.job_id, attempt.kind, attempt.number, {}, None, 0.0)
        try:
            with self._database.write() as session:
                return reap_attempt(session, claim, attempt.heartbeat, reason=reason)
        except FencedError:  # it lives, or somebody else was faster
            return None

    def reap_dead(self) -> list[str]:
        """Declare the attempts dead whose process, on this host, ended without a word.

        Returns:
            The ids of their jobs: queued again, or failed for good.
        """
        gone = [attempt for attempt in self.running() if attempt.process_gone]
        return [a.job_id for a in gone if self.reap(a, reason="its process is gone") is not None]

    def snapshot(self, *, limit: int = 10) -> QueueRecord:
        """Return the queue at this moment, with at most this many queued and failed jobs."""
        with self._database.read() as session:
            return find_queue(session, limit=limit)

    def cancel(self, job_ids: Sequence[str]) -> list[str]:
        """Cancel those jobs that are not finished, and return their ids; their workers stop."""
        with self._database.write() as session:
            return cancel_jobs(session, job_ids)

    def retry(self, job_ids: Sequence[str]) -> list[str]:
        """Queue those jobs again that failed or were cancelled, and return their ids."""
        with self._database.write() as session:
            return retry_jobs(session, job_ids)
