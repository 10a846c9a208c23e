"""Work on pieces of a long list on all cores, with the results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def workers() -> int:
    """Return how many threads to use: one per core that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_pieces(
    work: Callable[[int, int], T], total: int, piece: int, *, threads: int | None = None
) -> Iterator[T]:
    """Call ``work(start, stop)`` for consecutive pieces of ``range(total)``.

    Threads suffice: file reads and Pillow's decoders release the interpreter lock. Only a few
    pieces are under way at a time, so results that nobody has fetched do not pile up.

    Args:
        work: done to a piece, given its start and stop.
        total: length of the list.
        piece: length of a piece.
        threads: how many work; one per core unless given.

    Yields:
        The results in order. The first error, in order, ends the work and is raised.
    """
    threads = threads or workers()
    pending: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for start in range(0, total, piece):
            if len(pending) >= 4 * threads:
                yield pending.popleft().result()
            pending.append(pool.submit(work, start, min(start + piece, total)))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
