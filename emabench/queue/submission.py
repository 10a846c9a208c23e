"""The contract of an engine: it is handed attempts, and says what becomes of each.

A supervisor knows nothing else of where its jobs run. ``process.py`` is the engine of this machine;
``emabench.engines`` has those of clusters. One suite, ``tests/contract/test_engines.py``, holds for
all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from emabench.artifacts.layout import LOG, attempt_folder
from emabench.queue.failure import Failure
from emabench.queue.worker import Workplace
from emabench.records import Claim, RunningAttempt


@dataclass(frozen=True)
class Task:
    """What whoever works on an attempt needs to know.

    Attributes:
        claim: the attempt.
        store: location of the store.
        place: where to work.
        settings: environment variables.
    """

    claim: Claim
    store: str
    place: Workplace
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """The log of the attempt."""
        claim = self.claim
        return attempt_folder(self.place.artifacts, claim.job_id, claim.attempt) / LOG


class Submission(Protocol):
    """One attempt in the hands of an engine."""

    @property
    def task(self) -> Task:
        """What was submitted; its log exists."""

    @property
    def failure(self) -> Failure | None:
        """Why the attempt went wrong, as far as ``events`` has said so."""

    @property
    def waitables(self) -> Sequence[Any]:
        """What becomes ready when there is news, for ``multiprocessing.connection.wait``."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing works on the attempt any more, as far as the engine knows."""

    @property
    def cause_of_death(self) -> str:
        """The reason, for an attempt that ended without a word."""

    def events(self) -> Iterator[Any]:
        """Yield what was said since the last call, without waiting; all of it after the end."""

    def ask_to_stop(self) -> None:
        """Ask for a checkpoint and an orderly end; withdraw what has not begun."""

    def kill(self) -> None:
        """End it and all that it started, at once."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end, and return whether it came."""

    def close(self) -> None:
        """Give up what belongs to an attempt that ended; its files are where others find them."""


class Engine(Protocol):
    """Hands attempts to who works on them."""

    def submit(self, task: Task) -> Submission:
        """Take an attempt over.

        Raises:
            EngineError: the engine takes nothing at all.
            EmabenchError: the attempt cannot be begun.
        """

    def batch(self) -> AbstractContextManager[Any]:
        """What is submitted inside the block may go out together, at its end.

        Raises:
            EngineError: at the end: the engine takes nothing.
        """

    def look_after(self, others: Sequence[RunningAttempt], root: Path) -> None:
        """Take in what running attempts that another supervisor had submitted have to say.

        Args:
            others: the attempts.
            root: folder of this machine for artefacts, for the files of those that have ended.
        """
