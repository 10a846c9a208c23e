"""``emabench status``: what runs, what comes next, what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

if TYPE_CHECKING:
    from emabench.records import QueueRecord

PANEL = "Queue"


def command(
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until Ctrl-C.")] = False,
    interval: Annotated[
        float,
        typer.Option(
            "--interval", min=0.1, metavar="SECONDS", help="Time between two updates of --watch."
        ),
    ] = 2.0,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=1, metavar="N", help="Show at most N queued and N failed jobs."
        ),
    ] = 10,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Show the queue: jobs by state, what runs and how far along, what comes next, what failed.

    Reads only, and never holds up a worker. In a pipe, --watch prints one snapshot per interval
    until nothing is queued or running; with --json, one per line.

    Examples:
        emabench status
        emabench status --watch
        emabench status --watch --interval 30 --json > progress.jsonl
    """
    from emabench.cli.app.console import err, out, print_json
    from emabench.cli.show.watch import (
        is_live,
        leave,
        print_queue,
        watch_as_json,
        watch_in_pipe,
        watch_on_terminal,
    )
    from emabench.report.tables.queue_table import queue_values
    from emabench.store import RunStore

    def look() -> QueueRecord:
        # Not held open: the last writer could not leave one plain file behind.
        with RunStore.open(db, mode="read") as store:
            return store.queue.snapshot(limit=limit)

    console = out()
    try:
        if watch and json:
            watch_as_json(look, err(), interval=interval)
        elif watch and is_live(console):
            watch_on_terminal(look, console, interval=interval)
        elif watch:
            watch_in_pipe(look, console, err(), interval=interval)
        elif json:
            print_json({"schema_version": 1, **queue_values(look())})
        else:
            queue = look()
            print_queue(queue, console)
            if not any(queue.counts.values()):
                err().print("hint: the store has no jobs; emabench queue adds some")
    except KeyboardInterrupt:
        if not watch:
            raise
        leave()
