"""The queue on a terminal: two lines for what runs, with a bar; one for what waits or failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from emabench.records import JobKind, JobRecord, JobState, QueueRecord, RunningAttempt
from emabench.report.tables.queue_table import (
    GONE,
    counts,
    plugin_lines,
    progress_texts,
    sections,
    share,
    waits_for,
    what,
)
from emabench.table import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

_COLOURS = {JobState.RUNNING: "green", JobState.FAILED: "red"}
_NARROWEST_BAR, _WIDEST_BAR = 6, 40
_SPARE_FIGURES = (3, 2, 1)
"""Places of the figures that a narrow terminal does without, the first to go first."""


class QueueView:
    """Shows a queue in the width of the terminal, whatever it is at the moment.

    Args:
        queue: what to show.
        note: a line below it.
    """

    def __init__(self, queue: QueueRecord, note: str | None = None) -> None:
        self._queue, self._note = queue, note

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield the parts from top to bottom."""
        from rich.text import Text

        queue = self._queue
        yield _counts(queue)
        yield from (Text(visible(line), style="dim") for line in plugin_lines(queue))
        for title, jobs in sections(queue):
            yield Text(f"\n{title}", style="bold")
            if jobs is queue.running:
                yield from _running(queue.running, options.max_width)
            else:
                yield _grid([_cells(job, queue) for job in jobs if isinstance(job, JobRecord)])
        if self._note is not None:
            yield Text(f"\n{visible(self._note)}", style="dim")


def _counts(queue: QueueRecord) -> Text:
    from rich.text import Text

    text = Text()
    for state, count in counts(queue):
        style = _COLOURS.get(state, "") if count else "dim"
        text.append(", " if text else "")
        text.append(f"{count} {state}", style=style)
    return text


def _running(attempts: Sequence[RunningAttempt], width: int) -> Iterator[RenderableType]:
    texts = [_figures(attempt) for attempt in attempts]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for attempt, cells in zip(attempts, texts, strict=True):
        yield _headline(attempt)
        yield _progress(attempt, cells, widths, width)


def _headline(attempt: RunningAttempt) -> Text:
    from rich.text import Text

    text = Text(visible(f"{attempt.job_id}  {attempt.kind}  {what(attempt.spec)}"))
    host = attempt.host.partition(".")[0]  # the rest is the same for all
    where = [f"attempt {attempt.number}", attempt.device, host]
    if attempt.run_id != attempt.job_id:
        where.insert(0, f"run {attempt.run_id}")
    text.append(visible("  " + ", ".join(part for part in where if part)), style="dim")
    return text


def _figures(attempt: RunningAttempt) -> list[str]:
    found = progress_texts(attempt)
    return [
        found["step"],
        f"{found['%']} %",
        f"loss {found['loss']}",
        f"{found['images/s']} images/s",
        f"{found['left']} left",
    ]


def _progress(
    attempt: RunningAttempt, cells: Sequence[str], widths: Sequence[int], width: int
) -> RenderableType:
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    if attempt.process_gone:
        return Text(f"  {GONE}: 'emabench reap' queues the job again", style="red")
    if share(attempt) is None:
        since = f"  since {attempt.started_at.astimezone():%H:%M:%S}"
        trains = attempt.kind is JobKind.PRETRAIN
        return Text(f"{since}, no step yet" if trains else since, style="dim")
    figures = [Text(cell.rjust(size)) for cell, size in zip(cells, widths, strict=True)]
    room = width - 4 - sum(widths) - 2 * len(widths)
    for spare in _SPARE_FIGURES:
        if room < _NARROWEST_BAR:
            room += 2 + len(figures.pop(spare))
    bar = ProgressBar(
        total=1, completed=share(attempt) or 0, width=min(_WIDEST_BAR, max(_NARROWEST_BAR, room))
    )
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(1 + len(figures)):
        grid.add_column(no_wrap=True)
    grid.add_row(bar, *figures)
    return Padding(grid, (0, 0, 0, 2))


def _cells(job: JobRecord, queue: QueueRecord) -> list[str]:
    head = [job.id, job.kind.value, what(job.spec)]
    if job.state is JobState.FAILED:
        times = "once" if job.failures == 1 else f"{job.failures} times"
        return [*head, times, job.reason or ""]
    note = f"priority {job.priority}" if job.priority else ""
    if (needed := waits_for(job, queue)) is not None:  # it has the priority of that one
        note = f"after {needed}"
    return [*head, job.device_kind or "", note]


def _grid(rows: Sequence[Sequence[str]]) -> RenderableType:
    """Return rows in columns; the last one takes what is left of the width, and wraps."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    for index in range(len(rows[0])):
        last = index == len(rows[0]) - 1
        grid.add_column(no_wrap=index == 0, overflow="fold", style="dim" if last else "")
    for row in rows:
        grid.add_row(*(Text(visible(cell)) for cell in row))
    return grid
