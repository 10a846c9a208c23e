"""Benches on the terminal or as JSON: what ``bench`` and ``compare --bench`` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from emabench.records import MetricPoint, RunRecord


def print_benches(
    benches: Sequence[tuple[RunRecord, Sequence[MetricPoint]]], *, json: bool
) -> None:
    """Print finished benches, each with its metrics."""
    from emabench.cli.console import err, out, print_json
    from emabench.report.bench_table import (
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
        typer.echo(f"{bench_title(bench)}, {rows[0].steps} steps of each")
        for title, table in bench_tables(rows):
            out().print(table.to_rich(title))
        for note in bench_notes(rows):
            err().print(f"note: {note}")
