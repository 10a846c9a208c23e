"""What the folder of artefacts takes, by run and by kind of file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emabench.artifacts.files import FileKind, JobFile
from emabench.records import RunRecord
from emabench.report.tables.queue_table import what
from emabench.table import UNKNOWN, Table

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True)
class DiskUsage:
    """Bytes by kind of file: of runs, and of what is none of the store's.

    Attributes:
        runs: those that have files, the largest first.
        orphans: of jobs that the store does not hold, by their ids, the largest first.
        strangers: of files that no job has written.
    """

    runs: tuple[tuple[RunRecord, Mapping[FileKind, int]], ...]
    orphans: tuple[tuple[str, Mapping[FileKind, int]], ...]
    strangers: int

    @property
    def by_kind(self) -> Mapping[FileKind, int]:
        """Bytes by kind, of all files."""
        parts = [sizes for _, sizes in (*self.runs, *self.orphans)]
        return _sum([*parts, {FileKind.OTHER: self.strangers}])

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(self.by_kind.values())


def disk_usage(files: Iterable[JobFile], runs: Iterable[RunRecord]) -> DiskUsage:
    """Add up the files of each run.

    Args:
        files: what lies in the folder; to be read before the runs.
        runs: all runs of the store.
    """
    run_of = {job.id: run for run in runs for job in run.jobs}
    known: dict[str, Counter[FileKind]] = {}
    orphans: dict[str, Counter[FileKind]] = {}
    strangers = 0
    for file in files:
        if file.job_id is None:
            strangers += file.size
        elif file.job_id in run_of:
            known.setdefault(run_of[file.job_id].id, Counter())[file.kind] += file.size
        else:
            orphans.setdefault(file.job_id, Counter())[file.kind] += file.size
    return DiskUsage(
        runs=tuple((run_of[id], sizes) for id, sizes in _largest_first(known)),
        orphans=tuple(_largest_first(orphans)),
        strangers=strangers,
    )


def usage_table(usage: DiskUsage) -> Table:
    """Return one line per run, one for what is none of the store's, and the total."""
    rows = [
        (run.id, run.name or what(run.spec), run.state.value, *_sizes(sizes))
        for run, sizes in usage.runs
    ]
    if usage.orphans:
        jobs = "1 job" if len(usage.orphans) == 1 else f"{len(usage.orphans)} jobs"
        sizes = _sum(sizes for _, sizes in usage.orphans)
        rows.append((UNKNOWN, f"{jobs} not in the store", UNKNOWN, *_sizes(sizes)))
    if usage.strangers:
        strangers = _sizes({FileKind.OTHER: usage.strangers})
        rows.append((UNKNOWN, "files of no job", UNKNOWN, *strangers))
    rows.append(("total", "", "", *_sizes(usage.by_kind)))
    numbers = (*(kind.value for kind in FileKind), "total")
    return Table(("run", "what", "state", *numbers), tuple(rows), right=frozenset(numbers))


def usage_values(usage: DiskUsage) -> dict[str, Any]:
    """Return the usage as plain values for JSON, in bytes."""
    return {
        "total_bytes": usage.total,
        "bytes": _all_kinds(usage.by_kind),
        "runs": [
            {
                "id": run.id,
                "name": run.name,
                "state": run.state.value,
                "total_bytes": sum(sizes.values()),
                "bytes": _all_kinds(sizes),
            }
            for run, sizes in usage.runs
        ],
        "orphans": [
            {"job": job_id, "total_bytes": sum(sizes.values()), "bytes": _all_kinds(sizes)}
            for job_id, sizes in usage.orphans
        ],
        "stranger_bytes": usage.strangers,
    }


def readable_size(size: int) -> str:
    """Write bytes as people read them: ``512 B``, ``1.5 MiB``."""
    amount, unit = float(size), _UNITS[0]
    for unit in _UNITS:
        if round(amount, 1) < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{size} B" if unit == _UNITS[0] else f"{amount:.1f} {unit}"


def _sizes(sizes: Mapping[FileKind, int]) -> Sequence[str]:
    found = _all_kinds(sizes)
    return [
        *(readable_size(size) if size else UNKNOWN for size in found.values()),
        readable_size(sum(found.values())),
    ]


def _all_kinds(sizes: Mapping[FileKind, int]) -> dict[str, int]:
    return {kind.value: sizes.get(kind, 0) for kind in FileKind}


def _sum(parts: Iterable[Mapping[FileKind, int]]) -> Counter[FileKind]:
    total: Counter[FileKind] = Counter()
    for part in parts:
        total.update(part)
    return total


def _largest_first(
    sizes: Mapping[str, Mapping[FileKind, int]],
) -> list[tuple[str, Mapping[FileKind, int]]]:
    return sorted(sizes.items(), key=lambda pair: -sum(pair[1].values()))
