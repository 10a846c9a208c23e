"""Why an attempt went wrong, for the user who watches."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """What went wrong; plain words cross processes and hosts.

    Attributes:
        message: what went wrong.
        hint: what to do about it.
        store_failed: whether the store itself failed, so that nothing more can be recorded.
        lacks_plugin: whether a plugin of the job is not there, so that the job is left to others.
    """

    message: str
    hint: str | None = None
    store_failed: bool = False
    lacks_plugin: bool = False


def cause_of_death(code: int | None) -> str:
    """Return the reason for an attempt whose process ended without a word.

    Args:
        code: its exit code; negative is the signal that killed it.
    """
    if code is None or code >= 0:
        return f"its process ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
