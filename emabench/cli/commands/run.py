"""``emabench run``: train, evaluate, record; one experiment or a grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emabench.artifacts.layout import Keep, artifacts_folder
from emabench.cli.options.completion import complete_runs
from emabench.cli.options.kept_files import (
    ArtifactsOption,
    CacheBudgetOption,
    CacheOption,
    KeepOption,
)
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.queue_flags import (
    JoinStudyOption,
    LabelOption,
    PreviewOption,
    YamlOption,
)
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption
from emabench.cli.options.spec_flags import takes_spec_flags
from emabench.errors import UsageError

if TYPE_CHECKING:
    from emabench.queue.worker import Workplace
    from emabench.records import PlannedRun, RunRecord

PANEL = "Run"


@takes_spec_flags
def command(
    ctx: typer.Context,
    name: LabelOption = None,
    study: JoinStudyOption = None,
    force: Annotated[bool, typer.Option("--force", help="Repeat runs that exist already.")] = False,
    extend: Annotated[
        str | None,
        typer.Option(
            "--extend",
            metavar="RUN",
            help="Train a finished run on, to --epochs in all, from the checkpoint that it kept.",
            autocompletion=complete_runs,
        ),
    ] = None,
    dry_run: PreviewOption = False,
    yaml: YamlOption = False,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Write a torch.profiler trace; the costs of such runs do not count."
        ),
    ] = False,
    cache: CacheOption = None,
    cache_budget: CacheBudgetOption = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: ArtifactsOption = None,
    keep: KeepOption = Keep.WEIGHTS,
) -> None:
    """Pretrain with a method and an EMA scope, evaluate, and record what it cost.

    Comma lists and ranges make a grid; its runs go one after the other. A run that exists is not
    repeated. A flag overrides its environment variable, which overrides a spec file, which
    overrides the preset.

    With --extend a run that kept its checkpoint is trained on, as a new run that names it:
    optimiser, EMA and queue go on, and the schedules are those of all epochs.

    Examples:
        emabench run --method moco --ema-scope projector
        emabench run --method simclr --ema-scope none,projector,full --seed 0..4
        emabench run --dataset folder --data-dir images --ema-scope full --set ema.decay=0.99,0.996
        emabench run study.yaml --dry-run
        emabench run study.yaml --dry-run --yaml
        emabench run --extend @last --epochs 200
    """
    from emabench.cli.show.plans import check_yaml_flag, preview, resolve_points, say_size
    from emabench.plans.grids import grid, profiled

    check_yaml_flag(yaml=yaml, dry_run=dry_run)
    points = []
    if extend is None:
        points = [profiled(point) if profile else point for point in grid(ctx.params)]
    from emabench.queue.process import prepare
    from emabench.queue.worker import Workplace

    if not dry_run:
        prepare()
    if extend is None:
        plans = resolve_points(points, db=db, artifacts=artifacts, name=name, study=study)
    else:
        folder = artifacts_folder(db, artifacts)
        plans = [_extension(ctx, extend, db=db, artifacts=folder, name=name, study=study)]
    if dry_run:
        preview(plans, db=db, json=json, yaml=yaml)
        return
    say_size(plans, db=db)
    place = Workplace(artifacts_folder(db, artifacts), keep=keep)
    _execute(plans, db=db, place=place, force=force, json=json)


def _extension(
    ctx: typer.Context, run: str, *, db: str, artifacts: Path, name: str | None, study: str | None
) -> PlannedRun:
    """Return the plan of a run that goes on from another.

    Raises:
        UsageError: a flag was given that would change what is trained, or no number of epochs.
    """
    from emabench.cli.app.console import err
    from emabench.cli.options.spec_flags import given_fields
    from emabench.cli.show.progress import listener
    from emabench.plans.extensions import extension_plan
    from emabench.queue.kept_weights import kept_weights
    from emabench.spec.grid import expand_values
    from emabench.store import RunStore

    others = [each for each in given_fields(ctx, "profile") if each != "epochs"]
    if others:
        word = others[0].strip("_").replace("_", "-")
        flag = "SPEC.yaml" if word == "specs" else f"--{word}"
        raise UsageError(
            f"--extend goes on with the spec of the run: {flag} cannot change it",
            hint="give --epochs alone",
        )
    text = ctx.params["epochs"]
    values = [] if text is None else expand_values(text, what="--epochs")
    if len(values) != 1 or type(values[0]) is not int:
        raise UsageError(
            "--extend needs one number of epochs", hint="--epochs says how many there are in all"
        )
    with RunStore.open(db, mode="read") as store:
        found = store.run(run)
    with listener(err()) as on_event:
        return extension_plan(
            found,
            values[0],
            artifacts=artifacts,
            name=name,
            study=study,
            kept=kept_weights(db, artifacts),
            on_event=on_event,
        )


def _execute(
    plans: Sequence[PlannedRun], *, db: str, place: Workplace, force: bool, json: bool
) -> None:
    from emabench.cli.app.console import print_json
    from emabench.cli.show.execution import execute
    from emabench.cli.show.tables import print_table
    from emabench.engines.local import raise_unless_done
    from emabench.report.tables.finished_table import finished_table

    outcomes, runs = execute(plans, db=db, place=place, force=force)
    existed = {outcome.run.id for outcome in outcomes if outcome.run.existed}
    if json:
        rows = [_as_json(run, existed=run.id in existed) for run in runs.values()]
        print_json({"schema_version": 1, "runs": rows})
    else:
        print_table(finished_table(list(runs.values())))
    raise_unless_done(outcomes, what="runs")


def _as_json(run: RunRecord, *, existed: bool) -> dict[str, Any]:
    from emabench.report.tables.run_table import spec_value

    return {
        "id": run.id,
        "name": run.name,
        "state": run.state.value,
        "existed": existed,
        "method": spec_value(run, "method"),
        "ema_scope": spec_value(run, "ema_scope"),
        "seed": spec_value(run, "seed"),
        "results": dict(run.results),
        "cost": run.cost.as_dict(),
        "fingerprint": run.fingerprint,
        "command": run.command,
    }
