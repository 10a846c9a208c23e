"""A folder that may be read and not written, also by tests that run as root."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder unwritable, for root too: Linux checks files against another user's id."""
    folder.chmod(0o555)
    libc = ctypes.CDLL(None)
    if os.geteuid() == 0:
        libc.setfsuid(65534)
    try:
        yield
    finally:
        if os.geteuid() == 0:
            libc.setfsuid(0)
        folder.chmod(0o755)
