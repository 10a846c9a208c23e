"""``emabench queue``: add runs to the queue, for ``emabench work``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.cli.options import DEFAULT_DB, DbOption, JsonOption
from emabench.cli.spec_flags import grid, takes_spec_flags
from emabench.records import DEFAULT_MAX_ATTEMPTS

if TYPE_CHECKING:
    from emabench.records import PlannedRun, QueuedRun
    from emabench.report.estimate import Estimate

_LARGEST = 1_000_000


@takes_spec_flags
def command(
    ctx: typer.Context,
    priority: Annotated[
        int,
        typer.Option(
            "--priority",
            min=-_LARGEST,
            max=_LARGEST,
            metavar="N",
            help="The highest is worked on first.",
        ),
    ] = 0,
    max_attempts: Annotated[
        int,
        typer.Option(
            "--max-attempts",
            min=1,
            max=_LARGEST,
            metavar="N",
            help="Failures of a job before it is given up.",
        ),
    ] = DEFAULT_MAX_ATTEMPTS,
    name: Annotated[str | None, typer.Option("--name", help="Label of the runs.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Queue runs that exist again.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the resolved specs and an estimate; queue nothing."),
    ] = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Add runs to the queue and return at once with their ids; 'emabench work' runs them.

    Takes the flags and grids of 'emabench run'. Each run is two jobs: a pretraining, and the
    evaluation that depends on it. A run that exists is not queued again.

    Examples:
        emabench queue --method simclr,moco --ema-scope none,projector,full --seed 0..4
        emabench queue study.yaml --priority 10 --name study
        emabench queue study.yaml --dry-run
    """
    points = list(grid(ctx.params))
    from emabench import experiment
    from emabench.cli.console import err, print_json
    from emabench.cli.progress import listener
    from emabench.store import RunStore

    with listener(err()) as on_event:
        plans = [
            experiment.resolve(point.spec, command=point.command, name=name, on_event=on_event)
            for point in points
        ]
    if dry_run:
        _preview(plans, db=db, json=json)
        return
    with RunStore.open(db, mode="write") as store:
        runs = [
            store.add_run(plan, force=force, priority=priority, max_attempts=max_attempts)
            for plan in plans
        ]
    if json:
        rows = [_as_json(plan, run) for plan, run in zip(plans, runs, strict=True)]
        print_json({"schema_version": 1, "runs": rows})
        return
    for plan, run in zip(plans, runs, strict=True):
        typer.echo(_line(plan, run))
    new = sum(not run.existed for run in runs)
    err().print(f"{new} of {len(runs)} runs are new; 'emabench work' runs what is queued")


def _line(plan: PlannedRun, run: QueuedRun) -> str:
    from emabench.report.queue_status import what

    note = f" (exists, {run.state})" if run.existed else ""
    return f"{run.pretrain_job} {run.eval_job} {what(plan.spec)}{note}"


def _as_json(plan: PlannedRun, run: QueuedRun) -> dict[str, object]:
    return {
        "id": run.id,
        "pretrain_job": run.pretrain_job,
        "eval_job": run.eval_job,
        "existed": run.existed,
        "state": run.state.value,
        "fingerprint": plan.fingerprint,
        "command": plan.command,
    }


def _preview(plans: Sequence[PlannedRun], *, db: str, json: bool) -> None:
    from emabench.cli.console import print_json
    from emabench.cli.plans import plan_values, print_plans

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


def _estimate(plans: Sequence[PlannedRun], db: str) -> Estimate | None:
    """Judge by the store, if there is one."""
    from emabench.errors import NotFoundError
    from emabench.report.estimate import estimate
    from emabench.store import RunStore

    try:
        with RunStore.open(db, mode="read") as store:
            return estimate(plans, store.runs(smoke=True))
    except NotFoundError:
        return None


def _in_words(found: Estimate | None) -> str:
    from emabench.report.numbers import duration

    if found is not None and found.runs == 0:
        return "all of them are done already"
    if found is None or found.seconds is None:
        return "no estimate: the store holds no finished run like these"
    which = "" if found.estimated == found.runs else f" for {found.estimated} of {found.runs} runs"
    by = "1 earlier run" if found.sources == 1 else f"{found.sources} earlier runs"
    return f"about {duration(found.seconds)}{which}, one after the other, judged by {by}"
