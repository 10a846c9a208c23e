"""``emabench show``: everything known of one run."""

from __future__ import annotations

import typer

from emabench.cli.app.console import out, print_json
from emabench.cli.options.output_forms import JsonOption, PriceOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption, RunArgument

PANEL = "Read"


def command(
    run: RunArgument,
    price_per_hour: PriceOption = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Show one run: results, cost, environment, attempts, curves, and its complete spec.

    Also lists the evaluations of its weights. An evaluation or a bench is shown by its own id.

    Examples:
        emabench show @last
        emabench show 3fa9 --price-per-hour 2.5
        emabench show 3fa9 --json
    """
    from emabench.analysis.metric_values import told_points
    from emabench.cli.show.tables import print_table
    from emabench.records import JobKind, JobState
    from emabench.report.tables.bench_table import bench_details, bench_rows, bench_tables
    from emabench.report.tables.evaluation_table import evaluation_values
    from emabench.report.tables.run_sheet import run_sheet
    from emabench.report.tables.run_table import last_points, run_details
    from emabench.spec.experiment import to_yaml
    from emabench.store import RunStore
    from emabench.table import visible

    with RunStore.open(db, mode="read") as store:
        record = store.run(run)
        points = told_points(record, store.metrics(record.id))
        evaluations = store.evaluations(record.id)
    measured = record.kind is JobKind.BENCH and record.state is JobState.DONE
    measured = measured and record.unreadable is None
    if json:
        details = run_details(record, last_points(points), price_per_hour=price_per_hour)
        if measured:
            details["bench"] = bench_details(record, points)
        details["evaluations"] = [evaluation_values(each) for each in evaluations]
        print_json({"schema_version": 1, "run": details})
        return
    sheet = run_sheet(record, points, evaluations, price_per_hour=price_per_hour)
    if measured:
        sheet += bench_tables(bench_rows(record, points))
    for title, table in sheet:
        if table.rows:
            print_table(table, title)
    out().print("spec", style="italic")
    typer.echo(visible(to_yaml(record.spec)), nl=False)
