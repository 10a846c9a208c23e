"""``emabench cancel``: stop jobs, or take them out of the queue."""

from __future__ import annotations

from emabench.cli.options.job_ids import IdsArgument
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

PANEL = "Queue"


def command(
    ids: IdsArgument,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Cancel queued or running jobs, and the jobs that depend on them.

    The process of a running job stops within seconds. What it saved is kept: 'emabench retry'
    continues from there.

    Examples:
        emabench cancel @last
        emabench cancel 3fa9 77c1 --json
    """
    from emabench.cli.app.console import err
    from emabench.cli.options.job_ids import chosen_jobs, existing_store, print_changes
    from emabench.records import JobState

    with existing_store(db) as store:
        jobs = chosen_jobs(store, ids)
        running = {job.id for job in jobs if job.state is JobState.RUNNING}
        changed = set(store.queue.cancel([job.id for job in jobs]))
        now = [store.job(job.id) for job in jobs]
    print_changes(now, changed, did="cancelled", json=json)
    if running & changed:
        err().print("note: the processes of running jobs stop within seconds")
