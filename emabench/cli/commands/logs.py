"""``emabench logs``: what the process of a job said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emabench.artifacts.layout import artifacts_folder
from emabench.cli.options.completion import complete_runs
from emabench.cli.options.kept_files import ArtifactsOption
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption
from emabench.table import visible

if TYPE_CHECKING:
    from emabench.artifacts.logs import Log
    from emabench.records import JobRecord

PANEL = "Queue"


def command(
    id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Id of a run or a job (the first characters are enough), or @last.",
            autocompletion=complete_runs,
        ),
    ],
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Follow new lines and attempts until the job ends."),
    ] = False,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, metavar="N", help="This attempt, not the newest."),
    ] = None,
    tail: Annotated[
        int | None, typer.Option("--tail", min=0, metavar="N", help="Only the last N lines.")
    ] = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: ArtifactsOption = None,
) -> None:
    """Print the log of a job's newest attempt; for a run, that of each of its jobs.

    Examples:
        emabench logs @last
        emabench logs -f 3fa9 --tail 20
        emabench logs 3fa9 --attempt 1
    """
    from emabench.artifacts.logs import find_logs, follow_logs, no_log
    from emabench.cli.app.console import print_json
    from emabench.cli.options.job_ids import chosen_jobs
    from emabench.cli.show.watch import leave, notice_lost_reader
    from emabench.store import RunStore

    folder = artifacts_folder(db, artifacts)

    def look(which: str = id) -> Sequence[JobRecord]:
        with RunStore.open(db, mode="read") as store:
            return chosen_jobs(store, [which])

    jobs = look()
    if follow:
        # By its complete id: @last may mean another run in a moment.
        exactly = partial(look, jobs[0].id)
        try:
            lines = follow_logs(
                exactly, folder, attempt=attempt, tail=tail, on_wait=notice_lost_reader
            )
            _print_lines(lines, headed=len(jobs) > 1, json=json)
        except KeyboardInterrupt:
            leave()
        return
    logs = find_logs(folder, jobs, attempt)
    if not logs:
        raise no_log(folder, jobs, attempt)
    if json:
        rows = [{**_values(log), "lines": log.lines(tail)} for log in logs]
        print_json({"schema_version": 1, "logs": rows})
        return
    for log in logs:
        if len(logs) > 1:
            typer.echo(visible(log.title))
        for line in log.lines(tail):
            typer.echo(visible(line))


def _print_lines(lines: Iterable[tuple[Log, str]], *, headed: bool, json: bool) -> None:
    """Print lines as they come; where another log goes on, a line names it.

    Args:
        lines: with the log that each comes from.
        headed: whether the first log is named too.
        json: print each line as JSON instead.
    """
    from emabench.cli.app.console import print_json_line

    current: str | None = None
    for log, line in lines:
        if json:
            values = {"schema_version": 1, **_values(log), "line": line}
            print_json_line(values)
            continue
        if log.title != current and (headed or current is not None):
            typer.echo(visible(log.title))
        current = log.title
        typer.echo(visible(line))


def _values(log: Log) -> dict[str, Any]:
    return {
        "job": log.job.id,
        "run": log.job.run_id,
        "kind": log.job.kind.value,
        "attempt": log.attempt,
        "path": str(log.path),
    }
