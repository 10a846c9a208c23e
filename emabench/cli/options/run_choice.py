"""Which store is meant, and which of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.cli.options.completion import complete_condition, complete_runs

if TYPE_CHECKING:
    from emabench.records import RunQuery, RunRecord
    from emabench.store import RunStore

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
        help="Only runs with this value of a field, result, cost or label; also !=, >, <, >=, <=, "
        "and ~ for a part of it. May be repeated.",
        autocompletion=complete_condition,
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
    typer.Argument(
        metavar="RUN…",
        help="Ids, or @last; by default all finished runs.",
        autocompletion=complete_runs,
    ),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Id of a run or evaluation (the first characters are enough), or @last for the "
        "newest run.",
        autocompletion=complete_runs,
    ),
]
NamedRunsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN…",
        help="Ids of runs (the first characters are enough) or @last; or choose by --where.",
        autocompletion=complete_runs,
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


def named_runs(
    store: RunStore,
    ids: Sequence[str] | None,
    where: Sequence[str] | None,
    *,
    study: str | None = None,
    name: str | None = None,
) -> list[RunRecord]:
    """Return the runs that something is to be done to, smoke ones too: named, or chosen.

    Raises:
        UsageError: neither or both was done, or several ids begin so.
        NotFoundError: there are none.
    """
    from emabench.errors import NotFoundError, UsageError

    is_chosen = bool(where or study or name)
    if bool(ids) == is_chosen:
        hint = "for example @last, or --where method=moco"
        if is_chosen:
            message = "runs are named, and chosen by options too"
            raise UsageError(message, hint="leave out one or the other")
        raise UsageError("no runs are named", hint=hint)
    found = store.runs(run_query(where, ids=ids, name=name, study=study, smoke=True))
    if not found:
        raise NotFoundError("no run matches", hint="emabench list shows the runs")
    return found
