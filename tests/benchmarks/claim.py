"""Milliseconds to claim a job from a queue of 100 jobs and from a long one.

    python tests/benchmarks/claim.py [--jobs 100000] [--rounds 9] [--claims 50] [--urls SHORT LONG]

Claims alternate between the two stores. Every job is finished and every run replaced, untimed, so
that both queues keep their length. The stores lie in two SQLite files, or in the two empty
databases that the URLs name. Median over the rounds with minimum and maximum; the figure of a round
is its median.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import insert, select, text

from emabench.records import CostReading, JobKind, JobState, PlannedRun
from emabench.spec import ExperimentSpec, fingerprint
from emabench.store import RunStore
from emabench.store.schema.tables import Experiment, Job

SHORT = 100
_AT_ONCE = 5000


def a_plan() -> PlannedRun:
    spec = ExperimentSpec.parse({}).model_dump(mode="json")
    identity = {"device_kind": "cpu", "precision": "fp32", "threads": 1, "data": "d" * 64}
    return PlannedRun(spec, identity, fingerprint([spec, identity]), command="emabench run")


def fill(store: RunStore, jobs: int) -> None:
    """Queue half as many runs, in bulk."""
    plan, now = a_plan(), datetime.now(UTC)
    with store._database.write() as session:
        for start in range(0, jobs // 2, _AT_ONCE):
            experiments = [
                {
                    "fingerprint": plan.fingerprint,
                    "repeat": repeat,
                    "smoke": False,
                    "spec": plan.spec,
                    "identity": plan.identity,
                    "warnings": [],
                    "created_at": now,
                }
                for repeat in range(start, min(start + _AT_ONCE, jobs // 2))
            ]
            session.connection().execute(insert(Experiment.__table__), experiments)
        ids = session.scalars(select(Experiment.id).order_by(Experiment.id)).all()
        for position, kind in enumerate((JobKind.PRETRAIN, JobKind.LINEAR_EVAL)):
            queued = [
                {
                    "id": _job_id(number, position),
                    "experiment_id": number,
                    "position": position,
                    "kind": kind,
                    "state": JobState.QUEUED,
                    "fingerprint": plan.fingerprint,
                    "depends_on": _job_id(number, 0) if position else None,
                    "attempt": 0,
                    "device_kind": "cpu",
                    "created_at": now,
                    "queued_at": now,
                }
                for number in ids
            ]
            session.connection().execute(insert(Job.__table__), queued)


def _job_id(experiment: int, position: int) -> str:
    return f"{2 * experiment + position:012x}"


class Queue:
    """A queue of constant length in a store of its own."""

    def __init__(self, store: RunStore, jobs: int) -> None:
        self.store, self._plan = store, a_plan()
        fill(store, jobs)

    def claim(self) -> float:
        """Claim a job and return how many seconds it took; finish and replace it."""
        start = time.perf_counter()
        claim = self.store.queue.claim_next("cpu")
        seconds = time.perf_counter() - start
        assert claim is not None
        self.store.queue.finish(claim, results={}, cost=CostReading())
        if claim.kind is JobKind.LINEAR_EVAL:
            self.store.add_run(self._plan, force=True)
        return seconds


@contextlib.contextmanager
def queues(short_url: str, long_url: str, jobs: int) -> Iterator[tuple[Queue, Queue]]:
    """Open two empty stores and fill them."""
    with (
        RunStore.open(short_url, mode="write") as short,
        RunStore.open(long_url, mode="write") as long,
    ):
        yield Queue(short, SHORT), Queue(long, jobs)


def measure(short: Queue, long: Queue, rounds: int, claims: int) -> list[tuple[float, float]]:
    """Return the median seconds of a claim from each queue, by round."""
    for queue in (short, long):
        for _ in range(10):
            queue.claim()
    found = []
    for _ in range(rounds):
        pairs = [(short.claim(), long.claim()) for _ in range(claims)]
        found.append(tuple(statistics.median(column) for column in zip(*pairs, strict=True)))
    return found


def show(name: str, values: list[float], form: str) -> None:
    middle, low, high = statistics.median(values), min(values), max(values)
    print(f"  {name:<12}{middle:>10{form}}  [{low:{form}}, {high:{form}}]  n={len(values)}")


def database(store: RunStore) -> str:
    with store._database.read() as session:
        if session.get_bind().dialect.name == "sqlite":
            return f"SQLite {sqlite3.sqlite_version}"
        return f"PostgreSQL {session.scalar(text('SHOW server_version'))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--claims", type=int, default=50)
    parser.add_argument("--urls", nargs=2, metavar=("SHORT", "LONG"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{name}.db" for name in ("short", "long")]
        short_url, long_url = arguments.urls or files
        with queues(short_url, long_url, arguments.jobs) as (short, long):
            print(f"{platform.machine()}, {database(long.store)}, python", end=" ")
            print(f"{platform.python_version()}, {arguments.claims} claims a round")
            found = measure(short, long, arguments.rounds, arguments.claims)
    show(f"{SHORT} jobs, ms", [1000 * a for a, _ in found], ".2f")
    show(f"{arguments.jobs}, ms", [1000 * b for _, b in found], ".2f")
    show("ratio", [b / a for a, b in found], ".2f")


if __name__ == "__main__":
    main()
