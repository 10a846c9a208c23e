"""What the files of jobs take on the disk, by run and by kind of file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from emabench.artifacts.files import FileKind, JobFile
from emabench.records import RunRecord

Sizes = Mapping[FileKind, int]
"""Bytes by kind of file."""


@dataclass(frozen=True)
class DiskUsage:
    """Bytes by kind of file: of runs, and of what is none of the store's.

    Attributes:
        runs: those that have files, the largest first.
        orphans: of jobs that the store does not hold, by their ids, the largest first.
        strangers: of files that no job has written.
    """

    runs: tuple[tuple[RunRecord, Sizes], ...]
    orphans: tuple[tuple[str, Sizes], ...]
    strangers: Sizes

    @property
    def orphaned(self) -> Sizes:
        """Of all jobs that the store does not hold."""
        return _sum(sizes for _, sizes in self.orphans)

    @property
    def total(self) -> Sizes:
        """Of all files."""
        return _sum([*(sizes for _, sizes in self.runs), self.orphaned, self.strangers])


def disk_usage(files: Iterable[JobFile], runs: Iterable[RunRecord]) -> DiskUsage:
    """Add up the files of each run.

    Args:
        files: what lies in the folder; to be read before the runs.
        runs: all runs of the store.
    """
    run_of = {job.id: run for run in runs for job in run.jobs}
    known: dict[str, Counter[FileKind]] = {}
    orphans: dict[str, Counter[FileKind]] = {}
    strangers: Counter[FileKind] = Counter()
    for file in files:
        if file.job_id is None:
            sizes = strangers
        elif file.job_id in run_of:
            sizes = known.setdefault(run_of[file.job_id].id, Counter())
        else:
            sizes = orphans.setdefault(file.job_id, Counter())
        sizes[file.kind] += file.size
    return DiskUsage(
        runs=tuple((run_of[id], sizes) for id, sizes in _largest_first(known)),
        orphans=tuple(_largest_first(orphans)),
        strangers=strangers,
    )


def _sum(parts: Iterable[Sizes]) -> Sizes:
    total: Counter[FileKind] = Counter()
    for part in parts:
        total.update(part)
    return total


def _largest_first(sizes: Mapping[str, Sizes]) -> list[tuple[str, Sizes]]:
    return sorted(sizes.items(), key=lambda pair: -sum(pair[1].values()))
