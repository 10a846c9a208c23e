"""Shows what a worker does: a bar for each running job on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from emabench.events import (
    Event,
    JobEnded,
    JobProgress,
    JobStarted,
    Notice,
    PhaseProgress,
    StepProgress,
)
from emabench.records import Claim, JobState
from emabench.report.tables.queue_table import what

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task, TaskID

Listener = Callable[[Event], None]


@contextmanager
def work_listener(console: Console) -> Iterator[Listener]:
    """Listen to the events of a worker, and show them on a console until the block ends."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield _lines(console)
        return
    with _progress(console) as progress:
        yield WorkBars(progress)


def sentence(event: Event) -> str | None:
    """Return the line that says what happened; None where a line would be too much."""
    if isinstance(event, JobStarted):
        where = f" on {event.device}" if event.device else ""
        return f"{_title(event.claim)} starts{where}, attempt {event.claim.attempt}: {event.log}"
    if isinstance(event, JobEnded):
        return _ended(event)
    if isinstance(event, Notice):
        return f"note: {event.message}"
    if isinstance(event, JobProgress) and isinstance(event.event, Notice):
        return f"{_title(event.claim)}: {event.event.message}"
    return None


class WorkBars:
    """A bar for each running job; what starts, ends or deserves a note is printed above them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, JobStarted):
            title = _title(event.claim)
            self._tasks[event.claim.job_id] = self._progress.add_task(title, total=None, figures="")
        elif isinstance(event, JobProgress) and event.claim.job_id in self._tasks:
            self._move(self._tasks[event.claim.job_id], event.event)
        elif isinstance(event, JobEnded) and event.claim.job_id in self._tasks:
            self._progress.remove_task(self._tasks.pop(event.claim.job_id))
        if (text := sentence(event)) is not None:
            self._progress.console.print(text)

    @property
    def tasks(self) -> list[Task]:
        """The bars that stand there now, from top to bottom."""
        return list(self._progress.tasks)

    def _move(self, task: TaskID, event: Event) -> None:
        if isinstance(event, StepProgress):
            figures = f"loss {event.loss:.4f}  {event.images_per_second:,.0f} images/s"
            self._progress.update(
                task, completed=event.step, total=event.total_steps, figures=figures
            )
        elif isinstance(event, PhaseProgress):
            self._progress.update(
                task, completed=event.done or 0, total=event.total, figures=event.phase
            )


def _lines(console: Console) -> Listener:
    def show(event: Event) -> None:
        if (text := sentence(event)) is not None:
            console.print(text)

    return show


def _title(claim: Claim) -> str:
    return f"{claim.kind} {claim.job_id} ({what(claim.spec)})"


def _ended(event: JobEnded) -> str:
    reason = "" if event.reason is None else f": {event.reason}"
    if event.state is JobState.QUEUED:
        return f"{_title(event.claim)} is queued again{reason}"
    return f"{_title(event.claim)} {event.state}{reason}"


def _progress(console: Console) -> Any:
    from rich import progress

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=24),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[figures]}"),
        console=console,
        transient=True,
    )
