"""A job in a process of its own: it leads a process group, writes a log, and reports events.

The processes are forked from a server that has imported torch already, so that one starts in
milliseconds; where the system cannot fork, each starts from nothing.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from emabench.artifacts import LOG, attempt_folder
from emabench.errors import (
    CheckpointError,
    EmabenchError,
    FencedError,
    InterruptedRunError,
    StoreError,
)
from emabench.queue.narration import Narrator
from emabench.queue.worker import Workplace, work
from emabench.records import Claim, Event
from emabench.store.run_store import RunStore

_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_CONTEXT: Any = multiprocessing.get_context(_METHOD)


def prepare() -> None:
    """Start the server that jobs are forked from, so that it loads while the caller goes on."""
    if _METHOD == "forkserver":
        from multiprocessing import forkserver

        _CONTEXT.set_forkserver_preload(["emabench.queue.process"])
        forkserver.ensure_running()


@dataclass(frozen=True)
class Trouble:
    """Why an attempt went wrong, for the user who watches; plain words cross the process.

    Attributes:
        message: what went wrong.
        hint: what to do about it.
        store_failed: whether the store itself failed, so that nothing more can be recorded.
    """

    message: str
    hint: str | None = None
    store_failed: bool = False


@dataclass(frozen=True)
class Task:
    """What the process of a job needs to know.

    Attributes:
        claim: the attempt.
        store: location of the store.
        place: where to work.
        settings: environment variables.
    """

    claim: Claim
    store: str
    place: Workplace
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """The log of the attempt."""
        claim = self.claim
        return attempt_folder(self.place.artifacts, claim.job_id, claim.attempt) / LOG


class JobProcess:
    """The process of one attempt, as its supervisor sees it.

    Args:
        task: what to do; its log is begun before the process is.

    Raises:
        CheckpointError: the folder of the attempt cannot be written.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.trouble: Trouble | None = None
        _begin_log(task)
        prepare()
        self._connection, theirs = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_main, args=(task, theirs), name=task.claim.job_id)
        self._process.start()
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
    def exitcode(self) -> int | None:
        """None while it runs; negative: the signal that killed it."""
        code: int | None = self._process.exitcode
        return code

    def events(self) -> Iterator[Event]:
        """Yield what the process has said since the last call, without waiting."""
        with contextlib.suppress(EOFError, OSError):
            while self._connection.poll():
                said = self._connection.recv()
                if isinstance(said, Trouble):
                    self.trouble = said
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
        return self._process.exitcode is not None

    def close(self) -> None:
        """Give up what belongs to a process that ended."""
        self._connection.close()
        self._process.close()

    def _signal(self, send: Any, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            send(self.pid, number)


def _begin_log(task: Task) -> None:
    claim = task.claim
    line = f"{claim.kind} {claim.job_id}, attempt {claim.attempt}, on {task.place.device or 'auto'}"
    try:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with task.log.open("a", encoding="utf-8") as file:
            file.write(f"{_stamp()} {line}\n")
    except OSError as error:
        raise CheckpointError(
            f"cannot write to the folder of artifacts {task.place.artifacts}: {error.strerror}",
            hint="choose another one with --artifacts",
        ) from None


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
    sys.stdout = sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s", force=True)
    os.environ.update(task.settings)
    stop = _StopSignal()
    trouble = _work(task, _Sender(connection), stop)
    if trouble is not None:
        _say(f"error: {trouble.message}")
        _Sender(connection)(trouble)
    connection.close()


def _work(task: Task, send: _Sender, stop: _StopSignal) -> Trouble | None:
    narrate = Narrator(_say)

    def on_event(event: Event) -> None:
        narrate(event)
        send(event)

    try:
        with RunStore.open(task.store, mode="write") as store:
            work(store, task.claim, task.place, on_event=on_event, stop=stop)
    except FencedError as error:
        _say(f"stopped: {error.message}")
    except (InterruptedRunError, KeyboardInterrupt) as error:
        _say(f"{error or 'stopped at once'}; queued again")
    except EmabenchError as error:
        return Trouble(error.message, error.hint, isinstance(error, StoreError))
    except Exception as error:
        return Trouble(f"{type(error).__name__}: {error}")
    else:
        _say("done")
    return None


class _Sender:
    """Sends to the supervisor; one that is gone, or too slow to listen, is nobody's concern."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def __call__(self, said: Any) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._connection.send(said)


def _say(text: str) -> None:
    print(f"{_stamp()} {text}", file=sys.stderr, flush=True)  # noqa: T201


def _stamp() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
