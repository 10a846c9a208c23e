"""Patience with a database server that goes away for a while: wait, connect again, go on.

Every method of a store is one transaction, so that it can be called again. Where the answer to a
commit was lost, the second call finds its work done: it overwrites the same points, or finds the
attempt ended and is fenced; a claim that nobody heard of is given up with its heartbeat.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from emabench.errors import StoreUnreachableError
from emabench.store.run_store import RunStore

_log = logging.getLogger(__name__)

PATIENCE_SECONDS = 600.0
"""A server that is away for longer ends the worker."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 10.0
"""Seconds; every pause is twice as long as the one before."""
_STEP = 0.25
"""Seconds between two looks at whether to stop."""
Result = TypeVar("Result")


def patiently(
    do: Callable[[], Result],
    *,
    stop: Callable[[], bool],
    seconds: float = PATIENCE_SECONDS,
    say: Callable[[str], None] = _log.warning,
) -> Result:
    """Return what a call gives, called again while the server of the store is out of reach.

    Args:
        do: what to do; one transaction, or the opening of a store.
        stop: asked often whether to wait no longer.
        seconds: how long to wait at most.
        say: called once when it waits, and once when it goes on.

    Raises:
        StoreUnreachableError: the server did not come back.
    """
    start, pause, waited = time.monotonic(), _FIRST_PAUSE, False
    while True:
        try:
            result = do()
        except StoreUnreachableError as error:
            if stop() or time.monotonic() - start > seconds:
                raise
            if not waited:
                say(f"{error.message}; waiting for it")
        else:
            if waited:
                say("the store is back")
            return result
        waited = True
        until = time.monotonic() + pause
        while time.monotonic() < until and not stop():
            time.sleep(min(_STEP, pause))
        pause = min(2 * pause, _LONGEST_PAUSE)


def patient(
    store: RunStore, *, stop: Callable[[], bool], say: Callable[[str], None] = _log.warning
) -> RunStore:
    """Return a store whose methods, and those of its queue, are called patiently."""
    return cast(RunStore, _Patient(store, functools.partial(patiently, stop=stop, say=say)))


class _Patient:
    def __init__(self, subject: Any, call: Callable[[Callable[[], Any]], Any]) -> None:
        self._subject, self._call = subject, call

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._subject, name)
        if name == "queue":
            return _Patient(value, self._call)
        if not callable(value):
            return value

        @functools.wraps(value)
        def patient_method(*args: Any, **named: Any) -> Any:
            return self._call(lambda: value(*args, **named))

        return patient_method
