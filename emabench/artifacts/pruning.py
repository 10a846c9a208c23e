"""Which files of jobs nobody needs any more; when in doubt, a file is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from emabench.artifacts.files import FileKind, JobFile
from emabench.records import JobKind, JobRecord, JobState, RunRecord
from emabench.spec.paths import value_at
from emabench.spec.pretrain import GIVEN


class Surplus(StrEnum):
    """Why nobody needs a file."""

    DONE = "checkpoints of done jobs"
    SUPERSEDED = "checkpoints that a newer attempt superseded"
    UNFINISHED = "unfinished files of attempts that ended"
    ORPHAN = "files of jobs that the store does not hold"
    WEIGHTS = "weights of done runs"
    LOGS = "logs of done runs"


@dataclass(frozen=True)
class Prunable:
    """A file that nobody needs, and why."""

    file: JobFile
    why: Surplus


_SETTLED = (JobState.DONE, JobState.CANCELLED)


def find_prunable(
    files: Sequence[JobFile],
    runs: Sequence[RunRecord],
    *,
    is_readable: Callable[[Path], bool],
    kinds: Iterable[Surplus],
) -> list[Prunable]:
    """Return the files that nobody needs; nothing of a running attempt is among them.

    Weights that an unfinished run is given, or an unfinished evaluation of its own is about, are
    needed, whoever made them; so is the checkpoint that a run goes on from, as long as that is not
    trained or cancelled: if it failed, it may be tried again.

    Args:
        files: what lies in the folder. To be read before the runs: a job is in the store before
            it has files, so that no file of a new job is taken for one of no job.
        runs: all runs of the store, and all separate evaluations.
        is_readable: whether training could go on from a checkpoint; asked only where an older
            one would be given up for it.
        kinds: which ones are wanted.
    """
    jobs = {job.id: (job, run) for run in runs for job in run.jobs}
    superseded = set(_superseded(files, [job for job, _ in jobs.values()], is_readable))
    needed = {
        str(text)
        for run in runs
        if not run.is_over
        for text in [value_at(run.spec, path) for path in ("weights", *GIVEN.values())]
    }
    extended = {
        value_at(run.spec, "pretrain.extends.run")
        for run in runs
        if any(job.kind is JobKind.PRETRAIN and job.state not in _SETTLED for job in run.jobs)
    }
    found = []
    for file in files:
        if file.job_id is None or _is_needed(file, needed):
            continue
        if file.kind is FileKind.CHECKPOINTS and file.job_id in extended:
            continue
        why = (
            _reasons(file, *jobs[file.job_id], superseded)
            if file.job_id in jobs
            else [Surplus.ORPHAN]
        )
        wanted = [reason for reason in why if reason in kinds]
        if wanted:
            found.append(Prunable(file, wanted[0]))
    return found


def _reasons(
    file: JobFile, job: JobRecord, run: RunRecord, superseded: set[JobFile]
) -> list[Surplus]:
    if file.attempt is None or file.attempt in _running(job):
        return []
    of_done_run = {FileKind.WEIGHTS: Surplus.WEIGHTS, FileKind.LOGS: Surplus.LOGS}
    reasons = []
    if file.is_temporary:
        reasons.append(Surplus.UNFINISHED)
    if file.kind is FileKind.CHECKPOINTS and job.state is JobState.DONE:
        reasons.append(Surplus.DONE)
    if file in superseded:
        reasons.append(Surplus.SUPERSEDED)
    if run.state is JobState.DONE and file.kind in of_done_run:
        reasons.append(of_done_run[file.kind])
    return reasons


def _is_needed(file: JobFile, needed: set[str]) -> bool:
    """Whether the file is among weights that are named by their run or by their path."""
    of_run = file.kind is FileKind.WEIGHTS and file.job_id in needed
    return of_run or str(file.path.resolve()) in needed


def _running(job: JobRecord) -> set[int]:
    return {attempt.number for attempt in job.attempts if attempt.state is JobState.RUNNING}


def _superseded(
    files: Sequence[JobFile], jobs: Sequence[JobRecord], is_readable: Callable[[Path], bool]
) -> Iterator[JobFile]:
    """Yield the checkpoints of attempts before the newest one that has a readable checkpoint."""
    open_jobs = {job.id for job in jobs if job.state is not JobState.DONE}
    by_job: dict[str, dict[int, list[JobFile]]] = {}
    for file in files:
        if file.kind is FileKind.CHECKPOINTS and file.job_id in open_jobs:
            assert file.attempt is not None
            by_job.setdefault(file.job_id, {}).setdefault(file.attempt, []).append(file)
    for checkpoints in by_job.values():
        newest_first = sorted(checkpoints, reverse=True)
        for place, number in enumerate(newest_first[:-1]):
            if any(is_readable(file.path) for file in checkpoints[number]):
                for older in newest_first[place + 1 :]:
                    yield from checkpoints[older]
                break
