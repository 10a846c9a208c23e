"""``python -m emabench.engines.job FOLDER``: the process of a job on a node.

It reads its ticket from stdin, and takes the end of stdin for the wish to stop: so it also learns
of the death of who started it. What it has to say goes into a journal.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from emabench.artifacts.layout import JOURNAL, attempt_folder, attempt_folders, attempt_number
from emabench.engines.node import STOP_SIGNALS
from emabench.engines.ticket import Ticket
from emabench.queue.attempt import log_to_stderr, make, say
from emabench.queue.failure import Failure
from emabench.queue.journal import Journal
from emabench.queue.worker import Workplace

_PATIENCE_SECONDS = 60.0
_LOCK_SECONDS = 120.0


class _StopWish:
    """Whether the job is to stop: a signal asked for it, or stdin has ended."""

    def __init__(self) -> None:
        self._asked = False
        for number in STOP_SIGNALS:
            signal.signal(number, self._ask)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # held back until now
        threading.Thread(target=self._await_end, name="stdin", daemon=True).start()

    def __call__(self) -> bool:
        return self._asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def _await_end(self) -> None:
        while os.read(0, 4096):
            pass
        self._asked = True
        time.sleep(_PATIENCE_SECONDS)  # nobody else may be left to end what does not stop
        os.killpg(0, signal.SIGKILL)


def main(root: Path) -> None:
    """Make the attempt of the ticket on stdin, in a folder of artefacts."""
    log_to_stderr()
    ticket = Ticket.read(_first_line())
    claim = ticket.claim
    stop = _StopWish()
    place = Workplace(root, ticket.device, ticket.keep, ticket.heartbeat_s)
    folder = attempt_folder(root, claim.job_id, claim.attempt)

    superseded = partial(is_superseded, root, claim.job_id, claim.attempt)
    with Journal(folder / JOURNAL, superseded) as journal:
        try:
            # An earlier attempt that was given up may not know it yet.
            with FileLock(folder.parent / "lock", timeout=_LOCK_SECONDS):
                failure = make(journal, claim, place, tell=journal.say, stop=stop)
        except Timeout:
            failure = Failure(f"an earlier attempt at job {claim.job_id} has not ended")
            journal.fail(claim, reason=failure.message, cost=None, retry=True)
        if failure is not None:
            say(f"error: {failure.message}")
            journal.say(failure)


def is_superseded(root: Path, job_id: str, attempt: int) -> bool:
    """Whether a newer attempt has a folder, or the job has none any more: it was removed."""
    folders = attempt_folders(root, job_id)
    return not folders or attempt_number(folders[0]) > attempt


def _first_line() -> str:
    """Read one line from stdin and nothing beyond it: its end is awaited elsewhere."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 65536)
        if not piece:
            raise SystemExit("there is no ticket on stdin")
        line += piece
    return line.decode()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
