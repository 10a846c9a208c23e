"""``emabench sync``: take in what jobs on a cluster have written since their driver is gone."""

from __future__ import annotations

from typing import Any

import typer

from emabench.cli.options.engine_options import SharedArtifactsOption
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

PANEL = "Queue"


def command(
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: SharedArtifactsOption = None,
) -> None:
    """Take the journals of jobs on a cluster into the store.

    'emabench work --engine ray' (or slurm) does so all the time. When it is gone, Slurm jobs carry
    on without it; this command takes in what they wrote, as often as you like: nothing is counted
    twice. A job that carries on although its attempt has ended is asked to stop.

    Examples:
        emabench sync
        emabench sync --artifacts s3://bucket/night
    """
    from emabench.cli.app.console import print_json
    from emabench.cli.options.engine_options import local_artifacts
    from emabench.cli.options.job_ids import existing_store
    from emabench.engines.exchange import Exchange
    from emabench.engines.remote import dismiss, take_in
    from emabench.report.tables.queue_table import attempt_values, job_title

    root = local_artifacts(db, artifacts)
    is_url = artifacts is not None and "://" in artifacts
    exchange = Exchange(artifacts if is_url and artifacts else str(root))
    rows: list[dict[str, Any]] = []
    with existing_store(db) as store:
        for attempt, state in take_in(store, exchange, store.queue.running(), root):
            rows.append(attempt_values(attempt) | {"state": state.value})
            if not json:
                typer.echo(f"{job_title(attempt)}, attempt {attempt.number}: {state}")
        dismiss(store, exchange)
    if json:
        print_json({"schema_version": 1, "attempts": rows})
    elif not rows:
        typer.echo("nothing to do: no running attempt has a journal")
