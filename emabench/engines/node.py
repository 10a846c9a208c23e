"""What an engine runs on a node for one attempt: a process of its own for the job, watched over.

It imports no torch: the job's process does, with the threads that its run was resolved for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping

from emabench.artifacts.layout import LOG, attempt_folder
from emabench.engines.exchange import NOW, Exchange, Sender
from emabench.engines.ticket import Ticket, needed_files
from emabench.errors import EngineError
from emabench.version import __version__

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Slurm signals a job before its time is up, and every process of it when it is cancelled."""
_POLL_SECONDS = 0.5
_SEND_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def make_attempt(ticket: str, asked: Callable[[], bool] = lambda: False) -> int:
    """Make an attempt; return the exit code of its process, negative for a signal that killed it.

    Args:
        ticket: of ``Ticket.write``.
        asked: whether to stop, as far as this machine knows.

    Raises:
        EngineError: this machine cannot make it; the process was not started.
    """
    order = Ticket.read(ticket)
    if order.version != __version__:
        raise EngineError(
            f"this machine has emabench {__version__}, the driver {order.version}",
            hint="install the same version everywhere",
        )
    claim = order.claim
    exchange = Exchange(order.artifacts)
    with exchange.workspace(claim.job_id, claim.attempt, needed_files(claim)) as root:
        folder = attempt_folder(root, claim.job_id, claim.attempt)
        sender = None if exchange.is_shared else exchange.sender(root, claim.job_id, claim.attempt)
        with (folder / LOG).open("ab") as log, _signals_held_back():
            process = subprocess.Popen(
                [sys.executable, "-m", "emabench.engines.job", str(root)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(order.settings, order.threads),
                start_new_session=True,
            )
        try:
            _hand_over(process, ticket)
            _watch(
                process, lambda: exchange.asked_to_stop(claim.job_id, claim.attempt), asked, sender
            )
        finally:
            _end(process)
            if sender is not None:
                sender.send()
    return process.returncode


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let what starts inside get no wish to stop before it can hear it; see ``job.py``."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _environment(settings: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return the variables of the job's process: what this machine says itself goes first."""
    return {**settings, **os.environ, **dict.fromkeys(_THREADS, str(threads))}


def _hand_over(process: subprocess.Popen[bytes], ticket: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(ticket.encode() + b"\n")
        process.stdin.flush()


def _watch(
    process: subprocess.Popen[bytes],
    word: Callable[[], str],
    asked: Callable[[], bool],
    sender: Sender | None,
) -> None:
    """Wait for the end of the process, pass on what it is asked, and send what it has written."""
    sent_at = time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_SECONDS)
            return
        how = word()
        if how == NOW:
            return
        if how or asked():
            _ask_to_stop(process)
        if sender is not None and time.monotonic() - sent_at > _SEND_SECONDS:
            sender.send()
            sent_at = time.monotonic()


def _ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe: the job reads its end as the wish for an orderly one."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing behind, however this came about."""
    error = sys.exc_info()[1]
    if process.poll() is None and error is not None:
        _ask_to_stop(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _ask_to_stop(process)
