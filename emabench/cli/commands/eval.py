"""``emabench eval``: evaluate finished weights again, in another way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.artifacts.layout import artifacts_folder
from emabench.cli.options.download_option import DownloadOption
from emabench.cli.options.kept_files import (
    ArtifactsOption,
    CacheBudgetOption,
    CacheOption,
)
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.plugin_option import PluginOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

if TYPE_CHECKING:
    from emabench.records import RunRecord

PANEL = "Run"


def command(
    ctx: typer.Context,
    weights: Annotated[
        list[str],
        typer.Argument(
            metavar="WEIGHTS…",
            help="Ids of runs (the first characters are enough), @last, or files of weights: "
            "safetensors, .pth, .pt, .ckpt.",
        ),
    ],
    network: Annotated[
        str | None, typer.Option("--network", metavar="NAMES", help="online, target or average.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", metavar="NAMES", help="Data set; by default that of the pretraining."
        ),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option("--data-dir", metavar="DIR", help="Folder of the images, taken literally."),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(
            "--image-size",
            metavar="N",
            help="Side of the images in pixels; by default that of the pretraining.",
        ),
    ] = None,
    train_subset: Annotated[
        str | None, typer.Option("--train-subset", metavar="N", help="Fit to this many images.")
    ] = None,
    test_subset: Annotated[
        str | None, typer.Option("--test-subset", metavar="N", help="Test on this many images.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone", metavar="NAME", help="timm model of a file that does not name one."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            envvar="EMABENCH_DEVICE",
            help="auto, cpu, cuda, cuda:1, mps…; by default that of the pretraining.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUES",
            help="Set any field of evaluation, for example evaluation.knn.k=20; may be repeated.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Repeat evaluations that exist already.")
    ] = False,
    queue: Annotated[
        bool, typer.Option("--queue", help="Only queue them; 'emabench work' runs them.")
    ] = False,
    download: DownloadOption = False,
    plugin: PluginOption = None,
    cache: CacheOption = None,
    cache_budget: CacheBudgetOption = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: ArtifactsOption = None,
) -> None:
    """Evaluate finished weights again: another network, probe or data set; record it in the store.

    Whatever you leave out is as in the run itself. Comma lists make a grid. An evaluation of the
    same weights that exists already is not repeated.

    Examples:
        emabench eval @last --network target
        emabench eval 3fa9 77c1 --dataset cifar100 --download --set evaluation.knn.k=20,200
        emabench eval moco.pth.tar --backbone resnet18 --set backbone.stem=original
    """
    from emabench.cli.app.console import err, print_json
    from emabench.cli.options.job_ids import chosen_weights
    from emabench.cli.show.execution import execute
    from emabench.cli.show.plans import add_all, print_queued, queued_values
    from emabench.cli.show.progress import listener
    from emabench.engines.local import raise_unless_done
    from emabench.plans.evaluations import evaluation_plans, evaluation_points
    from emabench.queue.process import prepare
    from emabench.queue.worker import Workplace

    if not queue:
        prepare()
    folder = artifacts_folder(db, artifacts)
    points = evaluation_points(ctx.params)
    sources = [chosen_weights(text, db) for text in weights]
    with listener(err()) as on_event:
        plans = evaluation_plans(sources, points, artifacts=folder, on_event=on_event)
    if queue:
        queued = add_all(plans, db=db, force=force)
        if json:
            print_json({"schema_version": 1, "evaluations": queued_values(plans, queued)})
        else:
            print_queued(plans, queued)
            err().print("'emabench work' runs what is queued")
        return
    outcomes, records = execute(plans, db=db, place=Workplace(folder), force=force)
    existed = {outcome.run.id for outcome in outcomes if outcome.run.existed}
    _print(list(records.values()), existed=existed, json=json)
    raise_unless_done(outcomes, what="evaluations")


def _print(evaluations: Sequence[RunRecord], *, existed: set[str], json: bool) -> None:
    from emabench.cli.app.console import print_json
    from emabench.cli.show.tables import print_table
    from emabench.report.tables.evaluation_table import evaluation_table, evaluation_values

    if json:
        rows = [evaluation_values(each) | {"existed": each.id in existed} for each in evaluations]
        print_json({"schema_version": 1, "evaluations": rows})
        return
    print_table(evaluation_table(evaluations))
