"""Draw finished runs: accuracy, cost, their changes, curves, gradients, blocks, seeds.

Every picture states n and its source, shows intervals, and can be read in grey.

Examples:
    emabench plot pareto -o pareto.png
    emabench plot curves --where method=moco -o curves.svg
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from emabench.cli.app.discovery import NamedCommands
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NameOption,
    RunsArgument,
    SmokeOption,
    StudyOption,
    WhereOption,
)
from emabench.report.figures import PictureHelp, picture_help, picture_names

PANEL = "Read"

app = typer.Typer(cls=NamedCommands, add_completion=False, rich_markup_mode=None)


def _command(shown: PictureHelp) -> Callable[..., None]:
    """Return the command of a picture: its own options stand behind the runs."""

    def command(
        *,
        output: Annotated[
            Path,
            typer.Option("--output", "-o", metavar="FILE", help="The picture: .png, .svg or .pdf."),
        ],
        runs: RunsArgument = None,
        where: WhereOption = None,
        name: NameOption = None,
        study: StudyOption = None,
        smoke: SmokeOption = False,
        json: Annotated[bool, typer.Option("--json", help="Print what is drawn as JSON.")] = False,
        db: DbOption = DEFAULT_DB,
        **own: str | None,
    ) -> None:
        from emabench.cli.show.pictures import draw_picture
        from emabench.library import open_store
        from emabench.report.figures import make_picture
        from emabench.report.figures._sheet import check_path

        check_path(output)
        picture = make_picture(shown.name, own)
        with open_store(db) as store:
            chosen = store.select(study=study, where=where, name=name, ids=runs, smoke=smoke)
        draw_picture(chosen.gather(picture), output, json=json)

    first, second, *others, _ = inspect.signature(command, eval_str=True).parameters.values()
    own = [
        inspect.Parameter(
            option,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[
                str | None, typer.Option(f"--{option}", metavar=metavar, help=text)
            ],
        )
        for option, (default, metavar, text) in shown.options.items()
    ]
    parameters = [first, second, *own, *others]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = shown.text
    return command


for _shown in sorted(map(picture_help, picture_names()), key=lambda shown: shown.places[0]):
    app.command(_shown.name)(_command(_shown))
