"""A job in a process of its own: it leads a process group, writes a log, and reports events.

The processes are forked from a server that has imported torch already, so that one starts in
milliseconds; where the system cannot fork, each starts from nothing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import spawn
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from emabench.errors import EmabenchError, StoreError
from emabench.events import Event
from emabench.queue.attempt import begin_log, log_to_stderr, make, say
from emabench.queue.failure import Failure, cause_of_death
from emabench.queue.patience import patient, patiently
from emabench.queue.submission import Task
from emabench.records import RunningAttempt
from emabench.store.run_store import RunStore

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_CONTEXT: Any = multiprocessing.get_context(_METHOD)
_STARTING = threading.Lock()


def prepare() -> None:
    """Start the server that jobs are forked from, so that it loads while the caller goes on."""
    if _METHOD == "forkserver":
        from multiprocessing import forkserver

        _CONTEXT.set_forkserver_preload(["emabench.queue.process"])
        forkserver.ensure_running()


def _start(process: Any) -> None:
    """Start a process that does not run the script of the user once more, as others do by default.

    It would need ``if __name__ == "__main__"`` around all that the script does, and what a job
    needs is never defined there.
    """

    def without_main(name: str) -> dict[str, Any]:
        data: dict[str, Any] = prepared(name)
        mine = name == process.name
        return {k: v for k, v in data.items() if not (mine and k.startswith("init_main"))}

    with _STARTING:
        prepared = spawn.get_preparation_data
        spawn.get_preparation_data = without_main
        try:
            process.start()
        finally:
            spawn.get_preparation_data = prepared


class Processes:
    """The engine of this machine: a process for each attempt, which writes the store itself."""

    def submit(self, task: Task) -> JobProcess:
        """Start the process of an attempt.

        Raises:
            CheckpointError: the folder of the attempt cannot be written.
        """
        return JobProcess(task)

    def batch(self) -> AbstractContextManager[None]:
        """Nothing is gained by starting several processes together."""
        return nullcontext()

    def look_after(self, others: Sequence[RunningAttempt], root: Path) -> None:
        """Leave them alone: the processes of other supervisors write the store themselves."""


class JobProcess:
    """The process of one attempt, as its supervisor sees it.

    Args:
        task: what to do; its log is begun before the process is.

    Raises:
        CheckpointError: the folder of the attempt cannot be written.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.failure: Failure | None = None
        begin_log(task)
        prepare()
        self._connection, theirs = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_main, args=(task, theirs), name=task.claim.job_id)
        _start(self._process)
        theirs.close()

    @property
    def waitables(self) -> list[Any]:
        """What becomes ready when the process says something or ends."""
        return [self._connection, self._process.sentinel]

    @property
    def pid(self) -> int:
        """Id of the process, and of its group."""
        return int(self._process.pid)

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.exitcode is not None

    @property
    def cause_of_death(self) -> str:
        """Its exit code, or the signal that killed it, in words."""
        return cause_of_death(self._process.exitcode)

    def events(self) -> Iterator[Event]:
        """Yield what the process has said since the last call, without waiting."""
        with contextlib.suppress(EOFError, OSError):
            while self._connection.poll():
                said = self._connection.recv()
                if isinstance(said, Failure):
                    self.failure = said
                else:
                    yield said

    def ask_to_stop(self) -> None:
        """Ask for a checkpoint and an orderly end."""
        self._signal(os.kill, signal.SIGTERM)

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        if hasattr(os, "killpg"):
            self._signal(os.killpg, signal.SIGKILL)
        self._process.kill()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, and return whether it came."""
        self._process.join(timeout)
        return self.has_ended

    def close(self) -> None:
        """Give up what belongs to a process that ended."""
        self._connection.close()
        self._process.close()

    def _signal(self, send: Any, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(self.pid, number)


class _StopSignal:
    """SIGTERM asks the job to stop in good order; a second one stops it at once."""

    def __init__(self) -> None:
        self._asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's

    def __call__(self) -> bool:
        return self._asked or _is_orphan()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True


def _is_orphan() -> bool:
    """Whether the supervisor is gone; then nobody would end this process any more."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _main(task: Task, connection: Connection) -> None:
    """Work on the job; what cannot be said through the store is said through the connection."""
    if hasattr(os, "setsid"):
        os.setsid()
    with task.log.open("a", encoding="utf-8", buffering=1) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    log_to_stderr()
    os.environ.update(task.settings)
    stop = _StopSignal()
    failure = _work(task, _Sender(connection), stop)
    if failure is not None:
        say(f"error: {failure.message}")
        _Sender(connection)(failure)
    connection.close()


def _work(task: Task, send: _Sender, stop: _StopSignal) -> Failure | None:
    try:
        opened = patiently(lambda: RunStore.open(task.store, mode="write"), stop=stop)
        with opened as store:
            queue = patient(store, stop=stop).queue
            return make(queue, task.claim, task.place, tell=send, stop=stop)
    except EmabenchError as error:
        return Failure(error.message, error.hint, isinstance(error, StoreError))


class _Sender:
    """Sends to the supervisor; one that is gone, or too slow to listen, is nobody's concern."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def __call__(self, said: Any) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._connection.send(said)
