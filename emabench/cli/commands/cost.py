"""``emabench cost``: what would EMA scopes cost? By arithmetic, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from emabench.cli.options.output_forms import JsonOption, PriceOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption
from emabench.cli.options.spec_flags import takes_spec_flags

if TYPE_CHECKING:
    from emabench.jobs.scope_costs import ScopeCost
    from emabench.records import RunRecord
    from emabench.report.tables.cost_table import CostRow

PANEL = "Look things up"


@takes_spec_flags
def command(
    ctx: typer.Context,
    from_store: Annotated[
        bool,
        typer.Option(
            "--from-store",
            help="Predict the time too, from what the store measured on this device.",
        ),
    ] = False,
    price_per_hour: PriceOption = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Print what each EMA scope costs: operations of a step and a run, size of the copies.

    Nothing is trained. Takes the flags of run; without --ema-scope it shows none, the projector,
    every suffix of blocks, and the whole encoder. A multiply-add counts as 2 operations.

    Examples:
        emabench cost --method moco
        emabench cost --preset cifar10 --dataset synthetic --train-subset 50000 --method byol
        emabench cost --method simclr --from-store --price-per-hour 2.5
    """
    from emabench.cli.app.console import err, print_json
    from emabench.cli.show.progress import listener
    from emabench.cli.show.tables import print_table
    from emabench.jobs.scope_costs import scope_costs
    from emabench.plans.grids import grid
    from emabench.report.tables.cost_table import cost_notes, cost_table, cost_values
    from emabench.spec.grid import expand_values

    flags = dict(ctx.params)
    text = flags.pop("ema_scope", None)
    scopes = None
    if text is not None:
        scopes = [str(each) for each in expand_values(text, what="--ema-scope", as_text=True)]
    points = list(grid(flags))
    earlier = _earlier(db) if from_store else None
    with listener(err()) as on_event:
        found = [
            scope_costs(point.spec, scopes, command=point.command, on_event=on_event)
            for point in points
        ]
    tables = [(costs, _rows(costs, earlier, price_per_hour)) for costs in found]
    if json:
        values = [_about(costs) | {"rows": cost_values(rows)} for costs, rows in tables]
        print_json({"schema_version": 1, "costs": values})
        return
    for costs, rows in tables:
        about = _about(costs)
        typer.echo(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in about.items()))
        print_table(cost_table(rows))
        for note in cost_notes({row.ema_scope: row.flops_per_step for row in rows}):
            err().print(f"note: {note}")
        if from_store and all(row.train_s is None for row in rows):
            err().print("note: the store has no measurement like it from this device")


def _earlier(db: str) -> list[RunRecord]:
    from emabench.records import RunQuery
    from emabench.store import RunStore

    with RunStore.open(db, mode="read") as store:
        return [*store.runs(RunQuery(smoke=True)), *store.benches()]


def _about(costs: list[ScopeCost]) -> dict[str, object]:
    from emabench.spec.paths import SHORT_NAMES, value_at

    names = ("method", "backbone", "dataset", "image_size", "batch_size", "epochs")
    spec = costs[0].plan.spec
    return {name: value_at(spec, SHORT_NAMES[name]) for name in names} | {"steps": costs[0].steps}


def _rows(
    costs: list[ScopeCost], earlier: list[RunRecord] | None, price_per_hour: float | None
) -> list[CostRow]:
    from emabench import device as devices
    from emabench.analysis.pace import paces
    from emabench.report.tables.cost_table import CostRow, with_prediction

    flops = {cost.ema_scope: cost.flops_per_step for cost in costs}
    plan = costs[0].plan
    speeds = {}
    if earlier is not None:
        device = devices.describe(devices.choose(plan.spec["pretrain"]["device"]))
        speeds = paces(earlier, plan.spec, device=device, identity=plan.identity, flops=flops)

    def ratio(cost: ScopeCost, scope: str) -> float | None:
        below = flops.get(scope)
        return cost.flops_per_step / below if cost.flops_per_step and below else None

    return [
        with_prediction(
            CostRow(
                ema_scope=cost.ema_scope,
                flops_per_step=cost.flops_per_step,
                flops=cost.flops,
                ratio_to_none=ratio(cost, "none"),
                ratio_to_full=ratio(cost, "full"),
                copied_parameters=cost.copied_parameters,
                ema_bytes=cost.ema_bytes,
                ema_bytes_moved=cost.ema_bytes_moved,
            ),
            cost.images,
            speeds.get(cost.ema_scope),
            price_per_hour,
        )
        for cost in costs
    ]
