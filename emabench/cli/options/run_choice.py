"""Which store is meant, and which of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from emabench.records import RunQuery

DEFAULT_DB = "results.db"

DbOption = Annotated[
    str,
    typer.Option(
        "--db",
        envvar="EMABENCH_DB",
        metavar="PATH|URL",
        help="The store: a file or a database URL.",
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="FIELD=VALUE",
        help="Only runs with this value of a field; may be repeated.",
    ),
]
StudyOption = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="Only runs that belong to this study."),
]
NameOption = Annotated[str | None, typer.Option("--name", help="Only runs with this name.")]
SmokeOption = Annotated[bool, typer.Option("--smoke", help="Include smoke runs.")]
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN…", help="Ids, or @last; by default all finished runs."),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Id of a run or evaluation (the first characters are enough), or @last for the "
        "newest run.",
    ),
]


def run_query(
    where: Sequence[str] | None = None,
    *,
    ids: Sequence[str] | None = None,
    name: str | None = None,
    study: str | None = None,
    smoke: bool = False,
) -> RunQuery:
    """Return what the options of a command ask for; see ``store.runs.run_query``."""
    from emabench.store.runs import run_query as conditions

    return conditions.run_query(where, ids=ids, name=name, study=study, smoke=smoke)
