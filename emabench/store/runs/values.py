"""Figures of many runs beside their records: those that somebody wants, and no others."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from emabench.records import ANY_RUN, BENCH_STEPS, JobKind, JobState, RunValues, WantedValues
from emabench.store.connection.database import batches
from emabench.store.runs.points import find_means, find_points
from emabench.store.runs.reader import find_runs
from emabench.store.schema.tables import Attempt, Job, Result, host_name, split_needs

_NAMED = 8
"""Neighbours that one more attempt is held against."""


def read_values(session: Session, run_ids: Sequence[str], wanted: WantedValues) -> RunValues:
    """Return the figures of runs, by complete id, that are wanted."""
    benches = find_runs(session, ANY_RUN, kind=JobKind.BENCH) if wanted.benches else []
    done = [bench for bench in benches if bench.state is JobState.DONE]
    steps = find_points(session, [bench.id for bench in done], [BENCH_STEPS])
    return RunValues(
        series={name: find_means(session, run_ids, name) for name in wanted.means},
        correct=find_correct(session, run_ids, wanted.correct),
        points={**find_points(session, run_ids, wanted.points), **steps},
        neighbours=find_neighbours(session, run_ids) if wanted.neighbours else {},
        benches=done,
    )


def find_correct(
    session: Session, run_ids: Iterable[str], names: Sequence[str] | None
) -> dict[tuple[str, str], tuple[bytes, int]]:
    """Return packed correctness and the number of images, by run and result, where known.

    Args:
        session: a reading session.
        run_ids: complete ids of runs.
        names: of results; None is all of them.
    """
    if names is not None and not names:
        return {}
    first = aliased(Job)
    known = (
        select(first.id, Result.name, Result.correct, Result.correct_count)
        .join(Job, Job.experiment_id == first.experiment_id)
        .join(Result, Result.job_id == Job.id)
        .where(Result.correct.is_not(None))
    )
    if names is not None:
        known = known.where(Result.name.in_(names))
    found: dict[tuple[str, str], tuple[bytes, int]] = {}
    for some in batches(run_ids):
        for run, name, packed, count in session.execute(known.where(first.id.in_(some))):
            if packed is not None and count is not None:
                found[run, name] = bytes(packed), int(count)
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
            host_name(host),
            device,
            split_needs(device_kind)[0],
        )
        for run, kind, host, device, device_kind, start, end in session.connection().execute(query)
    ]
    return sorted(found, key=lambda span: span.start)
