"""Processes that decode image files ahead of those who need them, on all cores.

They know neither torch nor the data set: a task is a few paths, its answer an array. They leave
with the process that started them, however it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing.util import Finalize

import numpy as np

from emabench.data.decode import CropRule, decode_all
from emabench.data.pool import workers
from emabench.errors import DataError

_PIECE = 8
_WORKER_BYTES = 2**25
_MOST_AHEAD = 8


def decoded_ahead(
    batches: Iterable[list[str]],
    size: int,
    crop: CropRule,
    white: int | None = None,
    *,
    budget: int,
) -> Iterator[np.ndarray]:
    """Decode batches of files while the earlier ones are being used.

    Args:
        batches: the files of each batch.
        size: side of the decoded images in pixels.
        crop: how an oblong image becomes square.
        white: the value of grey of 16 bits that becomes white; None is 65535.
        budget: bytes that the processes and what they decoded ahead may take. One batch is
            decoded ahead however small it is.

    Yields:
        uint8 ``[n, size, size, 3]`` for each batch, in order.

    Raises:
        DataError: a file cannot be decoded, or the system ended a process.
    """
    pending: deque[list[Future[np.ndarray]]] = deque()
    room = budget - workers() * _WORKER_BYTES
    try:
        for files in batches:
            pending.append(_submit(files, size, crop, white))
            # One more than the number ahead: the oldest is handed out before more is begun.
            ahead = room // (3 * size**2 * max(1, len(files))) - 1
            while len(pending) > max(1, min(ahead, _MOST_AHEAD)):
                yield _joined(pending.popleft())
        while pending:
            yield _joined(pending.popleft())
    finally:
        for future in (future for batch in pending for future in batch):
            future.cancel()


def _submit(
    files: list[str], size: int, crop: CropRule, white: int | None
) -> list[Future[np.ndarray]]:
    # A batch is shared by all processes, the first one too, which somebody waits for.
    piece = max(1, min(_PIECE, -(-len(files) // workers())))
    parts = [files[start : start + piece] for start in range(0, len(files), piece)]
    try:
        return [_pool().submit(decode_all, part, size, crop, white) for part in parts]
    except BrokenProcessPool as error:
        raise _ended() from error


def _joined(futures: list[Future[np.ndarray]]) -> np.ndarray:
    try:
        return np.concatenate([future.result() for future in futures])
    except BrokenProcessPool as error:
        raise _ended() from error


def _ended() -> DataError:
    _pool.cache_clear()
    return DataError(
        "a process that decodes images was killed by the system",
        hint="is memory short? --cache disk decodes each image once",
    )


@cache
def _pool() -> ProcessPoolExecutor:
    """Return the processes of this process, started when they are first needed."""
    # Spawned: a fork would copy the locks of torch's threads.
    pool = ProcessPoolExecutor(
        workers(), mp_context=multiprocessing.get_context("spawn"), initializer=_begin
    )
    # A process of multiprocessing waits for its children before it ends its executors.
    Finalize(None, pool.shutdown, kwargs={"cancel_futures": True}, exitpriority=100)
    return pool


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()
