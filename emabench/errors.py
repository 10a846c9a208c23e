"""Every error that emabench raises on purpose, with its hint and its exit code.

::

    EmabenchError                      exit 1
    ├── UsageError                     exit 2   the request itself is wrong
    │   ├── SpecError                           a field or its value
    │   └── UnknownNameError                    a name that nothing bears (did you mean …?)
    ├── NotFoundError                  exit 3   a store, a run, a file that is not there
    ├── DataError                      exit 1   images that cannot be read or make no data set
    ├── StoreError                     exit 1   a file that is no store, or a store out of reach
    │   ├── SchemaVersionError                  a store of another schema version
    │   ├── StoreUnreachableError               a server that is away; it may come back
    │   └── StoreLostError                      a store that was deleted while in use
    ├── CheckpointError                exit 1   a checkpoint that is truncated or foreign
    ├── WeightsError                   exit 1   weights that are gone, changed or of another model
    ├── TrainingError                  exit 1   training that cannot go on (a loss of NaN)
    ├── PluginError                    exit 1   a plugin that is broken, or takes a name of others
    │   └── MissingPluginError                  one that is not here, or in another version
    ├── EngineError                    exit 1   an engine that is not there, or takes no jobs
    ├── FencedError                    exit 1   the attempt was declared dead by somebody else
    ├── JobsFailedError                exit 4   some jobs of a grid failed
    └── GateFailedError                exit 5   a comparison missed its gate

    InterruptedRunError                exit 130 stopped by the user, resumable
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar

_SHOWN = 80
"""Characters of a wrong name that a message repeats."""


class EmabenchError(Exception):
    """The root of the tree: one line that says what and why, and a hint that says what to do.

    Attributes:
        message: the line, which ``str`` gives.
        hint: what to do about it; a traceback shows it below the line.
    """

    exit_code: ClassVar[int] = 1
    may_pass: ClassVar[bool] = True
    """Whether another attempt at the same job may go well."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint is not None:
            self.add_note(f"hint: {hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        # By default the message alone would be handed to ``__init__``, which may take others.
        return _bare, (type(self), self.message), self.__dict__


class UsageError(EmabenchError):
    """The request is wrong, whatever the state of the world."""

    exit_code = 2
    may_pass = False


class SpecError(UsageError):
    """A field of a spec is unknown or has a value that it cannot have."""


class UnknownNameError(UsageError):
    """A name that nothing bears.

    Args:
        kind: what the name should have named, for example ``"method"``.
        name: the name as it was given.
        known: the names that exist; near ones are proposed, a short list is shown whole.
        hint: in place of that.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], *, hint: str | None = None
    ) -> None:
        short = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
        super().__init__(f"unknown {kind} {short!r}", hint=hint or did_you_mean(short, known))


class NotFoundError(EmabenchError):
    """Something that was named is not there."""

    exit_code = 3


class DataError(EmabenchError):
    """Images that cannot be read, or files that do not make a data set."""


class OtherImagesError(DataError):
    """Images that are not those that a job was queued for."""

    may_pass = False


class StoreError(EmabenchError):
    """A file that is no store, or a store that cannot be reached or written."""


class SchemaVersionError(StoreError):
    """A store written with another version of the schema."""


class StoreUnreachableError(StoreError):
    """A server that cannot be reached, or that broke the connection: it may come back."""


class StoreLostError(StoreError):
    """A store that was deleted or replaced while it was in use."""


class CheckpointError(EmabenchError):
    """A checkpoint that is truncated, or that belongs to another spec."""


class WeightsError(EmabenchError):
    """Weights that cannot be read, do not fit the backbone, or are no longer those meant."""

    may_pass = False


class TrainingError(EmabenchError):
    """Training that cannot go on, for example because the loss is not finite."""

    may_pass = False


class PluginError(EmabenchError):
    """A plugin that cannot be loaded, or takes a name that is taken."""

    may_pass = False


class MissingPluginError(PluginError):
    """A plugin that is not here, or whose code is another than was used before."""


class EngineError(EmabenchError):
    """An engine that is not installed, not reached, or takes no jobs."""


class FencedError(EmabenchError):
    """This attempt was declared dead; whatever it still has to say is not wanted."""


class JobsFailedError(EmabenchError):
    """Some jobs of a grid failed; the others are done."""

    exit_code = 4


class GateFailedError(EmabenchError):
    """A comparison missed the gate that the caller had set."""

    exit_code = 5


class InterruptedRunError(EmabenchError):
    """The user stopped the run; what was finished is kept and the rest can be resumed."""

    exit_code = 130


class CautionWarning(UserWarning):
    """What must be known before a picture is believed; Python's filters of warnings choose it."""


def _bare(kind: type[EmabenchError], message: str) -> EmabenchError:
    """Return an error without what its ``__init__`` makes of other arguments."""
    error = kind.__new__(kind, message)
    error.args = (message,)
    return error


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 12) -> str:
    """Return a hint that proposes the names closest to ``name``, or lists a short set whole."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(names) <= limit:
        return f"choose one of: {', '.join(names)}"
    return f"{len(names)} names exist, for example {', '.join(names[:limit])}"


def first_line(error: Exception) -> str:
    """Return the first line of an error of somebody else's code, or what kind of error it is."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
