"""What is reported while runs are executed: frozen, picklable, for whoever shows or records it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from emabench.records import Claim, JobState, PlannedRun, QueuedRun


@dataclass(frozen=True)
class RunStarted:
    """A run of a grid begins, or is found finished."""

    plan: PlannedRun
    run: QueuedRun
    index: int
    total: int


@dataclass(frozen=True)
class PhaseProgress:
    """A phase other than training moves on; ``done`` of ``total`` units where they are known."""

    phase: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class StepProgress:
    """Training moved on to ``step`` of ``total_steps``."""

    step: int
    total_steps: int
    epoch: int
    epochs: int
    steps_per_epoch: int
    loss: float
    images_per_second: float


@dataclass(frozen=True)
class EpochProgress:
    """An epoch (counted from 1) ended; ``online_top1`` in percent where a probe ran."""

    epoch: int
    epochs: int
    loss: float
    online_top1: float | None
    images_per_second: float | None


@dataclass(frozen=True)
class CheckpointSaved:
    """The state after ``step`` was saved, by an attempt that was ``resumed`` or began anew."""

    step: int
    resumed: bool


@dataclass(frozen=True)
class RevisionsFound:
    """The changes of numbers by ``names`` concern what is computed now."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Notice:
    """Something the user should read."""

    message: str


@dataclass(frozen=True)
class RunFinished:
    """A run of a grid ended: done, failed, or stopped (queued again)."""

    run: QueuedRun
    state: JobState
    reason: str | None = None
    hint: str | None = None


@dataclass(frozen=True)
class JobStarted:
    """A process begins an attempt at a job."""

    claim: Claim
    device: str | None
    log: str
    """Path of the attempt's log."""


@dataclass(frozen=True)
class JobProgress:
    """Something happened in the process of a job."""

    claim: Claim
    event: PhaseProgress | StepProgress | EpochProgress | Notice


@dataclass(frozen=True)
class JobEnded:
    """An attempt ended; ``state`` is what its job came to, ``queued`` where another one follows."""

    claim: Claim
    state: JobState
    reason: str | None = None
    hint: str | None = None


Event = (
    RunStarted
    | PhaseProgress
    | StepProgress
    | EpochProgress
    | CheckpointSaved
    | RevisionsFound
    | Notice
    | RunFinished
    | JobStarted
    | JobProgress
    | JobEnded
)
"""What happens while runs are executed."""
Listener = Callable[[Event], None]
"""Told of every event as it happens, by the thread that works, which waits for it.

It passes over what it does not show, is quick, and does not raise: that would end the work.
"""
