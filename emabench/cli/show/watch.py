"""Showing the queue again and again: in place on a terminal, one snapshot below the other else."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn, TypeVar

from emabench.cli.app.console import print_json_line
from emabench.errors import InterruptedRunError, SchemaVersionError, StoreError, StoreLostError
from emabench.records import JobState, QueueRecord

if TYPE_CHECKING:
    from rich.console import Console

Look = Callable[[], QueueRecord]
"""Looks at the queue once."""

_Seen = TypeVar("_Seen")
_PATIENCE = 20
"""A store that cannot be read so many times in a row will not get well by itself."""


def leave() -> NoReturn:
    """End after Ctrl-C without a word: it is how one leaves a watch.

    Raises:
        SystemExit: with the exit code of an interruption.
    """
    raise SystemExit(InterruptedRunError.exit_code)


def notice_lost_reader() -> None:
    """End if nobody reads stdout any more, as ``tail -f`` does, without waiting for more to say.

    Raises:
        BrokenPipeError: the reader is gone.
    """
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # no file, as in a notebook
        return
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(output, 0)  # errors are told anyway
        if any(what & select.POLLERR for _, what in poll.poll(0)):
            raise BrokenPipeError


def print_queue(queue: QueueRecord, console: Console) -> None:
    """Print the queue once: for a terminal, or in plain tables."""
    from emabench.cli.show.queue_view import QueueView
    from emabench.cli.show.tables import FittedTable
    from emabench.report.tables.queue_table import counts_line, plugin_lines, queue_tables

    if is_live(console):
        console.print(QueueView(queue))
        return
    for line in (counts_line(queue), *plugin_lines(queue)):
        console.print(line)
    for title, table in queue_tables(queue):
        console.print(FittedTable(table, title))


def is_live(console: Console) -> bool:
    """Whether a console is a terminal on which a line can be written over."""
    return console.is_terminal and not console.is_dumb_terminal


def watch_on_terminal(look: Look, console: Console, *, interval: float) -> None:
    """Show the queue in place, until Ctrl-C."""
    from rich.live import Live

    from emabench.cli.show.queue_view import QueueView

    with Live(console=console, auto_refresh=False) as live:
        for queue, failure in looks(look, interval):
            note = f"as of {datetime.now():%H:%M:%S}; Ctrl-C quits"
            view = QueueView(queue, note if failure is None else f"not up to date: {failure}")
            live.update(view, refresh=True)


def watch_in_pipe(look: Look, console: Console, notes: Console, *, interval: float) -> None:
    """Print a snapshot per interval, below a line with the time, until nothing is left to do."""
    for queue in _snapshots(look, notes, interval):
        console.print(f"{_now()}  ", end="")
        print_queue(queue, console)


def watch_as_json(look: Look, notes: Console, *, interval: float) -> None:
    """Print a snapshot per interval as JSON on a line of its own, until nothing is left to do."""
    from emabench.report.tables.queue_table import queue_values

    for queue in _snapshots(look, notes, interval):
        values = {"schema_version": 1, "at": _now(), **queue_values(queue)}
        print_json_line(values)


def _snapshots(look: Look, notes: Console, interval: float) -> Iterator[QueueRecord]:
    for queue, failure in looks(look, interval):
        if failure is not None:
            notes.print(f"note: not up to date: {failure}")
            continue
        yield queue
        if not any(queue.counts.get(state, 0) for state in (JobState.QUEUED, JobState.RUNNING)):
            return


def looks(look: Callable[[], _Seen], interval: float) -> Iterator[tuple[_Seen, str | None]]:
    """Yield what is seen, once per interval; where it cannot be read, the last and the reason.

    Args:
        look: looks at the store once.
        interval: seconds between two looks.

    Raises:
        StoreError: it cannot be read at first, or many times in a row.
        NotFoundError: the store is not there, or not any more.
    """
    seen, failures = look(), 0
    yield seen, None
    while True:
        _wait(interval)
        try:
            seen, failures, failure = look(), 0, None
        except (SchemaVersionError, StoreLostError):
            raise
        except StoreError as error:
            failures, failure = failures + 1, error.message
            if failures == _PATIENCE:
                raise
        yield seen, failure


def _wait(seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        notice_lost_reader()
        time.sleep(min(left, 1.0))


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
