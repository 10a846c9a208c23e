"""Which process works on an attempt, and whether it still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

import psutil

_SAME_START_SECONDS = 5.0
"""Two readings of one process differ by less; a pid is not given away again that soon."""


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from a later one that has the same pid."""

    host: str
    pid: int
    started: float | None
    """Seconds after the boot of the host, which no change of its clock moves; None is unknown."""

    @classmethod
    def of_this(cls) -> ProcessIdentity:
        """Return the identity of the process that asks."""
        process, started = _look_at(os.getpid())
        return cls(socket.gethostname(), process.pid, started)

    def is_gone(self) -> bool:
        """Whether the process, of this host, ended; a zombie has ended too.

        A process that cannot be looked at counts as alive: to declare it dead would be worse.
        """
        try:
            process, started = _look_at(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False
        return self.started is not None and abs(started - self.started) > _SAME_START_SECONDS


def _look_at(pid: int) -> tuple[psutil.Process, float]:
    """Return a process and when it began, in seconds after the boot: a clock that nobody sets."""
    # psutil adds the moment of the boot, which moves when the clock of the host is set. It is read
    # first, since an older psutil goes on with what it read last.
    booted = psutil.boot_time()
    process = psutil.Process(pid)
    return process, process.create_time() - booted
