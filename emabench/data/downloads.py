"""Whether data sets may be fetched: only if the user says so, which no spec, store or default can.

The environment carries it, also into the processes of jobs: ``EMABENCH_DOWNLOAD``, which
``--download`` sets.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

DOWNLOAD_VARIABLE = "EMABENCH_DOWNLOAD"
_TRUE = ("1", "true", "t", "yes", "y", "on")
_STALL_SECONDS = 30.0


def may_download() -> bool:
    """Return whether the user allows it; the words are those of a flag's variable."""
    return os.environ.get(DOWNLOAD_VARIABLE, "").strip().lower() in _TRUE


@contextlib.contextmanager
def network_stalls_raise() -> Iterator[None]:
    """Give downloads a time limit without data; torchvision sets none."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
