"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from emabench.artifacts.layout import Keep
from emabench.data.cache.cache_mode import BUDGET_VARIABLE, MODE_VARIABLE, parse_bytes, parse_mode
from emabench.errors import UsageError

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
ArtifactsOption = Annotated[
    Path | None,
    typer.Option(
        "--artifacts",
        envvar="EMABENCH_ARTIFACTS",
        metavar="DIR",
        help="Folder of weights, checkpoints and logs; beside the store unless it is given.",
    ),
]
KeepOption = Annotated[
    Keep,
    typer.Option(
        "--keep",
        envvar="EMABENCH_KEEP",
        help="What stays of a job that is done, beside its log.",
    ),
]
PriceOption = Annotated[
    float | None,
    typer.Option(
        "--price-per-hour",
        min=0,
        metavar="PRICE",
        help="Price of an hour of the device, in any currency; it is shown, never stored.",
    ),
]


def _export(context: typer.Context, variable: str, value: str | None) -> None:
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
    _export(context, MODE_VARIABLE, value)
    return value


def _export_budget(context: typer.Context, value: str | None) -> str | None:
    if value is not None:
        parse_bytes(value)
    _export(context, BUDGET_VARIABLE, value)
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
        help="What decoded images may take, such as 8GiB; half of what is free unless given.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")]
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
NameOption = Annotated[
    str | None, typer.Option("--name", help="Only runs that were given this name.")
]
LabelOption = Annotated[str | None, typer.Option("--name", help="Label of the runs.")]
SmokeOption = Annotated[bool, typer.Option("--smoke", help="Take smoke runs too.")]
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN…", help="Ids, or @last; all finished runs if none is given."),
]
MetricsOption = Annotated[
    str | None,
    typer.Option("--metric", metavar="NAME,…", help="As for compare.  [default: top1,throughput]"),
]
ByOption = Annotated[
    str | None,
    typer.Option("--by", metavar="FIELD", help="As for compare.  [default: ema_scope]"),
]
BaselineOption = Annotated[
    str | None, typer.Option("--baseline", metavar="VALUE", help="As for compare.")
]
MarginOption = Annotated[
    list[str] | None,
    typer.Option("--margin", metavar="METRIC=WIDTH", help="As for compare. May be repeated."),
]
JoinStudyOption = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="Study that the runs belong to from now on."),
]


def where_filters(conditions: Sequence[str] | None) -> dict[str, Any]:
    """Return the values that ``field=value`` conditions ask for, by complete field path.

    Raises:
        UsageError: there is no ``=``, no such field, or the value cannot be read.
    """
    from emabench.spec.experiment import parse_scalar
    from emabench.spec.paths import full_path, is_text

    filters: dict[str, Any] = {}
    for condition in conditions or ():
        name, equals, value = condition.partition("=")
        if not equals:
            raise UsageError(
                f"--where {condition!r} has no '='", hint="write for example --where ema_scope=full"
            )
        path = full_path(name)
        literal = is_text(path) and value != "null"
        filters[path] = value if literal else parse_scalar(value, what=name)
    return filters


def artifacts_folder(db: str, artifacts: Path | None) -> Path:
    """Return the folder of weights, checkpoints and logs that belongs to a store.

    Args:
        db: path or URL of the store.
        artifacts: the folder that the user asked for; None is ``<store>-artifacts`` beside a store
            that is a file, and in the current folder for any other.
    """
    if artifacts is not None:
        return artifacts
    scheme, is_url, rest = db.partition("://")
    if not is_url:
        return _beside(Path(db))
    if scheme.startswith("sqlite") and rest.startswith("/") and rest != "/":
        return _beside(Path(rest[1:].partition("?")[0]))
    name = rest.partition("?")[0].rstrip("/").rpartition("/")[2]
    return Path(f"{name or 'results'}-artifacts")


def _beside(store: Path) -> Path:
    place = store.expanduser()
    return place.parent / f"{place.stem or 'results'}-artifacts"
