"""Shows the events of running experiments: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from emabench.events import (
    EpochProgress,
    Event,
    Notice,
    PhaseProgress,
    RunFinished,
    RunStarted,
    StepProgress,
)
from emabench.queue.event_lines import Narrator, epoch_line
from emabench.records import JobKind, JobState
from emabench.report.tables.queue_table import what
from emabench.spec.paths import SHORT_NAMES, value_at

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, Task, TaskID

Listener = Callable[[Event], None]


@contextmanager
def listener(console: Console) -> Iterator[Listener]:
    """Listen to the events of runs, and show them on a console until the block ends."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(console)
        return
    with _progress(console) as progress:
        yield Bars(progress)


class Lines:
    """Plain lines: one for each run, phase and epoch; what is written stays written."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._narrate = Narrator(console.print)

    def __call__(self, event: Event) -> None:
        """Show one event, if it is worth a line."""
        self._narrate(event)
        if isinstance(event, RunStarted | RunFinished) and (text := sentence(event)) is not None:
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
            self._move(event.phase, event.done, event.total, "")
        elif isinstance(event, StepProgress):
            self._keep("epoch", "step")
            in_epoch = (event.step - 1) % max(1, event.steps_per_epoch) + 1
            figures = f"loss {event.loss:.4f}{self._top1}  {event.images_per_second:,.0f} images/s"
            done = f"epoch {event.epoch}/{event.epochs}"
            self._move("epoch", event.step, event.total_steps, figures, label=done)
            self._move("step", in_epoch, event.steps_per_epoch, "")
        else:
            if isinstance(event, EpochProgress) and event.online_top1 is not None:
                self._top1 = f"  online top-1 {event.online_top1:.1f} %"
            if isinstance(event, RunStarted | RunFinished):
                self._keep()
                self._top1 = ""
            if not isinstance(event, EpochProgress) and (text := sentence(event)) is not None:
                self._progress.console.print(text)

    @property
    def tasks(self) -> list[Task]:
        """The bars that stand there now, from top to bottom."""
        return list(self._progress.tasks)

    def _move(
        self, name: str, done: int | None, total: int | None, figures: str, label: str = ""
    ) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, figures=figures)
        self._progress.update(
            self._tasks[name],
            description=label or name,
            completed=done,
            total=total,
            figures=figures,
        )

    def _keep(self, *names: str) -> None:
        for name in set(self._tasks) - set(names):
            self._progress.remove_task(self._tasks.pop(name))


def sentence(event: Event) -> str | None:
    """Return the line that says what happened; None where a line would be too much."""
    if isinstance(event, RunStarted):
        return _started(event)
    if isinstance(event, EpochProgress):
        return epoch_line(event)
    if isinstance(event, Notice):
        return f"note: {event.message}"
    if isinstance(event, RunFinished) and not (event.run.existed and event.state is JobState.DONE):
        return _finished(event)
    return None


def _started(event: RunStarted) -> str:
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


def _finished(event: RunFinished) -> str:
    if event.state is JobState.QUEUED:
        return f"{event.run.title} stopped; the same command resumes it"
    reason = "" if event.reason is None else f": {event.reason}"
    return f"{event.run.title} {event.state}{reason}"


def _progress(console: Console) -> Any:
    from rich import progress

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=30),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[figures]}"),
        console=console,
        transient=True,
    )
