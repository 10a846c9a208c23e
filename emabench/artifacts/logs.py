"""The logs of jobs: a file per attempt, read to its end or followed while it grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emabench.artifacts.layout import LOG, attempt_folder, attempt_folders, attempt_number
from emabench.errors import NotFoundError, SchemaVersionError, StoreError, StoreLostError
from emabench.records import JobRecord, JobState

_POLL_SECONDS = 0.2
_POLLS_PER_LOOK = 5
"""So many looks at the files for one at the store."""
_QUIET_POLLS = 5
"""A process says its last words just after the store knows that its job ended."""


@dataclass(frozen=True)
class Log:
    """The log of one attempt.

    Attributes:
        job: the job.
        attempt: number of the attempt.
        path: where it lies.
    """

    job: JobRecord
    attempt: int
    path: Path

    @property
    def title(self) -> str:
        """The line above it, where there is more than one."""
        return f"==> {self.job.kind} {self.job.id}, attempt {self.attempt} <=="

    def lines(self, tail: int | None = None) -> list[str]:
        """Return its lines, or only the last ones."""
        return _last(_Growth(self.path).lines(to_end=True), tail)


def find_logs(root: Path, jobs: Sequence[JobRecord], attempt: int | None) -> list[Log]:
    """Return the log of the newest attempt at each job that has one.

    Args:
        root: the folder of artefacts.
        jobs: the jobs.
        attempt: the logs of this attempt instead.
    """
    numbers = _logged_attempts(root, jobs)
    found = []
    for job in jobs:
        wanted = [n for n in numbers[job.id] if attempt is None or n == attempt]
        if wanted:
            found.append(_log(root, job, max(wanted)))
    return found


def no_log(root: Path, jobs: Sequence[JobRecord], attempt: int | None) -> NotFoundError:
    """Return the error that says why there is no log."""
    last = max(job.attempt for job in jobs)
    which = jobs[0].id
    if attempt is not None and attempt > last:
        made = {0: "none was made", 1: "1 was made"}.get(last, f"{last} were made")
        return NotFoundError(f"job {which} has no attempt {attempt}", hint=f"{made} so far")
    if last == 0:
        return NotFoundError(
            f"job {which} has no log yet: it is {jobs[0].state}",
            hint="emabench logs -f waits for it; emabench work starts what is queued",
        )
    return NotFoundError(
        f"the log of job {which} is not in {root}",
        hint="--artifacts says where the files are; they may be on another host, or pruned",
    )


def follow_logs(
    look: Callable[[], Sequence[JobRecord]],
    root: Path,
    *,
    attempt: int | None,
    tail: int | None,
    on_wait: Callable[[], None],
) -> Iterator[tuple[Log, str]]:
    """Yield the lines of logs as they are written, until the jobs are finished.

    It begins with the newest attempt at each job; those to come follow.

    Args:
        look: reads the jobs from the store.
        root: the folder of artefacts.
        attempt: follow only this attempt, until it ends.
        tail: of what is there at first, only the last lines of each log.
        on_wait: called before each pause.

    Raises:
        NotFoundError: the jobs are finished and left no log, or were removed.
    """
    jobs = look()
    first = {log.job.id: log.attempt for log in find_logs(root, jobs, attempt)}
    growing: dict[Path, _Growth] = {}
    polls = quiet = 0
    while True:
        over = _is_over(jobs, attempt)
        ending = over and quiet == _QUIET_POLLS
        quiet = quiet + 1 if over else 0
        for log in _logs_from(root, jobs, first, attempt):
            old = polls == 0
            growth = growing.setdefault(log.path, _Growth(log.path))
            for line in _last(growth.lines(to_end=ending), tail if old else None):
                quiet = 0
                yield log, line
        if ending:
            break
        on_wait()
        time.sleep(_POLL_SECONDS)
        polls += 1
        if polls % _POLLS_PER_LOOK == 0:
            jobs = _look_again(look, jobs)
    if not growing:
        raise no_log(root, jobs, attempt)


class _Growth:
    """What is new in a file since it was read last."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._rest = path, 0, b""

    def lines(self, *, to_end: bool = False) -> list[str]:
        """Return complete new lines; at the end also one that was left incomplete."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:  # pruned while it was followed
            content = b""
        self._offset += len(content)
        *complete, self._rest = (self._rest + content).split(b"\n")
        if to_end and self._rest:
            complete.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", errors="replace") for line in complete]


def _logs_from(
    root: Path, jobs: Sequence[JobRecord], first: dict[str, int], attempt: int | None
) -> Iterator[Log]:
    numbers = _logged_attempts(root, jobs)
    for job in jobs:
        for number in numbers[job.id]:
            if number >= first.get(job.id, 0) and attempt in (None, number):
                yield _log(root, job, number)


def _logged_attempts(root: Path, jobs: Sequence[JobRecord]) -> dict[str, list[int]]:
    return {
        job.id: sorted(
            attempt_number(folder)
            for folder in attempt_folders(root, job.id)
            if (folder / LOG).is_file()
        )
        for job in jobs
    }


def _log(root: Path, job: JobRecord, attempt: int) -> Log:
    return Log(job, attempt, attempt_folder(root, job.id, attempt) / LOG)


def _is_over(jobs: Sequence[JobRecord], attempt: int | None) -> bool:
    """Whether nothing more will be logged: the jobs, or the attempts that were asked for, ended."""
    if all(job.state.is_finished for job in jobs):
        return True
    chosen = [each.state for job in jobs for each in job.attempts if each.number == attempt]
    return bool(chosen) and JobState.RUNNING not in chosen


def _look_again(
    look: Callable[[], Sequence[JobRecord]], before: Sequence[JobRecord]
) -> Sequence[JobRecord]:
    try:
        return look()
    except (SchemaVersionError, StoreLostError):
        raise
    except StoreError:  # a busy store may answer the next time
        return before


def _last(lines: list[str], count: int | None) -> list[str]:
    return lines if count is None else lines[len(lines) - min(count, len(lines)) :]
