"""Which jobs or weights the words on a command line mean, and what became of each job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.cli.app.console import print_json
from emabench.cli.options.completion import complete_runs
from emabench.errors import NotFoundError

if TYPE_CHECKING:
    from emabench.records import JobRecord, RunRecord
    from emabench.store import RunStore

IDS_HELP = (
    "Ids of runs or jobs (the first characters are enough) or @last; a run means all its jobs."
)

IdsArgument = Annotated[
    list[str], typer.Argument(metavar="ID…", help=IDS_HELP, autocompletion=complete_runs)
]


def existing_store(db: str) -> RunStore:
    """Open a store to change what it holds; where there is none, none is created.

    Raises:
        NotFoundError: there is none.
        StoreError: it cannot be read or written.
    """
    from emabench.store import RunStore

    RunStore.open(db, mode="read").close()
    return RunStore.open(db, mode="write")


def chosen_jobs(store: RunStore, ids: Iterable[str]) -> list[JobRecord]:
    """Return the jobs that ids mean, each once: all jobs of a run, or one evaluation alone.

    Args:
        store: the store.
        ids: of runs or jobs, unique beginnings, or ``@last``.

    Raises:
        NotFoundError: there is no such job.
        UsageError: several ids begin so.
    """
    jobs: dict[str, JobRecord] = {}
    for text in ids:
        job = store.job(text)
        meant = store.run(job.run_id).jobs if job.id == job.run_id else (job,)
        jobs.update({each.id: each for each in meant})
    return list(jobs.values())


def chosen_weights(text: str, db: str) -> RunRecord | Path:
    """Return the file or the run whose weights are meant; a file wins.

    Args:
        text: path of a file, id of a run, its unique beginning, or ``@last``.
        db: path or URL of the store; needed for runs only.

    Raises:
        NotFoundError: there is neither.
        UsageError: several ids begin so.
    """
    from emabench.data.places import given_path
    from emabench.store import RunStore

    file = given_path(text)
    if file.is_file():
        return file
    try:
        with RunStore.open(db, mode="read") as store:
            return store.run(text)
    except NotFoundError as error:
        if file.suffix != ".safetensors" and len(file.parts) == 1:
            raise
        raise NotFoundError(
            f"there is no file {text}", hint=f"check its path; as a run: {error.message}"
        ) from None


def print_changes(
    jobs: Sequence[JobRecord], changed: Iterable[str], *, did: str, json: bool
) -> None:
    """Print one line per job: what was done to it, or that there was nothing to do.

    Args:
        jobs: the jobs as they are now.
        changed: ids of those that something was done to.
        did: what that was.
        json: print JSON instead.
    """
    from emabench.report.tables.queue_table import job_title

    ids = set(changed)
    if json:
        rows = [
            {
                "id": job.id,
                "run": job.run_id,
                "kind": job.kind.value,
                "state": job.state.value,
                "changed": job.id in ids,
            }
            for job in jobs
        ]
        print_json({"schema_version": 1, "jobs": rows})
        return
    for job in jobs:
        said = did if job.id in ids else f"nothing to do: it is {job.state}"
        typer.echo(f"{job_title(job)}: {said}")
