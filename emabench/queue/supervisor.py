"""The supervisor: claims jobs for its slots, and hands each to an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import Protocol

from emabench.artifacts.files import delete_files, scan_files
from emabench.errors import (
    EmabenchError,
    EngineError,
    FencedError,
    InterruptedRunError,
    NotFoundError,
    StoreError,
)
from emabench.events import JobEnded, JobProgress, JobStarted, Listener, Notice
from emabench.queue.heartbeat import StaleWatch
from emabench.queue.submission import Engine, Submission, Task
from emabench.queue.worker import Workplace
from emabench.records import Claim, JobState, RunningAttempt
from emabench.store.run_store import RunStore

_POLL_SECONDS = 0.5
_OBSERVE_SECONDS = 5.0
_HELD_UP_SECONDS = 20.0
"""A supervisor that could not observe for so long takes no standing heart for a dead one."""
_PATIENCE_SECONDS = 60.0
"""A job that was asked to stop and does not is killed after so long."""

REMOVED = "removed by the user"
"""What became of a job that is not in the store any more."""
STALE_SECONDS = 60.0
"""An attempt whose heart has not beaten for so long, by the supervisor's clock, is dead."""


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time.

    Attributes:
        kind: kind of the device; None takes what the job was resolved for.
        device: name of the device; None is the one of the job's spec.
    """

    kind: str | None = None
    device: str | None = None


class JobSource(Protocol):
    """Where a supervisor gets its jobs from."""

    def claim(self, slot: Slot) -> Claim | None:
        """Take the next job for a slot; None if there is none at the moment."""

    def is_exhausted(self) -> bool:
        """Whether no job will come any more; asked when no job runs."""

    def leave(self, claim: Claim) -> None:
        """Give such a job to nobody here: a plugin that it needs is missing after all."""


@dataclass
class Tally:
    """What became of the attempts that a supervisor saw.

    Attributes:
        ends: how the last attempt of each job ended, by the job's id.
        started: attempts that were started.
    """

    ends: dict[str, JobEnded] = field(default_factory=dict)
    started: int = 0

    def count(self, state: JobState) -> int:
        """Return how many jobs ended so."""
        return sum(end.state is state for end in self.ends.values())


class Supervisor:
    """Claims jobs for its slots, has each worked on, and sees to it that none is lost.

    An attempt that ends without a word has failed; so has one, of any host, whose heart stops.
    Only the supervisor's own monotonic clock counts.

    Args:
        store: open for writing.
        location: of the same store, for the processes.
        engine: works on the jobs.
        place: where the jobs are worked on; each slot names its device.
        on_event: listens.
        stop: asked often; once it says so, all jobs are asked for a checkpoint and queued again.
        settings: environment variables for the processes.
        stale_after: seconds without a heartbeat.
    """

    def __init__(
        self,
        store: RunStore,
        location: str,
        engine: Engine,
        place: Workplace,
        *,
        on_event: Listener,
        stop: Callable[[], bool],
        settings: Mapping[str, str] | None = None,
        stale_after: float = STALE_SECONDS,
    ) -> None:
        self._store, self._location = store, location
        self._engine, self._place = engine, place
        self._on_event, self._stop = on_event, stop
        self._settings = dict(settings or {})
        self._watch = StaleWatch(stale_after)
        self._observed_at = float("-inf")
        self._jobs: dict[int, Submission] = {}
        self._asked_at: float | None = None

    def run(
        self,
        source: JobSource,
        slots: Sequence[Slot],
        *,
        max_jobs: int | None = None,
        fail_fast: bool = False,
    ) -> Tally:
        """Work until the source is exhausted.

        Args:
            source: gives the jobs.
            slots: as many jobs run at once.
            max_jobs: start at most this many attempts.
            fail_fast: stop once a job failed for good.

        Raises:
            InterruptedRunError: ``stop`` said so; what was running is queued again.
            EngineError: the engine takes nothing; what it was to take is queued again.
            StoreError: the store failed.
        """
        tally = Tally()
        try:
            while True:
                self._observe()
                leaving = self._stop() or (fail_fast and tally.count(JobState.FAILED) > 0)
                if leaving:
                    self._ask_to_stop()
                else:
                    with self._engine.batch():
                        self._fill(source, slots, tally, max_jobs)
                if not self._jobs and (
                    leaving or tally.started == max_jobs or source.is_exhausted()
                ):
                    break
                self._listen(tally, source)
        except KeyboardInterrupt:  # the second Ctrl-C
            self._asked_at = time.monotonic()
            raise
        finally:
            self._end_all(tally)
        if self._stop():
            raise InterruptedRunError("stopped")
        return tally

    def _fill(
        self, source: JobSource, slots: Sequence[Slot], tally: Tally, max_jobs: int | None
    ) -> None:
        for index, slot in enumerate(slots):
            if index in self._jobs or tally.started == max_jobs:
                continue
            claim = source.claim(slot)
            if claim is None:
                continue
            task = Task(
                claim, self._location, replace(self._place, device=slot.device), self._settings
            )
            tally.started += 1
            try:
                job = self._engine.submit(task)
            except EngineError as error:
                self._store.queue.release(claim, reason=error.message, cost=None)
                raise
            except EmabenchError as error:
                state = self._store.queue.fail(claim, reason=error.message, cost=None, retry=True)
                self._tell_end(tally, JobEnded(claim, state, error.message, error.hint))
                continue
            self._jobs[index] = job
            self._on_event(JobStarted(claim, slot.device, str(task.log)))

    def _listen(self, tally: Tally, source: JobSource) -> None:
        """Wait a moment for what is said of the jobs, and see to those that ended."""
        waitables = [w for job in self._jobs.values() for w in job.waitables]
        if waitables:
            wait(waitables, timeout=_POLL_SECONDS)
        else:
            time.sleep(_POLL_SECONDS)
        for index, job in list(self._jobs.items()):
            ended = job.has_ended  # before its last words are read, not after
            self._hear(job)
            if ended:
                del self._jobs[index]
                if job.failure is not None and job.failure.lacks_plugin:
                    source.leave(job.task.claim)
                self._see_off(tally, job)

    def _hear(self, job: Submission) -> None:
        for event in job.events():
            self._on_event(JobProgress(job.task.claim, event))

    def _see_off(self, tally: Tally, ended: Submission) -> None:
        """Tell what became of an attempt that ended; record it if nobody did."""
        claim, failure = ended.task.claim, ended.failure
        cause = ended.cause_of_death if failure is None else failure.message
        ended.close()
        if failure is not None and failure.store_failed:
            raise StoreError(failure.message, hint=failure.hint)
        try:
            job = self._store.job(claim.job_id)
        except NotFoundError:  # cancelled and removed meanwhile
            written_since = scan_files(ended.task.place.artifacts, [claim.job_id])
            delete_files(ended.task.place.artifacts, written_since)
            self._tell_end(tally, JobEnded(claim, JobState.CANCELLED, REMOVED))
            return
        state, reason = job.state, job.reason
        if job.attempt != claim.attempt:  # the next attempt has begun already
            mine = [attempt for attempt in job.attempts if attempt.number == claim.attempt]
            state, reason = JobState.QUEUED, mine[0].reason if mine else None
        elif state is JobState.RUNNING:
            state, reason = self._record_death(claim, cause)
        hint = None if failure is None else failure.hint
        self._tell_end(tally, JobEnded(claim, state, reason, hint))

    def _record_death(self, claim: Claim, reason: str) -> tuple[JobState, str]:
        """Record the end of an attempt that died without a word."""
        try:
            if self._asked_at is None:
                return self._store.queue.fail(claim, reason=reason, cost=None, retry=True), reason
            self._store.queue.release(claim, reason="stopped at once", cost=None)
        except FencedError:
            return JobState.CANCELLED, "ended by somebody else"
        return JobState.QUEUED, "stopped at once"

    def _tell_end(self, tally: Tally, end: JobEnded) -> None:
        tally.ends[end.claim.job_id] = end
        self._on_event(end)

    def _observe(self) -> None:
        """Declare dead whose process is gone, and whose heart has stopped, on whatever host."""
        now = time.monotonic()
        if now - self._observed_at < _OBSERVE_SECONDS:
            return
        if now - self._observed_at > _HELD_UP_SECONDS:  # as all were while the server was away
            self._watch.forget()
        self._observed_at = now
        claims = [(job.task.claim, job) for job in self._jobs.values()]
        mine = {(claim.job_id, claim.attempt): job for claim, job in claims}
        others = [a for a in self._store.queue.running() if _key(a) not in mine]
        self._engine.look_after(others, self._place.artifacts)
        running = self._store.queue.running()
        gone = [a for a in running if a.process_gone and _key(a) not in mine]
        stale = [a for a in self._watch.stale(running, now) if a not in gone]
        for attempt in gone + stale:
            reason = "its process is gone" if attempt in gone else "its heartbeat stopped"
            state = self._store.queue.reap(attempt, reason=reason)
            if state is not None and _key(attempt) in mine:
                mine[_key(attempt)].kill()
            elif state is not None:
                what = "is queued again" if state is JobState.QUEUED else "has failed for good"
                self._on_event(Notice(f"job {attempt.job_id}: {reason}; it {what}"))

    def _ask_to_stop(self) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            for job in self._jobs.values():
                job.ask_to_stop()
        elif now - self._asked_at > _PATIENCE_SECONDS:
            for job in self._jobs.values():
                job.kill()

    def _end_all(self, tally: Tally) -> None:
        """Leave no job behind when something was raised: politely, unless time is up."""
        if not self._jobs:
            return
        polite = self._asked_at is None
        self._asked_at = time.monotonic()
        jobs = list(self._jobs.values())
        self._jobs.clear()
        if polite:
            for job in jobs:
                job.ask_to_stop()
            for job in jobs:
                job.join(_PATIENCE_SECONDS)
        for job in jobs:
            job.kill()
            job.join(_PATIENCE_SECONDS)
        for job in jobs:
            self._hear(job)
            self._see_off(tally, job)


def _key(attempt: RunningAttempt) -> tuple[str, int]:
    return attempt.job_id, attempt.number
