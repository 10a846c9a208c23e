"""The files of runs as tables and as values for JSON: what they take, and what is pruned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emabench.artifacts.disk_usage import DiskUsage, Sizes
from emabench.artifacts.files import FileKind
from emabench.artifacts.pruning import Prunable, Surplus
from emabench.report.tables.queue_table import what
from emabench.table import UNKNOWN, Table, counted

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def usage_table(usage: DiskUsage) -> Table:
    """Return one line per run, one for what is none of the store's, and the total."""
    rows = [
        (run.id, run.name or what(run.spec), run.state.value, *_readable_sizes(sizes))
        for run, sizes in usage.runs
    ]
    if usage.orphans:
        jobs = counted(len(usage.orphans), "job")
        sizes = _readable_sizes(usage.orphaned)
        rows.append((UNKNOWN, f"{jobs} not in the store", UNKNOWN, *sizes))
    if any(usage.strangers.values()):
        sizes = _readable_sizes(usage.strangers)
        rows.append((UNKNOWN, "files of no job", UNKNOWN, *sizes))
    rows.append(("total", "", "", *_readable_sizes(usage.total)))
    numbers = (*(kind.value for kind in FileKind), "total")
    return Table(("run", "what", "state", *numbers), tuple(rows), right=frozenset(numbers))


def usage_values(usage: DiskUsage) -> dict[str, Any]:
    """Return the usage as plain values for JSON, in bytes."""
    return {
        **_bytes(usage.total),
        "runs": [
            {"id": run.id, "name": run.name, "state": run.state.value, **_bytes(sizes)}
            for run, sizes in usage.runs
        ],
        "orphans": [{"job": job_id, **_bytes(sizes)} for job_id, sizes in usage.orphans],
        "stranger_bytes": sum(usage.strangers.values()),
    }


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
    count = counted(len(found), "file")
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


def readable_size(size: int) -> str:
    """Write bytes as people read them: ``512 B``, ``1.5 MiB``."""
    amount, unit = float(size), _UNITS[0]
    for unit in _UNITS:
        if round(amount, 1) < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{size} B" if unit == _UNITS[0] else f"{amount:.1f} {unit}"


def _readable_sizes(sizes: Sizes) -> list[str]:
    of_kinds = [sizes.get(kind, 0) for kind in FileKind]
    shown = [readable_size(size) if size else UNKNOWN for size in of_kinds]
    return [*shown, readable_size(sum(of_kinds))]


def _bytes(sizes: Sizes) -> dict[str, Any]:
    return {
        "total_bytes": sum(sizes.values()),
        "bytes": {kind.value: sizes.get(kind, 0) for kind in FileKind},
    }
