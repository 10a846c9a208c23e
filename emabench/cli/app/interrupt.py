"""Ctrl-C and SIGTERM: the first asks for an orderly stop, the second stops at once."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Any, Self

_NOTE = "stopping at the next step; press Ctrl-C again to stop at once\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether the user asked to stop; to be called by who can stop in good order.

    As a context manager it takes over SIGINT and SIGTERM, and gives them back at the end.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether to stop at the next good moment."""
        return self._asked

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            for each in _SIGNALS:  # what is still to be done must not be interrupted again
                signal.signal(each, signal.SIG_IGN)
            raise KeyboardInterrupt
        self._asked = True
        # A handler may interrupt a write to stderr: the buffered stream refuses a second writer.
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _NOTE.encode())
