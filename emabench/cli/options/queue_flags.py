"""Options of the commands that add runs to the queue."""

from __future__ import annotations

from typing import Annotated

import typer

_LARGEST = 1_000_000

PriorityOption = Annotated[
    int,
    typer.Option(
        "--priority",
        min=-_LARGEST,
        max=_LARGEST,
        metavar="N",
        help="The highest is worked on first.",
    ),
]
MaxAttemptsOption = Annotated[
    int,
    typer.Option(
        "--max-attempts",
        min=1,
        max=_LARGEST,
        metavar="N",
        help="Failures of a job before it is given up.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Queue runs that exist again.")]
PreviewOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the resolved specs and an estimate; queue nothing."),
]
JoinStudyOption = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="Study that the runs belong to from now on."),
]
LabelOption = Annotated[str | None, typer.Option("--name", help="Label of the runs.")]
