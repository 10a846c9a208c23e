"""Planned runs on the command line: resolved, previewed, queued."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emabench.records import DEFAULT_MAX_ATTEMPTS

if TYPE_CHECKING:
    from emabench.plans.grids import GridPoint
    from emabench.records import PlannedRun, QueuedRun, RunRecord
    from emabench.store import RunStore


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
            "steps": plan.steps,
        }
        for plan in plans
    ]


def print_yaml(plans: Sequence[PlannedRun]) -> None:
    """Print resolved runs as YAML documents, each with its command."""
    from emabench.cli.app.console import out
    from emabench.spec.experiment import complete_yaml
    from emabench.table import counted

    console = out()
    console.print(f"# {counted(len(plans), 'run')}")
    for plan in plans:
        console.print(f"---\n# {plan.command}\n{complete_yaml(plan.spec)}", end="", soft_wrap=True)


def say_size(plans: Sequence[PlannedRun], *, db: str) -> None:
    """Write to stderr how much a sweep is before it starts; of a single run, nothing."""
    from emabench.analysis.pace import estimate_time
    from emabench.cli.app.console import err
    from emabench.report.tables.plan_table import plan_summary

    if len(plans) > 1:
        earlier = _earlier_runs(db)
        estimate = None if earlier is None else estimate_time(plans, earlier)
        err().print(plan_summary(plans, estimate))


def add_all(
    plans: Sequence[PlannedRun],
    *,
    db: str,
    artifacts: Path | None = None,
    force: bool,
    priority: int = 0,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
) -> list[QueuedRun]:
    """Queue runs, in this order; the store is created if it is not there. See ``add_to``."""
    from emabench.store import RunStore

    with RunStore.open(db, mode="write") as store:
        runs = add_to(
            store,
            plans,
            db=db,
            artifacts=artifacts,
            force=force,
            priority=priority,
            max_attempts=max_attempts,
        )
    say_what_is_not_done(plans, runs)
    return runs


def add_to(
    store: RunStore,
    plans: Sequence[PlannedRun],
    *,
    db: str,
    artifacts: Path | None = None,
    force: bool = False,
    priority: int,
    max_attempts: int,
) -> list[QueuedRun]:
    """Queue runs in an open store, in this order.

    Args:
        store: the store.
        plans: the runs.
        db: location of the store.
        artifacts: the folder that belongs to it; None is beside it.
        force: whether runs that exist are repeated.
        priority: of the jobs.
        max_attempts: failures of a job before it is given up.
    """
    from emabench.artifacts.layout import artifacts_folder, lacks_weights

    place = artifacts_folder(db, artifacts)
    return [
        store.add_run(
            plan,
            force=force,
            priority=priority,
            max_attempts=max_attempts,
            weights_gone=lambda run: lacks_weights(place, run),
        )
        for plan in plans
    ]


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
    from emabench.table import counted

    new = sum(not run.existed for run in runs)
    of = f"{counted(len(runs), 'run')} {'is' if len(runs) == 1 else 'are'}"
    err().print(f"{new} of {of} new; 'emabench work' runs what is queued")


def _jobs(run: QueuedRun) -> dict[str, str | None]:
    return {"pretrain_job": run.pretrain_job, "eval_job": run.eval_job}


def preview(plans: Sequence[PlannedRun], *, db: str, json: bool, yaml: bool = False) -> None:
    """Print what would be run, and how long it will take as far as the store can tell.

    Args:
        plans: the runs.
        db: path or URL of the store, which need not be there.
        json: print JSON instead.
        yaml: print the resolved specs instead.

    Raises:
        UsageError: two forms are asked for.
    """
    from emabench.analysis.pace import estimate_time
    from emabench.cli.app.console import out, print_json
    from emabench.cli.show.tables import print_table
    from emabench.errors import UsageError
    from emabench.report.tables.plan_table import plan_summary, plan_table

    if json and yaml:
        raise UsageError("--json and --yaml exclude each other", hint="choose one of them")
    if yaml:
        print_yaml(plans)
        return
    earlier = _earlier_runs(db)
    found = None if earlier is None else estimate_time(plans, earlier)
    if not json:
        print_table(plan_table(plans, earlier or []))
        out().print(plan_summary(plans, found))
        return
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
            "jobs": sum(len(plan.kinds) for plan in plans),
            "estimate": estimate,
            "runs": plan_values(plans),
        }
    )


def check_yaml_flag(*, yaml: bool, dry_run: bool) -> None:
    """Refuse ``--yaml`` where nothing is only looked at.

    Raises:
        UsageError: it is given alone.
    """
    from emabench.errors import UsageError

    if yaml and not dry_run:
        raise UsageError("--yaml says how --dry-run prints", hint="add --dry-run")


def _earlier_runs(db: str) -> list[RunRecord] | None:
    """Return the runs of the store, smoke ones too; None if there is none."""
    from emabench.errors import NotFoundError
    from emabench.records import RunQuery
    from emabench.store import RunStore

    try:
        with RunStore.open(db, mode="read") as store:
            return store.runs(RunQuery(smoke=True))
    except NotFoundError:
        return None
