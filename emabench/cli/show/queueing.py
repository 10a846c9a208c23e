"""What ``queue`` and ``studies run`` share: resolve all runs, then preview or queue them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from emabench.analysis.pace import TimeEstimate
    from emabench.cli.options.spec_flags import GridPoint
    from emabench.records import PlannedRun, QueuedRun

_LARGEST = 1_000_000

PriorityOption = Annotated[
    int,
    typer.Option(
        "--priority",
        min=-_LARGEST,
        max=_LARGEST,
        metavar="N",
        help="The highest is worked on first.",
    ),
]
MaxAttemptsOption = Annotated[
    int,
    typer.Option(
        "--max-attempts",
        min=1,
        max=_LARGEST,
        metavar="N",
        help="Failures of a job before it is given up.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Queue runs that exist again.")]
PreviewOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the resolved specs and an estimate; queue nothing."),
]


def resolve_all(
    points: Iterable[GridPoint], *, name: str | None = None, study: str | None = None
) -> list[PlannedRun]:
    """Return the resolved runs, with progress on stderr.

    Raises:
        UsageError: one of them cannot be.
        DataError: the images cannot be read.
    """
    from emabench import experiment
    from emabench.cli.app.console import err
    from emabench.cli.show.progress import listener

    with listener(err()) as on_event:
        plans = [
            experiment.resolve(point.spec, command=point.command, name=name, on_event=on_event)
            for point in points
        ]
    return [replace(plan, study=study) for plan in plans]


def add_all(
    plans: Sequence[PlannedRun], *, db: str, force: bool, priority: int, max_attempts: int
) -> list[QueuedRun]:
    """Queue runs, in this order; the store is created if it is not there."""
    from emabench.store import RunStore

    with RunStore.open(db, mode="write") as store:
        return [
            store.add_run(plan, force=force, priority=priority, max_attempts=max_attempts)
            for plan in plans
        ]


def print_queued(plans: Sequence[PlannedRun], runs: Sequence[QueuedRun]) -> None:
    """Print a line for each run: the ids of its jobs, and what it is."""
    from emabench.cli.app.console import err
    from emabench.report.tables.queue_table import what

    for plan, run in zip(plans, runs, strict=True):
        note = f" (exists, {run.state})" if run.existed else ""
        typer.echo(f"{run.pretrain_job} {run.eval_job} {what(plan.spec)}{note}")
    new = sum(not run.existed for run in runs)
    err().print(f"{new} of {len(runs)} runs are new; 'emabench work' runs what is queued")


def queued_values(
    plans: Sequence[PlannedRun], runs: Sequence[QueuedRun]
) -> list[dict[str, object]]:
    """Return the queued runs as plain values for JSON."""
    return [
        {
            "id": run.id,
            "pretrain_job": run.pretrain_job,
            "eval_job": run.eval_job,
            "existed": run.existed,
            "state": run.state.value,
            "fingerprint": plan.fingerprint,
            "command": plan.command,
        }
        for plan, run in zip(plans, runs, strict=True)
    ]


def preview(plans: Sequence[PlannedRun], *, db: str, json: bool) -> None:
    """Print what would be queued, and how long it will take as far as the store can tell."""
    from emabench.cli.app.console import print_json
    from emabench.cli.show.plans import plan_values, print_plans

    found = _estimate(plans, db)
    jobs = 2 * len(plans)
    if json:
        estimate = None if found is None or found.seconds is None else {
            "seconds": found.seconds,
            "estimated_runs": found.estimated,
            "open_runs": found.runs,
            "earlier_runs": found.sources,
        }  # fmt: skip
        print_json(
            {
                "schema_version": 1,
                "count": len(plans),
                "jobs": jobs,
                "estimate": estimate,
                "runs": plan_values(plans),
            }
        )
    else:
        print_plans(plans, [f"{jobs} jobs", _in_words(found)])


def _estimate(plans: Sequence[PlannedRun], db: str) -> TimeEstimate | None:
    """Judge by the store, if there is one."""
    from emabench.analysis.pace import estimate_time
    from emabench.errors import NotFoundError
    from emabench.records import RunQuery
    from emabench.store import RunStore

    try:
        with RunStore.open(db, mode="read") as store:
            return estimate_time(plans, store.runs(RunQuery(smoke=True)))
    except NotFoundError:
        return None


def _in_words(found: TimeEstimate | None) -> str:
    from emabench.table import duration

    if found is not None and found.runs == 0:
        return "all of them are done already"
    if found is None or found.seconds is None:
        return "no estimate: the store holds no finished run like these"
    which = "" if found.estimated == found.runs else f" for {found.estimated} of {found.runs} runs"
    by = "1 earlier run" if found.sources == 1 else f"{found.sources} earlier runs"
    return f"about {duration(found.seconds)}{which}, one after the other, judged by {by}"
