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
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption, StudyOption, WhereOption
from emabench.cli.show.pictures import (
    DataOption,
    NameOption,
    PictureOption,
    RunChoice,
    RunsArgument,
    SmokeOption,
    draw_picture,
)
from emabench.errors import UnknownNameError

if TYPE_CHECKING:
    from emabench.analysis.selection import Arms
    from emabench.report.figures.cost_data import Whole
    from emabench.store import RunStore

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
    from emabench.analysis.metrics import parse_metric
    from emabench.report.figures.pareto import draw_pareto
    from emabench.report.figures.pareto_data import pareto
    from emabench.report.stored_values import read_measured

    def gather(arms: Arms, store: RunStore) -> Any:
        height, price = parse_metric(metric), parse_metric(cost)
        measured = read_measured(store, arms.runs, [height, price])
        return pareto(arms, height, price, measured)

    choice = RunChoice(runs, where, name, study, smoke, db)
    draw_picture("pareto", choice, output, json=json, gather=gather, draw=draw_pareto)


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
    from emabench.report.figures.curves import draw_curves
    from emabench.report.figures.curves_data import curves

    def gather(arms: Arms, store: RunStore) -> Any:
        return curves(arms, store.metrics, metric)

    choice = RunChoice(runs, where, name, study, smoke, db)
    draw_picture("curves", choice, output, json=json, gather=gather, draw=draw_curves)


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
    from emabench.report.figures.cost import draw_cost
    from emabench.report.figures.cost_data import cost_breakdown

    whole = _whole(of)

    def gather(arms: Arms, store: RunStore) -> Any:
        return cost_breakdown(arms, whole)

    choice = RunChoice(runs, where, name, study, smoke, db)
    draw_picture("cost", choice, output, json=json, gather=gather, draw=draw_cost)


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
    from emabench.report.figures.stability import draw_stability

    def gather(arms: Arms, store: RunStore) -> Any:
        return stability(arms, store.metrics, quantity)

    choice = RunChoice(runs, where, name, study, smoke, db)
    draw_picture("stability", choice, output, json=json, gather=gather, draw=draw_stability)


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
    from emabench.analysis.metrics import parse_metric
    from emabench.report.figures.blocks import draw_blocks
    from emabench.report.figures.blocks_data import block_accuracies
    from emabench.report.stored_values import read_measured

    def gather(arms: Arms, store: RunStore) -> Any:
        height = parse_metric(metric)
        measured = read_measured(store, arms.runs, [height])
        return block_accuracies(arms, store.metrics, height, measured)

    choice = RunChoice(runs, where, name, study, smoke, db)
    draw_picture("blocks", choice, output, json=json, gather=gather, draw=draw_blocks)


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
    from emabench.analysis.metrics import parse_metric
    from emabench.report.figures.seeds import draw_seeds
    from emabench.report.figures.seeds_data import seeds
    from emabench.report.stored_values import read_measured

    def gather(arms: Arms, store: RunStore) -> Any:
        axis = parse_metric(metric)
        return seeds(arms, axis, read_measured(store, arms.runs, [axis]))

    choice = RunChoice(runs, where, name, study, smoke, db)
    draw_picture("seeds", choice, output, json=json, gather=gather, draw=draw_seeds)


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
