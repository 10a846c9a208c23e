"""``emabench reap``: declare attempts dead whose process is gone or whose heart stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

if TYPE_CHECKING:
    from emabench.queue.reaping import Reaped
    from emabench.records import RunningAttempt

PANEL = "Queue"


def command(
    stale_after: Annotated[
        float,
        typer.Option(
            "--stale-after",
            min=0,
            metavar="SECONDS",
            help="Watch heartbeats for this long; 0 only looks for processes of this host "
            "that are gone. A live attempt beats every 5 seconds.",
        ),
    ] = 60.0,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Queue jobs again whose worker died, on this host or another.

    An attempt whose process is gone is declared dead at once. The heartbeats of all others are then
    watched by this command's own clock: those that stand still are dead. 'emabench work' and
    'emabench run' do this all the time.

    Examples:
        emabench reap
        emabench reap --stale-after 0
    """
    from emabench.cli.app.console import err, print_json
    from emabench.cli.options.job_ids import existing_store
    from emabench.queue.reaping import reap
    from emabench.report.tables.queue_table import attempt_values
    from emabench.table import duration

    def tell(watched: Sequence[RunningAttempt]) -> None:
        ids = ", ".join(attempt.job_id for attempt in watched)
        err().print(f"waiting up to {duration(stale_after)} for the next heartbeat of {ids}")

    reaped = []
    with existing_store(db) as store:
        for each in reap(store, stale_after, on_wait=tell):
            reaped.append(each)
            if not json:
                typer.echo(_line(each))
    if json:
        rows = [
            attempt_values(each.attempt) | {"reason": each.reason, "state": each.state.value}
            for each in reaped
        ]
        print_json({"schema_version": 1, "attempts": rows})
    elif not reaped:
        typer.echo("nothing to do: no attempt is dead")


def _line(reaped: Reaped) -> str:
    from emabench.records import JobState
    from emabench.report.tables.queue_table import job_title

    title = f"{job_title(reaped.attempt)}, attempt {reaped.attempt.number}"
    came_to = "queued again" if reaped.state is JobState.QUEUED else "failed for good"
    return f"{title}: {reaped.reason}, {came_to}"
