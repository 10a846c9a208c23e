"""Benches on the terminal or as JSON: what ``bench`` and ``compare --bench`` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from emabench.table import counted, visible

if TYPE_CHECKING:
    from emabench.records import MetricPoint, RunRecord


def print_stored_benches(db: str, where: Sequence[str] | None, *, json: bool) -> None:
    """Print the finished benches of a store, newest last.

    Args:
        db: path or URL of the store.
        where: conditions ``field=value``.
        json: whether to print JSON.

    Raises:
        NotFoundError: none fits.
    """
    from emabench.cli.options.run_choice import run_query
    from emabench.errors import NotFoundError
    from emabench.records import JobState
    from emabench.store import RunStore

    with RunStore.open(db, mode="read") as store:
        found = store.benches(run_query(where))
        done = [each for each in found if each.state is JobState.DONE and each.unreadable is None]
        if not done:
            raise NotFoundError("no finished bench matches", hint="emabench bench makes one")
        benches = [(bench, store.metrics(bench.id)) for bench in done]
    print_benches(benches, json=json)


def print_benches(
    benches: Sequence[tuple[RunRecord, Sequence[MetricPoint]]], *, json: bool
) -> None:
    """Print finished benches, each with its metrics."""
    from emabench.cli.app.console import print_cautions, print_json
    from emabench.cli.show.tables import print_table
    from emabench.report.tables.bench_table import (
        bench_details,
        bench_notes,
        bench_rows,
        bench_tables,
        bench_title,
    )

    if json:
        details = [bench_details(bench, points) for bench, points in benches]
        print_json({"schema_version": 1, "benches": details})
        return
    for bench, points in benches:
        rows = bench_rows(bench, points)
        typer.echo(visible(f"{bench_title(bench)}, {counted(rows[0].steps, 'step')} of each"))
        for title, table in bench_tables(rows):
            print_table(table, title)
        print_cautions(bench_notes(rows))
