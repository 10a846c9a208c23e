"""Ctrl-C and SIGTERM: the first asks for an orderly stop, the second stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_NOTE = "stopping at the next step; press Ctrl-C again to stop at once\n"


class StopRequest:
    """Whether the user asked to stop; to be called by who can stop in good order.

    As a context manager it takes signals over, and gives them back at the end. Python hands signals
    to the main thread alone: in any other one it asks to stop as soon as the main thread has ended.

    Args:
        signals: those that ask; SIGINT and SIGTERM unless given.
    """

    def __init__(self, *signals: signal.Signals) -> None:
        self._signals = signals or (signal.SIGINT, signal.SIGTERM)
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether to stop at the next good moment."""
        return self._asked or not threading.main_thread().is_alive()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in self._signals}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # None is a handler that Python does not know: a program that embeds it has its own.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            for each in self._signals:  # what is still to be done must not be interrupted again
                signal.signal(each, signal.SIG_IGN)
            raise KeyboardInterrupt
        self._asked = True
        # A handler may interrupt a write to stderr: the buffered stream refuses a second writer.
        with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _NOTE.encode())
