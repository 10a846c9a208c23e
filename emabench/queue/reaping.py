"""Declaring attempts dead on request; a supervisor does the same while it works."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from emabench.queue.heartbeat import StaleWatch
from emabench.records import JobState, RunningAttempt
from emabench.store.run_store import RunStore

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Reaped:
    """An attempt that was declared dead.

    Attributes:
        attempt: as it was observed last.
        reason: why it is dead.
        state: what its job came to: ``queued`` or ``failed``.
    """

    attempt: RunningAttempt
    reason: str
    state: JobState


def reap(
    store: RunStore, seconds: float, *, on_wait: Callable[[Sequence[RunningAttempt]], None]
) -> Iterator[Reaped]:
    """Yield the attempts that are dead, each declared so just before.

    First those whose process, of this host, is gone; then those among the others whose heartbeat
    stands still. Ends early once all of them have beaten.

    Args:
        store: open for writing.
        seconds: how long to watch the heartbeats, by this process's monotonic clock; 0 does not.
        on_wait: called with the attempts that are about to be watched.
    """
    running = store.queue.running()
    yield from _declare(store, [a for a in running if a.process_gone], "its process is gone")
    watched = {_key(a): a.heartbeat for a in running if not a.process_gone}
    if not watched or seconds == 0:
        return
    on_wait([a for a in running if _key(a) in watched])
    watch = StaleWatch(seconds)
    while True:
        silent = [a for a in store.queue.running() if watched.get(_key(a)) == a.heartbeat]
        stale = watch.stale(silent, time.monotonic())
        yield from _declare(store, stale, "its heartbeat stopped")
        if stale or not silent:
            return
        time.sleep(min(_POLL_SECONDS, seconds))


def _declare(store: RunStore, attempts: Sequence[RunningAttempt], reason: str) -> Iterator[Reaped]:
    for attempt in attempts:
        state = store.queue.reap(attempt, reason=reason)
        if state is not None:
            yield Reaped(attempt, reason, state)


def _key(attempt: RunningAttempt) -> tuple[str, int]:
    return attempt.job_id, attempt.number
