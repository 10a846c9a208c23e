"""Draw finished runs: accuracy against cost, curves, where the time goes, gradients, blocks, seeds.

Every picture says n and its source, draws its intervals, and can be read in grey.

Examples:
    emabench plot pareto -o pareto.png
    emabench plot curves --where method=moco -o curves.svg
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from emabench.cli.app.discovery import NamedCommands
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    StudyOption,
    WhereOption,
    run_query,
)
from emabench.cli.show.pictures import (
    DataOption,
    NameOption,
    PictureOption,
    RunsArgument,
    SmokeOption,
    draw_picture,
)
from emabench.errors import UnknownNameError

if TYPE_CHECKING:
    from emabench.analysis.selection import Arms
    from emabench.records import RunValues
    from emabench.report.figures.cost_data import Whole

app = typer.Typer(cls=NamedCommands, add_completion=False, rich_markup_mode=None)

MetricOption = Annotated[
    str, typer.Option("--metric", metavar="NAME", help="A metric, as for compare.")
]


@app.command()
def pareto(
    output: PictureOption,
    runs: RunsArgument = None,
    metric: MetricOption = "top1",
    cost: Annotated[
        str,
        typer.Option("--cost", metavar="NAME", help="The cost: a metric, as for compare."),
    ] = "step_ms",
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    json: DataOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Draw accuracy against cost, arm by arm, with the Pareto front.

    Examples:
        emabench plot pareto -o pareto.png
        emabench plot pareto --metric knn_top1 --cost total_s --study which-block -o blocks.pdf
    """
    from emabench.analysis.metric_values import MetricValues, wanted_values
    from emabench.analysis.metrics import parse_metric
    from emabench.report.figures.pareto import draw_pareto
    from emabench.report.figures.pareto_data import pareto

    height, price = parse_metric(metric), parse_metric(cost)

    def gather(arms: Arms, values: RunValues) -> Any:
        return pareto(arms, height, price, MetricValues.of(values))

    query = run_query(where, ids=runs, name=name, study=study, smoke=smoke)
    wanted = wanted_values([height, price])
    draw_picture("pareto", query, db, output, wanted, json=json, gather=gather, draw=draw_pareto)


@app.command()
def curves(
    output: PictureOption,
    runs: RunsArgument = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="What was recorded at the end of every epoch: online_top1, loss, effective_rank…",
        ),
    ] = "online_top1",
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    json: DataOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Draw learning curves against epochs, and against the time of training.

    Examples:
        emabench plot curves -o curves.png
        emabench plot curves --metric loss --where method=simclr -o loss.svg
    """
    from emabench.records import WantedValues
    from emabench.report.figures.curves import draw_curves
    from emabench.report.figures.curves_data import curves

    def gather(arms: Arms, values: RunValues) -> Any:
        return curves(arms, values.points.__getitem__, metric)

    query = run_query(where, ids=runs, name=name, study=study, smoke=smoke)
    wanted = WantedValues(points=None)
    draw_picture("curves", query, db, output, wanted, json=json, gather=gather, draw=draw_curves)


@app.command()
def cost(
    output: PictureOption,
    runs: RunsArgument = None,
    of: Annotated[
        str, typer.Option("--of", metavar="WHAT", help="A step, or the whole run: step or run.")
    ] = "step",
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    json: DataOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Draw where the time goes: the phases of a step, or of whole runs, as stacked bars.

    Examples:
        emabench plot cost -o step.png
        emabench plot cost --of run -o run.png
    """
    from emabench.records import WantedValues
    from emabench.report.figures.cost import draw_cost
    from emabench.report.figures.cost_data import cost_breakdown

    whole = _whole(of)

    def gather(arms: Arms, values: RunValues) -> Any:
        return cost_breakdown(arms, whole)

    query = run_query(where, ids=runs, name=name, study=study, smoke=smoke)
    wanted = WantedValues()
    draw_picture("cost", query, db, output, wanted, json=json, gather=gather, draw=draw_cost)


@app.command()
def stability(
    output: PictureOption,
    runs: RunsArgument = None,
    quantity: Annotated[
        str, typer.Option("--quantity", metavar="NAME", help="As for emabench stability.")
    ] = "grad_norm_cv",
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    json: DataOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Draw how the gradient fluctuates at the output of every block, one panel per arm.

    Examples:
        emabench plot stability -o stability.png
    """
    from emabench.analysis.stability import stability
    from emabench.records import WantedValues
    from emabench.report.figures.stability import draw_stability

    def gather(arms: Arms, values: RunValues) -> Any:
        return stability(arms, values.points.__getitem__, quantity)

    query = run_query(where, ids=runs, name=name, study=study, smoke=smoke)
    wanted = WantedValues(points=(f"{quantity}:",))
    draw_picture(
        "stability", query, db, output, wanted, json=json, gather=gather, draw=draw_stability
    )


@app.command()
def blocks(
    output: PictureOption,
    runs: RunsArgument = None,
    metric: MetricOption = "top1",
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    json: DataOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Draw accuracy by averaged block: each alone, and each with all that follow.

    Examples:
        emabench plot blocks --study which-block -o blocks.png
    """
    from emabench.analysis.metric_values import MetricValues, wanted_values
    from emabench.analysis.metrics import parse_metric
    from emabench.report.figures.blocks import draw_blocks
    from emabench.report.figures.blocks_data import block_accuracies

    height = parse_metric(metric)

    def gather(arms: Arms, values: RunValues) -> Any:
        metrics_of = values.points.__getitem__
        return block_accuracies(arms, metrics_of, height, MetricValues.of(values))

    query = run_query(where, ids=runs, name=name, study=study, smoke=smoke)
    wanted = wanted_values([height], None)
    draw_picture("blocks", query, db, output, wanted, json=json, gather=gather, draw=draw_blocks)


@app.command()
def seeds(
    output: PictureOption,
    runs: RunsArgument = None,
    metric: MetricOption = "top1",
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    json: DataOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Draw every seed of every arm, and their means.

    Examples:
        emabench plot seeds -o seeds.png
        emabench plot seeds --metric throughput -o speed.png
    """
    from emabench.analysis.metric_values import MetricValues, wanted_values
    from emabench.analysis.metrics import parse_metric
    from emabench.report.figures.seeds import draw_seeds
    from emabench.report.figures.seeds_data import seeds

    axis = parse_metric(metric)

    def gather(arms: Arms, values: RunValues) -> Any:
        return seeds(arms, axis, MetricValues.of(values))

    query = run_query(where, ids=runs, name=name, study=study, smoke=smoke)
    wanted = wanted_values([axis])
    draw_picture("seeds", query, db, output, wanted, json=json, gather=gather, draw=draw_seeds)


def _whole(of: str) -> Whole:
    """Return what is broken down.

    Raises:
        UnknownNameError: neither a step nor a run.
    """
    wholes: tuple[Whole, ...] = ("step", "run")
    found = next((whole for whole in wholes if whole == of), None)
    if found is not None:
        return found
    raise UnknownNameError("whole", of, wholes)
