"""A journal: what a worker far from the store has to say of its attempt, one JSON line per word.

The worker only appends. Whoever reaches the file and the store takes the lines in (``ingest.py``),
as often as he likes: every word says how things stand, none how they change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import ConfigDict, TypeAdapter

from emabench.errors import EmabenchError, FencedError
from emabench.events import EpochProgress, Notice, PhaseProgress, StepProgress
from emabench.queue.failure import Failure
from emabench.records import Claim, CostReading, Environment, MetricPoint
from emabench.store.queue.processes import ProcessIdentity


@dataclass(frozen=True)
class Begun:
    """This process works on the attempt."""

    environment: Environment
    process: ProcessIdentity
    word: Literal["begun"] = "begun"


@dataclass(frozen=True)
class Revised:
    """The changes of numbers by ``names`` concern what the attempt makes."""

    names: tuple[str, ...]
    word: Literal["revised"] = "revised"


@dataclass(frozen=True)
class Beat:
    """The process lives; ``count`` differs from that of the beat before."""

    count: int
    progress: StepProgress | None
    word: Literal["beat"] = "beat"


@dataclass(frozen=True)
class Recorded:
    """Metrics, and what the attempt cost so far."""

    points: tuple[MetricPoint, ...]
    cost: CostReading | None
    word: Literal["recorded"] = "recorded"


@dataclass(frozen=True)
class Saved:
    """The state after a step was saved, by an attempt that was resumed or began anew."""

    step: int
    resumed: bool
    word: Literal["saved"] = "saved"


@dataclass(frozen=True)
class Finished:
    """The job is done."""

    results: dict[str, float]
    cost: CostReading
    correct: dict[str, bytes]
    word: Literal["finished"] = "finished"


@dataclass(frozen=True)
class Failed:
    """The attempt failed."""

    reason: str
    cost: CostReading | None
    retry: bool
    word: Literal["failed"] = "failed"


@dataclass(frozen=True)
class Released:
    """The attempt was interrupted in good order."""

    reason: str
    cost: CostReading | None
    word: Literal["released"] = "released"


@dataclass(frozen=True)
class Said:
    """Something for who watches, none of the store's concern."""

    event: EpochProgress | Notice | PhaseProgress | Failure
    word: Literal["said"] = "said"


Word = Begun | Revised | Beat | Recorded | Saved | Finished | Failed | Released | Said

_WORDS: TypeAdapter[Word] = TypeAdapter(
    Word,
    config=ConfigDict(
        ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants"
    ),
)


def read_words(content: bytes) -> tuple[list[Word], int]:
    """Return the complete words at the beginning of some bytes, and how many bytes they take.

    Raises:
        EmabenchError: a line is none of a journal.
    """
    end = content.rfind(b"\n") + 1
    try:
        return [_WORDS.validate_json(line) for line in content[:end].splitlines()], end
    except ValueError as error:
        raise EmabenchError(f"the journal of an attempt cannot be read: {error}") from None


class Journal:
    """The ledger of one attempt in a file that nobody else writes; use it in a ``with`` block.

    Args:
        path: of the file, which must not exist: an attempt is made once.
        superseded: tells whether the attempt is no longer its own; asked at every beat.

    Raises:
        FencedError: the file exists: somebody else works on the attempt, or did.
    """

    def __init__(self, path: Path, superseded: Callable[[], bool] = lambda: False) -> None:
        self._superseded, self._beats = superseded, 0
        try:
            self._file = path.open("xb")
        except FileExistsError:
            raise FencedError(f"somebody has started this attempt already: {path}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def begin(self, claim: Claim, environment: Environment) -> None:
        """Say that this process works on the attempt, and where."""
        self._write(Begun(environment, ProcessIdentity.of_this()))

    def revise(self, claim: Claim, names: Sequence[str]) -> None:
        """Say which changes of numbers concern what the attempt makes."""
        self._write(Revised(tuple(names)))

    def beat(self, claim: Claim, progress: StepProgress | None = None) -> None:
        """Say that the process lives, and how far it got.

        Raises:
            FencedError: the attempt is no longer this worker's.
        """
        if self._superseded():
            raise FencedError(f"attempt {claim.attempt} at job {claim.job_id} is not wanted")
        self._beats += 1
        self._write(Beat(self._beats, progress))

    def record(
        self, claim: Claim, points: Iterable[MetricPoint], cost: CostReading | None = None
    ) -> None:
        """Write metrics, and what the attempt cost so far."""
        self._write(Recorded(tuple(points), cost))

    def saved(self, claim: Claim, step: int, *, resumed: bool) -> None:
        """Say that the state after a step was saved."""
        self._write(Saved(step, resumed))

    def finish(
        self,
        claim: Claim,
        *,
        results: Mapping[str, float],
        cost: CostReading,
        correct: Mapping[str, bytes] | None = None,
    ) -> None:
        """End the job as done."""
        self._write(Finished(dict(results), cost, dict(correct or {})))

    def fail(
        self, claim: Claim, *, reason: str, cost: CostReading | None, retry: bool = False
    ) -> None:
        """End the attempt as failed."""
        self._write(Failed(reason, cost, retry))

    def release(self, claim: Claim, *, reason: str, cost: CostReading | None) -> None:
        """End the attempt, which was interrupted."""
        self._write(Released(reason, cost))

    def say(self, event: object) -> None:
        """Notify whoever watches; the heartbeat reports steps."""
        if isinstance(event, EpochProgress | Notice | PhaseProgress | Failure):
            self._write(Said(event))

    def _write(self, word: Word) -> None:
        # One call for the whole line, and on the disk, where other hosts see it.
        self._file.write(_WORDS.dump_json(word) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
