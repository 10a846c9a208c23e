"""What is pruned, in words and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emabench.report.disk_usage import readable_size
from emabench.report.tables import Table
from emabench.store.pruning import Prunable, Surplus


def pruning_table(found: Sequence[Prunable]) -> Table:
    """Return one line per file."""
    rows = [(each.why.value, readable_size(each.file.size), str(each.file.path)) for each in found]
    return Table(("what", "size", "file"), tuple(rows), right=frozenset({"size"}))


def pruning_summary(found: Sequence[Prunable]) -> str:
    """Return the size of all files, and of those of each reason."""
    if not found:
        return "nothing"
    parts = []
    for why in Surplus:
        files = [each.file for each in found if each.why is why]
        if files:
            size = readable_size(sum(file.size for file in files))
            parts.append(f"{size} in {len(files)} {why.value}")
    total = readable_size(sum(each.file.size for each in found))
    return f"{total} ({', '.join(parts)})"


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
