"""Planned runs on the command line: resolved, previewed, queued."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emabench.records import DEFAULT_MAX_ATTEMPTS

if TYPE_CHECKING:
    from emabench.analysis.pace import TimeEstimate
    from emabench.plans.grids import GridPoint
    from emabench.records import PlannedRun, QueuedRun


def resolve_points(
    points: Iterable[GridPoint],
    *,
    db: str,
    artifacts: Path | None = None,
    name: str | None = None,
    study: str | None = None,
) -> list[PlannedRun]:
    """Return the resolved runs, with progress on stderr; see ``plans.grids.resolve_all``.

    The runs whose weights they are given are those of a store and its folder of artefacts.
    """
    from emabench.artifacts.layout import artifacts_folder
    from emabench.cli.app.console import err
    from emabench.cli.show.progress import listener
    from emabench.plans.grids import resolve_all
    from emabench.queue.kept_weights import kept_weights

    kept = kept_weights(db, artifacts_folder(db, artifacts))
    with listener(err()) as on_event:
        return resolve_all(points, name=name, study=study, kept=kept, on_event=on_event)


def plan_values(plans: Sequence[PlannedRun]) -> list[dict[str, Any]]:
    """Return resolved runs as plain values for JSON."""
    return [
        {
            "command": plan.command,
            "fingerprint": plan.fingerprint,
            "identity": dict(plan.identity),
            "spec": dict(plan.spec),
        }
        for plan in plans
    ]


def print_plans(plans: Sequence[PlannedRun], remarks: Sequence[str] = ()) -> None:
    """Print resolved runs as YAML documents, each with its command, after some remarks."""
    from emabench.cli.app.console import out
    from emabench.spec.experiment import complete_yaml

    console = out()
    head = f"{len(plans)} {'run' if len(plans) == 1 else 'runs'}"
    for line in (head, *remarks):
        console.print(f"# {line}", soft_wrap=True)
    for plan in plans:
        console.print(f"---\n# {plan.command}\n{complete_yaml(plan.spec)}", end="", soft_wrap=True)


def add_all(
    plans: Sequence[PlannedRun],
    *,
    db: str,
    force: bool,
    priority: int = 0,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
) -> list[QueuedRun]:
    """Queue runs, in this order; the store is created if it is not there."""
    from emabench.artifacts.layout import artifacts_folder, lacks_weights
    from emabench.store import RunStore

    place = artifacts_folder(db, None)
    with RunStore.open(db, mode="write") as store:
        runs = [
            store.add_run(
                plan,
                force=force,
                priority=priority,
                max_attempts=max_attempts,
                weights_gone=lambda run: lacks_weights(place, run),
            )
            for plan in plans
        ]
    say_what_is_not_done(plans, runs)
    return runs


def say_what_is_not_done(plans: Sequence[PlannedRun], runs: Sequence[QueuedRun]) -> None:
    """Write to stderr how many runs keep the label, or the evaluation, that they had."""
    from emabench.cli.app.console import err

    pairs = zip(plans, runs, strict=True)
    kept = sum(plan.name is not None and plan.name != run.name for plan, run in pairs)
    if kept:
        err().print(
            f"note: {kept} of {len(runs)} runs exist and were not labelled {plans[0].name!r}; "
            "--study joins runs that exist"
        )
    if old := [run.id for run in runs if run.mended == "kept"]:
        err().print(
            f"note: the evaluation was mended since, but the weights are gone: {', '.join(old)} "
            "kept as evaluated before; emabench rm, and the same command trains them again"
        )


def print_queued(plans: Sequence[PlannedRun], runs: Sequence[QueuedRun]) -> None:
    """Print a line for each run: the ids of its jobs, and what it is."""
    from emabench.report.tables.queue_table import what

    for plan, run in zip(plans, runs, strict=True):
        known = "its evaluation is repeated" if run.mended == "repeated" else run.state
        note = f" (exists, {known})" if run.existed else ""
        # The last job of a run without an evaluation is its first.
        ids = dict.fromkeys(job for job in (run.pretrain_job, run.eval_job) if job is not None)
        typer.echo(f"{' '.join(ids)} {what(plan.spec)}{note}")


def queued_values(plans: Sequence[PlannedRun], runs: Sequence[QueuedRun]) -> list[dict[str, Any]]:
    """Return the queued runs as plain values for JSON."""
    return [
        {
            "id": run.id,
            **({} if plan.is_evaluation else _jobs(run)),
            "existed": run.existed,
            "state": run.state.value,
            "fingerprint": plan.fingerprint,
            "command": plan.command,
        }
        for plan, run in zip(plans, runs, strict=True)
    ]


def say_what_is_new(runs: Sequence[QueuedRun]) -> None:
    """Write to stderr how many runs are new, and what works on them."""
    from emabench.cli.app.console import err

    new = sum(not run.existed for run in runs)
    err().print(f"{new} of {len(runs)} runs are new; 'emabench work' runs what is queued")


def _jobs(run: QueuedRun) -> dict[str, str | None]:
    return {"pretrain_job": run.pretrain_job, "eval_job": run.eval_job}


def preview(plans: Sequence[PlannedRun], *, db: str, json: bool) -> None:
    """Print what would be queued, and how long it will take as far as the store can tell."""
    from emabench.cli.app.console import print_json

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
        return "no estimate: the store has no finished run like these"
    which = "" if found.estimated == found.runs else f" for {found.estimated} of {found.runs} runs"
    by = "1 earlier run" if found.sources == 1 else f"{found.sources} earlier runs"
    return f"about {duration(found.seconds)}{which}, one after the other, judged by {by}"
