"""The local engine: runs in the foreground, or workers for the queue, on this machine's devices."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from emabench import device as devices
from emabench.artifacts.layout import has_weights
from emabench.errors import EmabenchError, JobsFailedError, NotFoundError, UsageError
from emabench.events import (
    JobEnded,
    JobProgress,
    JobStarted,
    Listener,
    Notice,
    RunFinished,
    RunStarted,
)
from emabench.extensions.plugins_at_hand import any_plugins, has_plugins
from emabench.queue.patience import patient
from emabench.queue.process import Processes
from emabench.queue.submission import Engine
from emabench.queue.supervisor import REMOVED, STALE_SECONDS, Slot, Supervisor, Tally
from emabench.queue.worker import Workplace
from emabench.records import Claim, JobState, PlannedRun, QueuedRun, RunRecord
from emabench.store.run_store import RunStore


def execute(
    plans: Sequence[PlannedRun],
    *,
    db: str,
    place: Workplace,
    force: bool,
    on_event: Listener,
    stop: Callable[[], bool],
    on_queued: Callable[[QueuedRun], None] = lambda run: None,
) -> tuple[list[RunFinished], dict[str, RunRecord]]:
    """Queue plans in a store, work on them in order, and wait for their end.

    Args:
        plans: the resolved runs, evaluations of their own, or benches.
        db: path or URL of the store; created if it is not there.
        place: where to work.
        force: repeat what the store holds already.
        on_event: listens.
        stop: asked often whether to stop.
        on_queued: told of each run as soon as the store has it.

    Returns:
        What became of each plan, and by their ids the records, each once, of runs that are still
        there.

    Raises:
        InterruptedRunError: ``stop`` said so; what is not done stays queued.
        StoreError: the store cannot be written.
        EmabenchError: the folder of artifacts cannot be written.
    """
    with RunStore.open(db, mode="write") as store:
        _check_writable(place.artifacts)
        outcomes = run_all(
            store,
            db,
            plans,
            place=place,
            force=force,
            on_event=on_event,
            stop=stop,
            on_queued=on_queued,
        )
        records = {outcome.run.id: _record(store, outcome.run) for outcome in outcomes}
        return outcomes, {run: record for run, record in records.items() if record is not None}


def _record(store: RunStore, run: QueuedRun) -> RunRecord | None:
    """Return a run as the store has it; None where somebody removed it meanwhile."""
    try:
        return store.run(run.id)
    except NotFoundError:
        return None


def raise_unless_done(outcomes: Sequence[RunFinished], *, what: str) -> None:
    """Turn what is not done into the error that says so.

    Args:
        outcomes: what became of each plan.
        what: the plural of what they are, for example ``runs``.

    Raises:
        JobsFailedError: some of several failed.
        EmabenchError: the only one failed.
    """
    failed = [outcome for outcome in outcomes if outcome.state is not JobState.DONE]
    if failed and len(outcomes) == 1:
        run_id = failed[0].run.id
        hint = failed[0].hint or f"'emabench show {run_id}' says more"
        raise EmabenchError(
            failed[0].reason or f"{what.removesuffix('s')} {run_id} failed", hint=hint
        )
    if failed:
        first = f"{failed[0].run.id}: {failed[0].reason or 'no reason was recorded'}"
        raise JobsFailedError(
            f"{len(failed)} of {len(outcomes)} {what} failed; the first is {first}",
            hint="the same command tries the failed ones again",
        )


def run_all(
    store: RunStore,
    location: str,
    plans: Sequence[PlannedRun],
    *,
    place: Workplace,
    force: bool,
    on_event: Listener,
    stop: Callable[[], bool],
    on_queued: Callable[[QueuedRun], None] = lambda run: None,
) -> list[RunFinished]:
    """Queue all runs and work on them in order; one that fails does not stop the others.

    Args:
        store: open for writing.
        location: of the same store.
        plans: the resolved runs.
        place: where to work.
        force: repeat runs that the store holds already.
        on_event: listens.
        stop: asked often whether to stop.
        on_queued: told of each run as soon as the store has it.

    Returns:
        What became of each run, in order.

    Raises:
        InterruptedRunError: ``stop`` said so; the runs that are not done stay queued.
    """
    store = _patient(store, on_event, stop)
    queued = []
    for plan in plans:
        run = store.add_run(
            plan,
            force=force,
            weights_gone=lambda run: not has_weights(place.artifacts, run),
        )
        queued.append(run)
        on_queued(run)
    teller = _RunTeller(plans, queued, on_event)
    supervisor = Supervisor(
        store, location, Processes(), place, on_event=teller, stop=stop, settings=_settings()
    )
    supervisor.run(ChosenRuns(store, queued, on_event), [Slot()])
    return teller.ends(store)


def serve(
    store: RunStore,
    location: str,
    slots: Sequence[Slot],
    *,
    place: Workplace,
    engine: Engine | None = None,
    on_event: Listener,
    stop: Callable[[], bool],
    max_jobs: int | None = None,
    idle_exit: bool = False,
    fail_fast: bool = False,
    stale_after: float = STALE_SECONDS,
) -> Tally:
    """Work on whatever is queued for the slots; see ``Supervisor``.

    Args:
        store: open for writing.
        location: of the same store.
        slots: one job at a time each.
        place: where to work.
        engine: works on the jobs; None is this machine, with a process for each.
        on_event: listens.
        stop: asked often whether to stop.
        max_jobs: start at most this many attempts.
        idle_exit: leave once nothing is left to do; else wait for more.
        fail_fast: stop once a job failed for good.
        stale_after: seconds without a heartbeat after which an attempt is dead.

    Raises:
        InterruptedRunError: ``stop`` said so; what was running is queued again.
        EngineError: the engine takes nothing.
    """
    store = _patient(store, on_event, stop)
    supervisor = Supervisor(
        store,
        location,
        engine or Processes(),
        place,
        on_event=on_event,
        stop=stop,
        settings=_settings(),
        stale_after=stale_after,
    )
    source = WholeQueue(store, slots, on_event, idle_exit=idle_exit)
    return supervisor.run(source, slots, max_jobs=max_jobs, fail_fast=fail_fast)


def work_on(
    store: RunStore,
    location: str,
    runs: Sequence[QueuedRun],
    slots: Sequence[Slot],
    *,
    place: Workplace,
    engine: Engine,
    on_event: Listener,
    stop: Callable[[], bool],
) -> Tally:
    """Work on some runs that are queued, and wait for those that somebody else works on.

    Args:
        store: open for writing.
        location: of the same store.
        runs: as they were queued.
        slots: one job at a time each, of the kind of device that the runs need.
        place: where to work.
        engine: works on the jobs.
        on_event: listens.
        stop: asked often whether to stop.

    Raises:
        InterruptedRunError: ``stop`` said so; what was running is queued again.
        EngineError: the engine takes nothing.
    """
    store = _patient(store, on_event, stop)
    supervisor = Supervisor(
        store, location, engine, place, on_event=on_event, stop=stop, settings=_settings()
    )
    return supervisor.run(ChosenRuns(store, runs, on_event), slots)


def _patient(store: RunStore, on_event: Listener, stop: Callable[[], bool]) -> RunStore:
    return patient(store, stop=stop, say=lambda text: on_event(Notice(text)))


def slots_for(names: str, jobs_per_device: int) -> list[Slot]:
    """Return the slots of a worker.

    Args:
        names: devices joined by commas; ``auto`` is every accelerator, or the CPU if there is none.
        jobs_per_device: slots on each of them.

    Raises:
        UsageError: a device is named twice, or this machine does not have it.
    """
    asked = [name.strip() for name in names.split(",")]
    if asked == ["auto"]:
        found = devices.available()
        asked = found[:-1] or found
    chosen = [devices.choose(name) for name in asked]
    if len(set(chosen)) < len(chosen):
        raise UsageError(
            f"--device {names} names a device twice", hint="--jobs-per-device gives it more jobs"
        )
    return [Slot(d.type, str(d)) for d in chosen for _ in range(jobs_per_device)]


class WholeQueue:
    """Gives the jobs of the whole queue, for the kind of device of each slot.

    Args:
        store: open for writing.
        slots: of the worker.
        on_event: called once when the worker begins to wait.
        idle_exit: whether an empty queue is the end.
    """

    def __init__(
        self, store: RunStore, slots: Sequence[Slot], on_event: Listener, *, idle_exit: bool
    ) -> None:
        self._store, self._slots, self._idle_exit = store, set(slots), idle_exit
        self._on_event = on_event
        self._idle: set[Slot] = set()
        self._waits = False
        self._has = self._has_plugins if any_plugins() else None
        self._missed: set[str] = set()

    def claim(self, slot: Slot) -> Claim | None:
        """Take the next job for a slot; None if there is none at the moment."""
        assert slot.kind is not None
        claim = self._store.queue.claim_next(slot.kind, device=slot.device, has=self._has)
        if claim is None:
            self._idle.add(slot)
        else:
            self._idle.clear()  # what depends on this job may come free for any slot
            self._waits = False
        return claim

    def is_exhausted(self) -> bool:
        """Whether no job will come any more."""
        if self._idle != self._slots:
            return False
        if not self._idle_exit and not self._waits:
            self._waits = True
            self._on_event(Notice("nothing left to do: waiting for jobs; Ctrl-C quits"))
        return self._idle_exit

    def leave(self, claim: Claim) -> None:
        """Leave alone what needs a plugin that whoever works on the jobs turned out to lack."""
        self._missed.update(claim.plugins)

    def _has_plugins(self, references: Sequence[str]) -> bool:
        return self._missed.isdisjoint(references) and has_plugins(references)


class ChosenRuns:
    """Gives the jobs of some runs, in order; waits for those that somebody else works on.

    Args:
        store: open for writing.
        runs: the runs.
        on_event: called once for each job that is waited for.
    """

    def __init__(self, store: RunStore, runs: Sequence[QueuedRun], on_event: Listener) -> None:
        self._store, self._on_event, self._runs = store, on_event, tuple(runs)
        self._jobs = list(
            dict.fromkeys(
                job for run in runs for job in (run.pretrain_job, run.eval_job) if job is not None
            )
        )
        self._waited_for: set[str] = set()
        self._mine: set[str] = set()

    def claim(self, slot: Slot) -> Claim | None:
        """Take the first job that is free."""
        states = self._unfinished()
        for job, state in states.items():
            if state is JobState.QUEUED:
                claim = self._store.queue.claim(job, device=slot.device)
                if claim is not None:
                    self._mine.add(job)
                    return claim
            elif job not in self._waited_for | self._mine:
                self._waited_for.add(job)
                self._on_event(Notice(f"job {job} is being worked on elsewhere: waiting for it"))
        return None

    def is_exhausted(self) -> bool:
        """Whether all jobs are finished, or gone."""
        return not self._unfinished()

    def leave(self, claim: Claim) -> None:
        """Wait no longer for a job that cannot be worked on here, nor for what depends on it."""
        self._jobs = [job for job in self._jobs if job not in self._of_run(claim)]

    def _of_run(self, claim: Claim) -> set[str]:
        run = next(r for r in self._runs if claim.job_id in (r.pretrain_job, r.eval_job))
        return {job for job in (run.pretrain_job, run.eval_job) if job is not None}

    def _unfinished(self) -> dict[str, JobState]:
        found = self._store.queue.states(self._jobs)
        self._jobs = [job for job in self._jobs if job in found and not found[job].is_finished]
        return {job: found[job] for job in self._jobs}


class _RunTeller:
    """Tells of jobs as a user thinks of them: as the runs of a grid."""

    def __init__(
        self, plans: Sequence[PlannedRun], runs: Sequence[QueuedRun], on_event: Listener
    ) -> None:
        self._on_event = on_event
        self._runs = {run.id: run for run in runs}
        self._order = [run.id for run in runs]
        self._started: dict[str, RunStarted] = {}
        self._ends: dict[str, RunFinished] = {}
        for index, (plan, run) in enumerate(zip(plans, runs, strict=True)):
            start = RunStarted(plan, run, index, len(plans))
            if run.state is JobState.DONE:
                on_event(start)
                self._end(RunFinished(run, JobState.DONE))
            else:
                self._started.setdefault(run.id, start)

    def __call__(self, event: object) -> None:
        """Take in an event of the supervisor."""
        if isinstance(event, JobProgress):
            self._on_event(event.event)
        elif isinstance(event, JobStarted):
            start = self._started.pop(event.claim.run_id, None)
            if start is not None:
                self._on_event(start)
        elif isinstance(event, JobEnded):
            self._job_ended(event)
        elif isinstance(event, Notice):
            self._on_event(event)

    def _job_ended(self, end: JobEnded) -> None:
        run = self._runs[end.claim.run_id]
        if end.state is JobState.QUEUED:
            self._on_event(Notice(f"attempt {end.claim.attempt} ended: {end.reason}; queued again"))
        elif end.state is not JobState.DONE or end.claim.job_id == run.eval_job:
            self._end(RunFinished(run, end.state, end.reason, end.hint))

    def _end(self, end: RunFinished) -> None:
        self._ends[end.run.id] = end
        self._on_event(end)

    def ends(self, store: RunStore) -> list[RunFinished]:
        """Return what became of each run; the store knows of those that others worked on."""
        for run in self._runs.values():
            if run.id not in self._ends:
                record = _record(store, run)
                if record is None:
                    self._end(RunFinished(run, JobState.CANCELLED, REMOVED))
                    continue
                reason = next((job.reason for job in record.jobs if job.reason), None)
                self._end(RunFinished(run, record.state, reason))
        return [self._ends[run] for run in self._order]


def _settings() -> dict[str, str]:
    """Return the settings of the user that a forked process would not see otherwise."""
    return {name: value for name, value in os.environ.items() if name.startswith("EMABENCH_")}


def _check_writable(folder: Path) -> None:
    """Find out before the training, not after it, whether its files can be kept.

    Raises:
        EmabenchError: the folder cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise EmabenchError(
            f"cannot write to the artifacts folder {folder}: {error.strerror}",
            hint="choose another one with --artifacts",
        ) from None
