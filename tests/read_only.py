"""A folder that may be read and not written, also by tests that run as root."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_VERSION_3 = 0x20080522
_WRITES_ANYWHERE = 1 << 1
"""CAP_DAC_OVERRIDE. Root keeps CAP_DAC_READ_SEARCH: the program may lie in a private folder."""


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder unwritable, for root too: Linux lets this thread give up a capability."""
    folder.chmod(0o555)
    try:
        with _without_override() if os.geteuid() == 0 else contextlib.nullcontext():
            yield
    finally:
        folder.chmod(0o755)


@contextlib.contextmanager
def _without_override() -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; the rest likewise
    assert libc.capget(header, sets) == 0, os.strerror(ctypes.get_errno())
    sets[0] &= ~_WRITES_ANYWHERE
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        sets[0] |= _WRITES_ANYWHERE
        assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())
