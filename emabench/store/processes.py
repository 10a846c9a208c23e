"""Which process works on an attempt, and whether it still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

import psutil

_SAME_START_SECONDS = 5.0
"""Two readings of one process differ by less, even after the clock was adjusted a little; a pid
is not given away again that soon."""


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from a later one that has the same pid."""

    host: str
    pid: int
    started: float | None
    """Unix time in seconds; None is unknown."""

    @classmethod
    def of_this(cls) -> ProcessIdentity:
        """Return the identity of the process that asks."""
        process = psutil.Process(os.getpid())
        return cls(socket.gethostname(), process.pid, process.create_time())

    def is_gone(self) -> bool:
        """Whether the process, of this host, ended; a zombie has ended too.

        A process that cannot be looked at counts as alive: to declare it dead would be worse.
        """
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            started = process.create_time()
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False
        return self.started is not None and abs(started - self.started) > _SAME_START_SECONDS
