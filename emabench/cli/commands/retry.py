"""``emabench retry``: queue jobs again that failed or were cancelled."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.options.completion import complete_runs
from emabench.cli.options.job_ids import IDS_HELP
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption
from emabench.errors import UsageError

PANEL = "Queue"


def command(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID…]", help=IDS_HELP, autocompletion=complete_runs),
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Retry everything that failed, smoke runs included.")
    ] = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Queue jobs again that failed or were cancelled, with a fresh count of attempts.

    They continue from their last checkpoint. A job that depends on another one brings it along.

    Examples:
        emabench retry 3fa9
        emabench retry --failed
    """
    if not ids and not failed:
        raise UsageError(
            "nothing was given to retry", hint="give ids, or --failed for all that failed"
        )
    from emabench.cli.options.job_ids import chosen_jobs, existing_store, print_changes
    from emabench.records import JobState

    ended_badly = (JobState.FAILED, JobState.CANCELLED)
    with existing_store(db) as store:
        jobs = [job.id for job in chosen_jobs(store, ids or ())]
        if failed:
            runs = [run for run in store.everything() if run.state is JobState.FAILED]
            jobs += [job.id for run in runs for job in run.jobs if job.state in ended_badly]
        changed = store.queue.retry(jobs)
        now = [store.job(job) for job in dict.fromkeys([*changed, *jobs])]
    print_changes(now, changed, did="queued again", json=json)
    if not now and not json:
        typer.echo("nothing to do: no run has failed")
