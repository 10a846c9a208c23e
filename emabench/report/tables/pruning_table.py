"""What is pruned, in words and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emabench.artifacts.pruning import Prunable, Surplus
from emabench.report.tables.disk_table import readable_size
from emabench.table import Table


def pruning_table(found: Sequence[Prunable]) -> Table:
    """Return one line per file."""
    rows = [
        (each.why.name.lower(), readable_size(each.file.size), str(each.file.path))
        for each in found
    ]
    return Table(("why", "size", "file"), tuple(rows), right=frozenset({"size"}))


def pruning_summary(found: Sequence[Prunable]) -> str:
    """Return number and size of the files."""
    if not found:
        return "nothing"
    count = "1 file" if len(found) == 1 else f"{len(found)} files"
    return f"{count}, {readable_size(sum(each.file.size for each in found))}"


def pruning_reasons(found: Sequence[Prunable]) -> list[str]:
    """Return one line per reason: the size of its files, their number and what they are."""
    lines = []
    for why in Surplus:
        sizes = [each.file.size for each in found if each.why is why]
        if sizes:
            lines.append(f"{readable_size(sum(sizes)):>10}  {len(sizes):>5} {why.value}")
    return lines


def pruning_values(found: Sequence[Prunable]) -> dict[str, Any]:
    """Return the files as plain values for JSON."""
    return {
        "bytes": sum(each.file.size for each in found),
        "files": [
            {
                "path": str(each.file.path),
                "bytes": each.file.size,
                "job": each.file.job_id,
                "attempt": each.file.attempt,
                "reason": each.why.name.lower(),
            }
            for each in found
        ],
    }
