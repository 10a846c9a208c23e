"""Brings a tracker up to date with runs, again and again: each run only when it has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from emabench.errors import UsageError
from emabench.records import JobKind, MetricPoint, RunRecord
from emabench.tracking._mirrored_run import MirroredRun
from emabench.tracking._tracker import Tracker


@dataclass(frozen=True)
class MirrorPass:
    """What one look at the store brought.

    Attributes:
        written: the runs that the tracker has, and how many values are new there.
        waiting: ids of those that have not begun.
        unreadable: ids of those whose spec or id is damaged, left out.
        is_last: whether nothing more will happen to any of them by itself.
    """

    written: tuple[tuple[MirroredRun, int], ...]
    waiting: tuple[str, ...]
    unreadable: tuple[str, ...]
    is_last: bool

    @property
    def new_values(self) -> int:
        """How many values are new in all runs together."""
        return sum(count for _, count in self.written)


class Mirror:
    """Mirrors runs in a tracker."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._over: dict[str, MirroredRun] = {}

    def update(
        self, runs: Iterable[RunRecord], points_of: Callable[[str], Sequence[MetricPoint]]
    ) -> MirrorPass:
        """Bring the tracker up to date.

        Args:
            runs: as they are now.
            points_of: gives the metrics of a run by its id; asked for those only that may have
                changed since the last time.

        Raises:
            UsageError: one is no run but an evaluation of its own, or a bench.
            EmabenchError: the place of the tracker cannot be written.
        """
        written, waiting, unreadable, is_last = [], [], [], True
        for run in runs:
            if run.kind is not JobKind.PRETRAIN:
                raise UsageError(f"{run.title} has no curves", hint="name runs, or leave it out")
            is_last = is_last and MirroredRun(run, ()).is_over
            # An id becomes part of a path, and a store may be somebody else's.
            if run.unreadable is not None or not (run.id.isascii() and run.id.isalnum()):
                unreadable.append(run.id)
            elif not any(job.attempts for job in run.jobs):
                waiting.append(run.id)
            else:
                written.append(self._write(run, points_of))
        return MirrorPass(tuple(written), tuple(waiting), tuple(unreadable), is_last)

    def _write(
        self, run: RunRecord, points_of: Callable[[str], Sequence[MetricPoint]]
    ) -> tuple[MirroredRun, int]:
        known = self._over.get(run.id)
        if known is not None and known.record == run:
            return known, 0
        shown = MirroredRun(run, points_of(run.id))
        count = self._tracker.write(shown)
        if shown.is_over:
            self._over[run.id] = MirroredRun(run, ())
        return shown, count
