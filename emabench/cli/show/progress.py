"""Shows what happens while runs are executed: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from emabench.events import (
    EpochProgress,
    Event,
    JobEnded,
    JobProgress,
    JobStarted,
    Listener,
    Notice,
    PhaseProgress,
    RunFinished,
    RunStarted,
    StepProgress,
)
from emabench.queue.event_lines import Narrator
from emabench.records import Claim, JobKind, JobState
from emabench.report.tables.queue_table import what
from emabench.spec.paths import SHORT_NAMES, value_at
from emabench.table import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task, TaskID


def listener(console: Console) -> AbstractContextManager[Listener]:
    """Listen to the events of runs, and show them on a console until the block ends."""
    return _shown(console, Bars, width=30)


def work_listener(console: Console) -> AbstractContextManager[Listener]:
    """Listen to the events of a worker, and show them on a console until the block ends."""
    return _shown(console, WorkBars, width=24)


class Lines:
    """Plain lines: one for what starts or ends, each phase and epoch; all of them stay written."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._narrate = Narrator(console.print)

    def __call__(self, event: Event) -> None:
        """Show one event, if it is worth a line."""
        self._narrate(event)
        if not isinstance(event, Notice) and (text := sentence(event)) is not None:
            self._console.print(text)


class Bars:
    """A bar for all epochs, one for the steps of this one, or one for any other phase."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._top1 = ""

    def __call__(self, event: Event) -> None:
        """Show one event: move a bar, or print a line above them."""
        if isinstance(event, PhaseProgress):
            self._keep(event.phase)
            self._move(event.phase, event.phase, event.done, event.total)
        elif isinstance(event, StepProgress):
            self._keep("epoch", "step")
            in_epoch = (event.step - 1) % max(1, event.steps_per_epoch) + 1
            epoch = f"epoch {event.epoch}/{event.epochs}"
            self._move("epoch", epoch, event.step, event.total_steps, _figures(event, self._top1))
            self._move("step", "step", in_epoch, event.steps_per_epoch)
        elif isinstance(event, EpochProgress) and event.online_top1 is not None:
            self._top1 = f"  online top-1 {event.online_top1:.1f} %"
        elif isinstance(event, RunStarted | RunFinished):
            self._keep()
            self._top1 = ""
        self._say(event)

    @property
    def tasks(self) -> list[Task]:
        """The bars that stand there now, from top to bottom."""
        return list(self._progress.tasks)

    def _say(self, event: Event) -> None:
        if (text := sentence(event)) is not None:
            self._progress.console.print(text)

    def _move(
        self, name: str, label: str, done: int | None, total: int | None, figures: str = ""
    ) -> None:
        label = visible(label)
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(label, total=total, figures=figures)
        self._progress.update(
            self._tasks[name], description=label, completed=done, total=total, figures=figures
        )

    def _keep(self, *names: str) -> None:
        for name in set(self._tasks) - set(names):
            self._progress.remove_task(self._tasks.pop(name))


class WorkBars(Bars):
    """A bar for each running job; what starts, ends or deserves a note is printed above them."""

    def __call__(self, event: Event) -> None:
        """Show one event: move the bar of its job, or print a line above them."""
        if isinstance(event, JobStarted):
            self._move(event.claim.job_id, _title(event.claim), None, None)
        elif isinstance(event, JobProgress) and (job := event.claim.job_id) in self._tasks:
            title, inner = _title(event.claim), event.event
            if isinstance(inner, StepProgress):
                self._move(job, title, inner.step, inner.total_steps, _figures(inner))
            elif isinstance(inner, PhaseProgress):
                self._move(job, title, inner.done or 0, inner.total, inner.phase)
        elif isinstance(event, JobEnded):
            self._keep(*(job for job in self._tasks if job != event.claim.job_id))
        self._say(event)


def sentence(event: Event) -> str | None:
    """Return the line that says what happened; None where a line would be too much."""
    if isinstance(event, Notice):
        return f"note: {event.message}"
    if isinstance(event, RunStarted):
        return _run_started(event)
    if isinstance(event, RunFinished):
        if event.state is JobState.QUEUED:
            return f"{event.run.title} stopped; the same command resumes it"
        is_old = event.run.existed and event.state is JobState.DONE
        return None if is_old else f"{event.run.title} {event.state}{_reason(event)}"
    if isinstance(event, JobStarted):
        where = f" on {event.device}" if event.device else ""
        return f"{_title(event.claim)} starts{where}, attempt {event.claim.attempt}: {event.log}"
    if isinstance(event, JobEnded):
        end = "is queued again" if event.state is JobState.QUEUED else event.state
        return f"{_title(event.claim)} {end}{_reason(event)}"
    if isinstance(event, JobProgress) and isinstance(event.event, Notice):
        return f"{_title(event.claim)}: {event.event.message}"
    return None


def _run_started(event: RunStarted) -> str:
    if event.run.existed and event.run.state is JobState.DONE:
        of = "weights" if event.plan.is_evaluation else "spec"
        same = f"same {of}, data and device"
        return f"{event.run.title} exists already ({same}); --force repeats it"
    which = f"{event.run.title} ({event.index + 1} of {event.total})"
    verb = "goes on" if event.run.existed else "starts"
    if event.run.kind is not JobKind.PRETRAIN:
        return f"{which} {verb}: {what(event.plan.spec)}"
    parts = (
        f"{name} {value_at(event.plan.spec, SHORT_NAMES[name])}"
        for name in ("method", "ema_scope", "seed")
    )
    return f"{which} {verb}: {', '.join(parts)}"


def _reason(end: RunFinished | JobEnded) -> str:
    return "" if end.reason is None else f": {end.reason}"


def _title(claim: Claim) -> str:
    return f"{claim.kind} {claim.job_id} ({what(claim.spec)})"


def _figures(event: StepProgress, top1: str = "") -> str:
    return f"loss {event.loss:.4f}{top1}  {event.images_per_second:,.0f} images/s"


@contextmanager
def _shown(console: Console, bars: type[Bars], *, width: int) -> Iterator[Listener]:
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(console)
        return
    from rich import progress

    with progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=width),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[figures]}"),
        console=console,
        transient=True,
    ) as shown:
        yield bars(shown)
