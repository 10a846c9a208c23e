"""Taking the words of a journal into the store, once or many times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from emabench.errors import FencedError
from emabench.events import EpochProgress, Notice, PhaseProgress, StepProgress
from emabench.queue.failure import Failure
from emabench.queue.journal import (
    Beat,
    Begun,
    Failed,
    Finished,
    Recorded,
    Released,
    Revised,
    Said,
    Saved,
    Word,
)
from emabench.records import Claim
from emabench.store.run_store import RunStore

Shown = EpochProgress | Notice | PhaseProgress | StepProgress | Failure


class Ingest:
    """Writes the words of one attempt into the store, fenced as if the worker wrote them itself.

    A word that is taken in again changes nothing: metrics are overwritten by themselves, a beat
    sets the heartbeat to its own count, and an attempt that has ended takes no more words.

    Args:
        store: open for writing.
        claim: the attempt.

    Attributes:
        begun: whether a process works on the attempt, or did.
        fenced: whether the attempt had been ended when its worker went on.
        over: whether its worker has said how it ended.
    """

    def __init__(self, store: RunStore, claim: Claim) -> None:
        self._store, self._claim = store, claim
        self.begun = self.fenced = self.over = False
        self._waited_s = 0.0

    def take(self, words: Sequence[Word], *, waited_s: float = 0.0) -> Iterator[Shown]:
        """Write words into the store, and yield what they say to who watches.

        Args:
            words: the next ones; of several beats only the last one counts.
            waited_s: seconds since the claim; those until the beginning count as the queue's.
        """
        last_beat = next((word for word in reversed(words) if isinstance(word, Beat)), None)
        for word in words:
            if isinstance(word, Said):
                yield word.event
            elif isinstance(word, Begun) and not self.begun:
                self.begun, self._waited_s = True, waited_s
            if isinstance(word, Failed | Finished | Released):
                self.over = True
            if isinstance(word, Beat):
                if word is not last_beat:
                    continue
                if word.progress is not None:
                    yield word.progress
            if not self.fenced:
                try:
                    self._write(word)
                except FencedError:
                    self.fenced = True

    def _write(self, word: Word) -> None:
        claim = self._claim
        if isinstance(word, Begun):
            self._store.queue.begin(claim, word.environment, process=word.process)
        elif isinstance(word, Revised):
            self._store.queue.revise(claim, word.names)
        elif isinstance(word, Beat):
            self._store.queue.beat(claim, word.progress, count=word.count)
        elif isinstance(word, Recorded):
            self._store.queue.record(claim, word.points, word.cost)
        elif isinstance(word, Saved):
            self._store.queue.saved(claim, word.step, resumed=word.resumed)
        elif isinstance(word, Finished):
            queued = None if word.cost.queue_s is None else word.cost.queue_s + self._waited_s
            cost = replace(word.cost, queue_s=queued)
            self._store.queue.finish(claim, results=word.results, cost=cost, correct=word.correct)
        elif isinstance(word, Failed):
            self._store.queue.fail(claim, reason=word.reason, cost=word.cost, retry=word.retry)
        elif isinstance(word, Released):
            self._store.queue.release(claim, reason=word.reason, cost=word.cost)
