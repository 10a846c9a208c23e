"""Where weights, checkpoints, logs and decoded images are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from emabench.artifacts.layout import Keep
from emabench.data.cache.cache_mode import BUDGET_VARIABLE, MODE_VARIABLE, parse_bytes, parse_mode

ArtifactsOption = Annotated[
    Path | None,
    typer.Option(
        "--artifacts",
        envvar="EMABENCH_ARTIFACTS",
        metavar="DIR",
        help="Folder for weights, checkpoints and logs; by default beside the store.",
    ),
]
KeepOption = Annotated[
    Keep,
    typer.Option(
        "--keep",
        envvar="EMABENCH_KEEP",
        help="What to keep of a finished job, besides its log.",
    ),
]


def export_variable(context: typer.Context, variable: str, value: str | None) -> None:
    """Let a flag win over its variable, for this command and the processes that it starts."""
    if value is None or context.resilient_parsing:
        return
    before = os.environ.get(variable)
    os.environ[variable] = value
    if before is None:
        context.call_on_close(lambda: os.environ.pop(variable, None))
    else:
        context.call_on_close(lambda: os.environ.__setitem__(variable, before))


def _export_mode(context: typer.Context, value: str | None) -> str | None:
    if value is not None:
        parse_mode(value)
    export_variable(context, MODE_VARIABLE, value)
    return value


def _export_budget(context: typer.Context, value: str | None) -> str | None:
    if value is not None:
        parse_bytes(value)
    export_variable(context, BUDGET_VARIABLE, value)
    return value


CacheOption = Annotated[
    str | None,
    typer.Option(
        "--cache",
        envvar=MODE_VARIABLE,
        metavar="WHERE",
        callback=_export_mode,
        help="Where decoded images are kept: auto, disk, ram or none.",
    ),
]
"""Its callback puts it where the data is opened, here and in the processes of jobs."""
CacheBudgetOption = Annotated[
    str | None,
    typer.Option(
        "--cache-budget",
        envvar=BUDGET_VARIABLE,
        metavar="BYTES",
        callback=_export_budget,
        help="Space for decoded images, such as 8GiB; by default half of what is free.",
    ),
]
