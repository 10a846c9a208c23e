"""``emabench rm``: remove runs, with their files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from emabench.artifacts.layout import artifacts_folder, pruning_command
from emabench.cli.app.confirm import YesOption, agreed
from emabench.cli.options.kept_files import ArtifactsOption
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NamedRunsArgument,
    NameOption,
    StudyOption,
    WhereOption,
    named_runs,
)
from emabench.errors import EmabenchError, NotFoundError, UsageError

if TYPE_CHECKING:
    from emabench.records import RunRecord
    from emabench.store import RunStore

PANEL = "Keep the store"


def command(
    ids: NamedRunsArgument = None,
    where: WhereOption = None,
    study: StudyOption = None,
    name: NameOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: ArtifactsOption = None,
) -> None:
    """Remove runs, or evaluations, from the store, with results, checkpoints, weights and logs.

    Refuses while one of them is running.

    Examples:
        emabench rm 3fa9
        emabench rm 3fa9 77c1 --yes
        emabench rm --where state=failed --where 'created<2026-01-31'
    """
    from emabench.artifacts.files import delete_files, scan_files
    from emabench.cli.app.console import print_json
    from emabench.cli.options.job_ids import existing_store
    from emabench.report.tables.disk_table import readable_size
    from emabench.report.tables.queue_table import what
    from emabench.table import visible

    folder = artifacts_folder(db, artifacts)
    with existing_store(db) as store:
        if ids and not (where or study or name):
            runs = [_run(store, text) for text in ids]
        else:
            runs = named_runs(store, ids, where, study=study, name=name)
        runs = _idle(runs)
        jobs = [job.id for run in runs for job in run.jobs]
        size = sum(file.size for file in scan_files(folder, jobs))
        lost = _in_words(runs, readable_size(size))
        if agreed(f"remove {lost}", yes=yes):
            store.remove([run.id for run in runs])
        else:
            runs = []
    deletion = delete_files(folder, scan_files(folder, jobs) if runs else [])
    if json:
        freed = sum(file.size for file in deletion.files)
        rows = [{"id": run.id, "jobs": [job.id for job in run.jobs]} for run in runs]
        print_json({"schema_version": 1, "runs": rows, "freed_bytes": freed})
    else:
        for run in runs:
            typer.echo(visible(f"{run.id} {what(run.spec)}: removed"))
        if not runs:
            typer.echo("nothing was removed")
    if deletion.failures:
        raise EmabenchError(
            f"the store has forgotten the runs, but files are left: {deletion.failures[0]}",
            hint=f"{pruning_command(folder, db)} deletes them once you can write to the folder",
        )


def _idle(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Return runs, each once.

    Raises:
        UsageError: one of them is running.
    """
    from emabench.records import JobState

    for run in runs:
        if any(job.state is JobState.RUNNING for job in run.jobs):
            raise UsageError(
                f"{run.title} is running", hint=f"stop it first: emabench cancel {run.id}"
            )
    return list({run.id: run for run in runs}.values())


def _run(store: RunStore, text: str) -> RunRecord:
    try:
        return store.run(text)
    except NotFoundError as error:
        try:
            job = store.job(text)
        except EmabenchError:
            raise error from None
    raise UsageError(
        f"{job.id} is the {job.kind} of run {job.run_id}; only whole runs can be removed",
        hint=f"emabench rm {job.run_id}",
    )


def _in_words(runs: list[RunRecord], size: str) -> str:
    from emabench.records import JobState
    from emabench.report.tables.queue_table import what

    done = sum(run.state is JobState.DONE for run in runs)
    (first, *others) = runs
    named = f"{first.title} ({what(first.spec)}, {first.state})"
    if others:
        named = f"{len(runs)} runs ({done} of them done)"
    return f"{named} with results, metrics and {size} of files"
