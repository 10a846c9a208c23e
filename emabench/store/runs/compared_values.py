"""What a comparison needs beside the records of runs, read for many runs at once."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from emabench.records import JobKind
from emabench.store.schema.tables import Attempt, Job, Metric, Result, Series

_NAMED = 8
"""Neighbours that one more attempt is held against."""
_AT_ONCE = 500
"""Ids in one query: databases bound how many values it may have."""


def find_correct_of(
    session: Session, run_ids: Iterable[str], names: Sequence[str]
) -> dict[tuple[str, str], tuple[bytes, int]]:
    """Return packed correctness and the number of images, by run and result, where known."""
    first = aliased(Job)
    found: dict[tuple[str, str], tuple[bytes, int]] = {}
    for ids in _batches(run_ids):
        query = (
            select(first.id, Result.name, Result.correct, Result.correct_count)
            .join(Job, Job.experiment_id == first.experiment_id)
            .join(Result, Result.job_id == Job.id)
            .where(first.id.in_(ids), Result.name.in_(names), Result.correct.is_not(None))
        )
        for run, name, packed, count in session.execute(query):
            if packed is not None and count is not None:
                found[run, name] = bytes(packed), int(count)
    return found


def find_series_means(session: Session, run_ids: Iterable[str], name: str) -> dict[str, float]:
    """Return the mean over training of the metric of one name, by run; unknown values left out."""
    first = aliased(Job)
    found: dict[str, float] = {}
    for ids in _batches(run_ids):
        query = (
            select(first.id, func.avg(Metric.value))
            .join(Job, Job.experiment_id == first.experiment_id)
            .join(Series, Series.job_id == Job.id)
            .join(Metric, Metric.series_id == Series.id)
            .where(first.id.in_(ids), Series.name == name)
            .group_by(first.id)
        )
        found |= {run: float(mean) for run, mean in session.execute(query) if mean is not None}
    return found


def find_neighbours(session: Session, run_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return, by run, other runs that worked on its device while it was trained: a few, not all.

    A device is known by host and name, and the kind of the job where it has no name.
    """
    wanted = set(run_ids)
    running: dict[str, list[_Span]] = defaultdict(list)  # heaps by host, the first to end on top
    met: dict[str, dict[str, None]] = {}
    for span in _spans(session):
        beside = running[span.host]
        while beside and beside[0].end <= span.start:
            heapq.heappop(beside)
        # All of these run at this moment, so that those beyond the first few know each other.
        sharing = (each for each in beside if each.run != span.run and each.shares_device(span))
        for other in itertools.islice(sharing, _NAMED):
            for one, two in ((span, other), (other, span)):
                if one.is_training and one.run in wanted:
                    met.setdefault(one.run, {})[two.run] = None
        heapq.heappush(beside, span)
    return {run: tuple(others) for run, others in met.items()}


class _Span(NamedTuple):
    """An attempt: seconds of the clock of its host, and the device it had."""

    end: float
    start: float
    run: str
    is_training: bool
    host: str
    device: str | None
    kind: str | None

    def shares_device(self, other: _Span) -> bool:
        """Whether both, on the same host, worked on the same device."""
        if self.device is not None and other.device is not None:
            return self.device == other.device
        return self.kind == other.kind


def _spans(session: Session) -> list[_Span]:
    first = aliased(Job)
    query = (
        select(
            first.id,
            Job.kind,
            Attempt.host,
            Attempt.device,
            Job.device_kind,
            Attempt.started_at,
            Attempt.ended_at,
        )
        .join(Job, Job.id == Attempt.job_id)
        .join(first, (first.experiment_id == Job.experiment_id) & (first.position == 0))
    )
    now = datetime.now(UTC)
    found = [
        _Span(
            (end or now).timestamp(),
            start.timestamp(),
            run,
            kind is JobKind.PRETRAIN,
            host,
            device,
            device_kind,
        )
        for run, kind, host, device, device_kind, start, end in session.connection().execute(query)
    ]
    return sorted(found, key=lambda span: span.start)


def _batches(run_ids: Iterable[str]) -> Iterator[list[str]]:
    ids = list(run_ids)
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
