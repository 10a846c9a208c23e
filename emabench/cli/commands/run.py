"""``emabench run``: train, evaluate, record; one experiment or a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emabench.artifacts.layout import Keep, artifacts_folder
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

    Examples:
        emabench run --method moco --ema-scope projector
        emabench run --method simclr --ema-scope none,projector,full --seed 0..4
        emabench run --dataset folder --data-dir images --ema-scope full --set ema.decay=0.99,0.996
        emabench run study.yaml --dry-run
        emabench run study.yaml --dry-run --yaml
    """
    from emabench.cli.show.plans import check_yaml_flag, preview, resolve_points, say_size
    from emabench.plans.grids import grid, profiled

    check_yaml_flag(yaml=yaml, dry_run=dry_run)
    points = [profiled(point) if profile else point for point in grid(ctx.params)]
    from emabench.queue.process import prepare
    from emabench.queue.worker import Workplace

    if not dry_run:
        prepare()
    plans = resolve_points(points, db=db, artifacts=artifacts, name=name, study=study)
    if dry_run:
        preview(plans, db=db, json=json, yaml=yaml)
        return
    say_size(plans, db=db)
    place = Workplace(artifacts_folder(db, artifacts), keep=keep)
    _execute(plans, db=db, place=place, force=force, json=json)


def _execute(
    plans: Sequence[PlannedRun], *, db: str, place: Workplace, force: bool, json: bool
) -> None:
    from emabench.cli.app.console import print_json
    from emabench.cli.show.execution import execute
    from emabench.engines.local import raise_unless_done

    outcomes, runs = execute(plans, db=db, place=place, force=force)
    existed = {outcome.run.id for outcome in outcomes if outcome.run.existed}
    if json:
        rows = [_as_json(run, existed=run.id in existed) for run in runs.values()]
        print_json({"schema_version": 1, "runs": rows})
    else:
        _print_table(list(runs.values()))
    raise_unless_done(outcomes, what="runs")


def _print_table(runs: Sequence[RunRecord]) -> None:
    from emabench.cli.show.tables import print_table
    from emabench.table import Table

    results = ("top1", "knn_top1", "online_top1")
    numbers = (*(f"{name.replace('_', ' ')} %" for name in results), "images/s", "total")
    rows = [
        (
            run.id,
            *(str(_field(run, name)) for name in ("method", "ema_scope", "seed")),
            *(_figure(run.results.get(name), ".2f") for name in results),
            _figure(run.cost.throughput, ",.0f"),
            _figure(run.cost.total_s, ".1f", " s"),
        )
        for run in runs
    ]
    rows += _floors(runs, results, blanks=2)
    headers = ("run", "method", "ema scope", "seed", *numbers)
    print_table(Table(headers, tuple(rows), frozenset(numbers), spare=("online top1 %", "total")))


def _floors(
    runs: Sequence[RunRecord], results: Sequence[str], *, blanks: int
) -> list[tuple[str, ...]]:
    """Return a line for each floor that was measured: what the runs have to beat, seed by seed."""
    from emabench.spec.linear_eval import FLOORS
    from emabench.table import UNKNOWN

    lines: dict[tuple[str, ...], None] = {}
    for floor in FLOORS:
        for run in runs:
            figures = [run.results.get(f"{name}@{floor}") for name in results]
            if any(figure is not None for figure in figures):
                shown = (_figure(figure, ".2f") for figure in figures)
                what = "raw pixels" if floor == "pixels" else floor
                seed = str(_field(run, "seed"))
                lines[(UNKNOWN, what, UNKNOWN, seed, *shown, *[UNKNOWN] * blanks)] = None
    return list(lines)


def _as_json(run: RunRecord, *, existed: bool) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "state": run.state.value,
        "existed": existed,
        "method": _field(run, "method"),
        "ema_scope": _field(run, "ema_scope"),
        "seed": _field(run, "seed"),
        "results": dict(run.results),
        "cost": run.cost.as_dict(),
        "fingerprint": run.fingerprint,
        "command": run.command,
    }


def _field(run: RunRecord, name: str) -> Any:
    from emabench.spec.paths import SHORT_NAMES, value_at

    return value_at(run.spec, SHORT_NAMES[name])


def _figure(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"  # noqa: RUF001
