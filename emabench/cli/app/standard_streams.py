"""Standard streams that can be written to, whoever started the program, and fail in plain words."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from emabench.errors import EmabenchError


def open_streams() -> None:
    """Let closed streams (``>&-``) lead to nowhere, and have a full disk said in one line."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # It takes the lowest free number. A store that got it would be written to by whatever
            # a library prints.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stdout = _text(_Data(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Notes(2, "w", closefd=False), sys.stderr)


def leave_output() -> None:
    """Send to nowhere what Python would still write to stdout at its end, and complain about."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class OutputError(EmabenchError):
    """Data that stdout does not take, for example because a disk is full."""


class _Data(io.FileIO):
    """The stream of data: what cannot be written ends the command."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(
                f"cannot write the output: {error.strerror}",
                hint="what the command changed in the store stays; only its output is lost",
            ) from None


class _Notes(io.FileIO):
    """The stream of notes: what cannot be written is dropped, since no note is worth a run."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


def _text(raw: io.FileIO, before: TextIO | None) -> TextIO:
    at_once = raw.isatty() or isinstance(raw, _Notes) or getattr(before, "write_through", False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if before is None else before.encoding,
        errors="backslashreplace",
        line_buffering=at_once,
    )
