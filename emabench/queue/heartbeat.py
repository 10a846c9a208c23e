"""Heartbeats: a worker counts on while it lives; an observer notices with its own clock when not.

No wall clock takes part, so that a clock that jumps declares nobody dead.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from emabench.errors import FencedError, StoreError, StoreLostError
from emabench.events import StepProgress
from emabench.queue.attempt_writer import AttemptWriter
from emabench.records import Claim, RunningAttempt

_log = logging.getLogger(__name__)


class Heartbeat:
    """Counts the heartbeat of an attempt on, from a thread of its own, inside a ``with`` block.

    Args:
        writer: takes the beats.
        claim: the attempt.
        seconds: between two heartbeats.

    Attributes:
        progress: how far the attempt got; said with the next heartbeat.
        lost: whether the attempt was ended by somebody else, or the store is gone: then there is
            no point in going on.
    """

    def __init__(self, writer: AttemptWriter, claim: Claim, *, seconds: float) -> None:
        self.progress: StepProgress | None = None
        self.lost = False
        self._writer, self._claim, self._seconds = writer, claim, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self._writer.beat(self._claim, self.progress)
            except (FencedError, StoreLostError) as error:
                _log.warning("%s", error.message)
                self.lost = True
                return
            except (StoreError, OSError) as error:  # a busy store or disk may answer the next time
                _log.warning("%s", error)


class StaleWatch:
    """Finds the attempts whose heartbeat stands still, by the clock of the observer.

    Args:
        seconds: an attempt is stale whose heartbeat did not change for so long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[tuple[str, int], tuple[int, float]] = {}

    def forget(self) -> None:
        """Begin anew, where the observer did not look for a while: all may have been held up."""
        self._seen.clear()

    def stale(self, running: Sequence[RunningAttempt], now: float) -> list[RunningAttempt]:
        """Return the stale ones among all running attempts.

        Args:
            running: what runs at this moment.
            now: seconds of a monotonic clock.
        """
        before, self._seen = self._seen, {}
        found = []
        for attempt in running:
            key = (attempt.job_id, attempt.number)
            beat, since = before.get(key, (attempt.heartbeat, now))
            if beat != attempt.heartbeat:
                since = now
            self._seen[key] = (attempt.heartbeat, since)
            if now - since > self._seconds:
                found.append(attempt)
        return found
