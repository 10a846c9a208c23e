"""What the shell proposes for a value. It shall answer at once: nothing slow is imported here.

SQLAlchemy alone takes longer than a key press may, so that the ids and tags of a store are read
without it, and of a store in a file only. Whatever goes wrong proposes nothing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import typer

from emabench.records import COST_READINGS, RUN_LABELS, USUAL_RESULTS
from emabench.table import visible

_FIELDS = (
    "method",
    "ema_scope",
    "backbone",
    "dataset",
    "data_dir",
    "epochs",
    "batch_size",
    "lr",
    "seed",
    "device",
    "precision",
    "ema.decay",
)
"""Some of the fields of a spec: those that have flags, and the decay."""
_NEWEST = 50
"""Runs that are proposed."""
_PATIENCE = 0.2
"""Seconds to wait for a store that is locked."""
_RUNS = """
SELECT jobs.id, coalesce(experiments.name, ''), jobs.state
FROM jobs JOIN experiments ON experiments.id = jobs.experiment_id
WHERE jobs.position = 0 AND jobs.id LIKE ? || '%' ORDER BY experiments.id DESC LIMIT ?
"""
_TAGS = "SELECT tag, count(*) FROM run_tags GROUP BY tag ORDER BY tag"


def complete_runs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Propose the ids of the newest runs, each with its name and state, and ``@last``."""
    last = [("@last", "the newest run")] if "@last".startswith(incomplete) else []
    rows = _rows(ctx, _RUNS, incomplete, _NEWEST)
    return last + [(run, " ".join(filter(None, words))) for run, *words in rows]


def complete_tags(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Propose the tags of the store; of a comma list, its last part."""
    return _last_part(incomplete, [(tag, f"{count} runs") for tag, count in _rows(ctx, _TAGS)])


def complete_run_fields(incomplete: str) -> list[str]:
    """Propose what can be asked of a run by name; of a comma list, its last part."""
    known = (*_FIELDS, *RUN_LABELS, *USUAL_RESULTS, *COST_READINGS)
    names = [(name, "") for name in known]
    return [value for value, _ in _last_part(incomplete, names)]


def complete_condition(ctx: typer.Context, incomplete: str) -> list[str]:
    """Propose the names that a condition may begin with, and the tags of the store."""
    if incomplete.startswith("tag="):
        return [f"tag={tag}" for tag, _ in _rows(ctx, _TAGS) if f"tag={tag}".startswith(incomplete)]
    return [f"{name}=" for name in complete_run_fields(incomplete)]


def _last_part(incomplete: str, known: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return what a comma list may become, by what its last part may be."""
    before, comma, begun = incomplete.rpartition(",")
    given = before.split(",")
    return [
        (f"{before}{comma}{value}", words)
        for value, words in known
        if value.startswith(begun) and value not in given
    ]


def _rows(ctx: typer.Context, query: str, *values: object) -> list[tuple[str, ...]]:
    """Return what a store in a file says, as text that a terminal may show."""
    with contextlib.suppress(sqlite3.Error, OSError), _opened(ctx) as connection:
        rows = connection.execute(query, values).fetchall()
        return [tuple(visible(str(cell)) for cell in row) for row in rows]
    return []


@contextlib.contextmanager
def _opened(ctx: typer.Context) -> Iterator[sqlite3.Connection]:
    from emabench.cli.options.run_choice import DEFAULT_DB

    location = ctx.params.get("db") or os.environ.get("EMABENCH_DB") or DEFAULT_DB
    path = Path(str(location).removeprefix("sqlite:///")).absolute()
    with contextlib.closing(
        sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)
    ) as connection:
        yield connection
