"""An attempt that a cluster works on, as its supervisor sees it: what Ray and Slurm share."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from emabench.artifacts.layout import CHECKPOINT, CHECKPOINTS, JOURNAL, LOG, WEIGHTS, Keep
from emabench.engines.exchange import NOW, SOFTLY, Exchange
from emabench.engines.ticket import Ticket, needed_files
from emabench.errors import EmabenchError, FencedError
from emabench.queue.attempt import begin_log
from emabench.queue.failure import Failure
from emabench.queue.ingest import Ingest, Shown
from emabench.queue.journal import Failed, Finished, Released, Word, read_words
from emabench.queue.submission import Task
from emabench.records import Claim, JobKind, JobState, RunningAttempt
from emabench.store.run_store import RunStore

_ENDS = (Failed, Finished, Released)
"""The words that an attempt ends with."""
_LOOK_SECONDS = {True: 0.5, False: 2.0}
"""Between two looks into the exchange, where it is a shared folder and where it is not."""
_LAST_LOOKS = 6
"""A file system may show the last words a moment after the end."""
_POLL_SECONDS = 0.5


class Handle(Protocol):
    """What a cluster gives for a task that it took."""

    def has_ended(self) -> bool:
        """Whether the task is over."""

    def cause_of_death(self) -> str:
        """The reason, for a task that is over and whose job ended without a word."""

    def cancel(self) -> None:
        """End the task at once, or see to it that it does not begin."""


class RemoteJob:
    """An attempt in the hands of a cluster; takes the words of its journal into the store.

    Args:
        task: the attempt; its log is begun here.
        store: open for writing.
        exchange: where its files pass.

    Attributes:
        handle: the cluster's; None until it took the task.

    Raises:
        CheckpointError: the folder of the attempt cannot be written.
    """

    waitables: Sequence[object] = ()

    def __init__(self, task: Task, store: RunStore, exchange: Exchange) -> None:
        self.task = task
        self.handle: Handle | None = None
        self.failure: Failure | None = None
        self.ticket = Ticket.of(task, exchange.place)
        self._store, self._exchange = store, exchange
        self._ingest = Ingest(store, task.claim)
        self._read = self._logged = 0
        self._submitted_at = self._beaten_at = time.monotonic()
        self._look_at = 0.0
        self._is_over = False
        begin_log(task)
        self._share()

    @property
    def has_ended(self) -> bool:
        """Whether the cluster is done with it."""
        if not self._is_over:
            self._is_over = self.handle is None or self.handle.has_ended()
        return self._is_over

    @property
    def cause_of_death(self) -> str:
        """What the cluster says of a task that ended without a word."""
        return "it was not submitted" if self.handle is None else self.handle.cause_of_death()

    def events(self) -> Iterator[Shown]:
        """Take new words into the store, and yield what they say to who watches."""
        over, now = self.has_ended, time.monotonic()
        if not over and now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS[self._exchange.is_shared]
        yield from self._news()
        for _ in range(_LAST_LOOKS if over and self._ingest.begun else 0):
            if self._ingest.over or self._ingest.fenced:
                break
            time.sleep(_POLL_SECONDS)
            yield from self._news()
        if self._ingest.fenced and not over:
            self.kill()
        elif not self._ingest.begun and not over:
            self._beat(now)

    def ask_to_stop(self) -> None:
        """Ask for a checkpoint and an orderly end; withdraw what has not begun."""
        self._leave_word(SOFTLY)
        if not self._ingest.begun and self.handle is not None:
            self.handle.cancel()

    def kill(self) -> None:
        """End it at once."""
        self._leave_word(NOW)
        if self.handle is not None and not self.has_ended:
            self.handle.cancel()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, and return whether it came."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self.has_ended and (end is None or time.monotonic() < end):
            time.sleep(_POLL_SECONDS)
        return self.has_ended

    def close(self) -> None:
        """Bring back what the driver keeps, where the exchange is not its own folder."""
        if self._exchange.is_shared:
            return
        claim, root = self.task.claim, self.task.place.artifacts
        keep = self.task.place.keep
        names = (LOG, *(WEIGHTS if keep is not Keep.NOTHING else ()))
        is_done = self._store.queue.states([claim.job_id]).get(claim.job_id) is JobState.DONE
        if keep is Keep.CHECKPOINTS and is_done:
            names = (*names, CHECKPOINT)
        self._exchange.fetch(root, claim.job_id, names)
        if is_done and claim.kind is JobKind.PRETRAIN:
            self._exchange.forget(claim.job_id, CHECKPOINTS)
        if is_done and keep is Keep.NOTHING and claim.depends_on is not None:
            self._exchange.forget(claim.depends_on, WEIGHTS)

    def _share(self) -> None:
        """Put where the node finds it what the driver has and the node needs."""
        if self._exchange.is_shared:
            return
        claim, root = self.task.claim, self.task.place.artifacts
        self._exchange.offer(root, claim.job_id, (*CHECKPOINTS, *WEIGHTS))
        for job_id, names in needed_files(claim).items():
            self._exchange.offer(root, job_id, names)
        self._exchange.announce(root, claim.job_id, claim.attempt)
        self._logged = self.task.log.stat().st_size

    def _news(self) -> Iterator[Shown]:
        claim = self.task.claim
        content = self._exchange.read(claim.job_id, claim.attempt, JOURNAL, self._read)
        try:
            words, taken = read_words(content)
        except EmabenchError as error:
            self.failure = Failure(error.message)
            self.kill()
            return
        self._read += taken
        waited = time.monotonic() - self._submitted_at
        for shown in self._ingest.take(words, waited_s=waited):
            if isinstance(shown, Failure):
                self.failure = shown
            else:
                yield shown
        if not self._exchange.is_shared:
            lines = self._exchange.read(claim.job_id, claim.attempt, LOG, self._logged)
            self._logged += len(lines)
            with self.task.log.open("ab") as file:
                file.write(lines)

    def _beat(self, now: float) -> None:
        """Say that the attempt is not lost while it waits for the cluster."""
        if now - self._beaten_at < self.task.place.heartbeat_s:
            return
        self._beaten_at = now
        try:
            self._store.queue.beat(self.task.claim)
        except FencedError:
            self.kill()

    def _leave_word(self, how: str) -> None:
        with contextlib.suppress(OSError):
            self._exchange.ask_to_stop(self.task.claim.job_id, self.task.claim.attempt, how)


def take_in(
    store: RunStore, exchange: Exchange, attempts: Sequence[RunningAttempt], root: Path
) -> Iterator[tuple[RunningAttempt, JobState]]:
    """Take the journals of running attempts into the store, whoever had submitted them.

    Args:
        store: open for writing.
        exchange: where the journals lie.
        attempts: those that have none, or one that cannot be read, are left alone.
        root: folder of this machine for artefacts, which log and weights of an attempt that has
            ended are brought back into; checkpoints stay where the next attempt finds them.

    Yields:
        Each that has one, and what its job came to.
    """
    for attempt in attempts:
        words = _words(exchange, attempt.job_id, attempt.number)
        if not words:
            continue
        claim = Claim(attempt.job_id, attempt.kind, attempt.number, attempt.spec, None, 0.0)
        if not exchange.is_shared and any(isinstance(word, _ENDS) for word in words):
            # Before the store knows: who is interrupted here comes again.
            exchange.fetch(root, attempt.job_id, (LOG, *WEIGHTS))
        for _ in Ingest(store, claim).take(words):
            pass
        state = store.queue.states([attempt.job_id]).get(attempt.job_id)
        if state is not None:
            yield attempt, state


def _words(exchange: Exchange, job_id: str, number: int) -> list[Word]:
    """Return the words of a journal; none of one that cannot be read: its heart stands still."""
    try:
        return read_words(exchange.read(job_id, number, JOURNAL))[0]
    except EmabenchError:
        return []


def dismiss(store: RunStore, exchange: Exchange) -> None:
    """Ask whoever still works on an attempt that has ended, in the store, to stop at once.

    Args:
        store: open for reading.
        exchange: where the journals lie, perhaps those of other stores too.
    """
    running = {(attempt.job_id, attempt.number) for attempt in store.queue.running()}
    found = exchange.journals()
    known = store.queue.states([job_id for job_id, _ in found])
    for job_id, number in found:
        if job_id not in known or (job_id, number) in running:
            continue
        if exchange.asked_to_stop(job_id, number):
            continue
        words = _words(exchange, job_id, number)
        if not any(isinstance(word, _ENDS) for word in words):
            exchange.ask_to_stop(job_id, number, NOW)
