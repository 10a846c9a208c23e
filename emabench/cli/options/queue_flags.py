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
        help="Higher numbers run first.",
    ),
]
MaxAttemptsOption = Annotated[
    int,
    typer.Option(
        "--max-attempts",
        min=1,
        max=_LARGEST,
        metavar="N",
        help="Failures after which a job is given up.",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Queue runs again that exist already.")]
PreviewOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the runs, their steps and an estimate; start nothing."),
]
YamlOption = Annotated[
    bool, typer.Option("--yaml", help="With --dry-run: print the resolved specs as YAML.")
]
JoinStudyOption = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="Study to add the runs to."),
]
LabelOption = Annotated[str | None, typer.Option("--name", help="Label of the runs.")]
