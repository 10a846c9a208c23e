"""Which process works on an attempt, and whether it still lives."""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from emabench.store.schema.tables import PLACE_MARK, host_name

_SAME_START_SECONDS = 5.0
"""Two readings of one process differ by less; a pid is not given away again that soon."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from a later one that has the same pid, and from those elsewhere."""

    host: str
    """Its name, and a mark of its boot and of the PID namespace: two containers may have one name.
    A store of before has the name alone."""
    pid: int
    started: float | None
    """Seconds after the boot of the host, which no change of its clock moves; None is unknown."""

    @classmethod
    def of_this(cls) -> ProcessIdentity:
        """Return the identity of the process that asks."""
        process, started = _look_at(os.getpid())
        return cls(_here(), process.pid, started)

    def is_gone(self) -> bool:
        """Whether the process ended; a zombie has ended too.

        A process that cannot be looked at from here counts as alive: to declare it dead would be
        worse, and its heartbeat tells.
        """
        here = _here()
        if self.host != (here if PLACE_MARK in self.host else host_name(here)):
            return False
        try:
            process, started = _look_at(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False
        return self.started is not None and abs(started - self.started) > _SAME_START_SECONDS


def _here() -> str:
    mark = _mark()
    return f"{socket.gethostname()}{PLACE_MARK}{mark}" if mark else socket.gethostname()


@cache
def _mark() -> str:
    """Return what tells this boot and PID namespace from others; empty where nothing does."""
    try:
        seen = f"{_BOOT_ID.read_text('ascii')} {_PID_NAMESPACE.readlink()}"
    except OSError:
        return ""
    return hashlib.sha256(seen.encode()).hexdigest()[:12]


def _look_at(pid: int) -> tuple[psutil.Process, float]:
    """Return a process and when it began, in seconds after the boot: a clock that nobody sets."""
    # psutil adds the moment of the boot, which moves when the clock of the host is set. It is read
    # first, since an older psutil goes on with what it read last.
    booted = psutil.boot_time()
    process = psutil.Process(pid)
    return process, process.create_time() - booted
