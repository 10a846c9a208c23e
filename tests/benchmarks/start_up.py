"""CPU time until the program helps, and until it compares the runs of a long store.

    python tests/benchmarks/start_up.py [--runs 10000] [--rounds 5]

CPU seconds of whole processes, interleaved: ``emabench --help``; ``emabench compare`` on a store of
finished runs of 12 methods, 4 EMA scopes, 5 learning rates and as many seeds as that takes, and on
those of one method (``compare moco``); and a naive load of that store, every row of every table as
an object of the ORM, none of which is kept. A run has the metrics that one of the preset ``quick``
records: 10 epochs, each with the figures of the monitors and of the gradient at 6 blocks. ``bare``
is the naive load without them, for a comparison has no use for them, and ``records`` is
``RunStore.runs``. Medians over the rounds with minimum and maximum; ratios of a round.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, islice, product
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from emabench.analysis.curves.stability import QUANTITIES
from emabench.records import CostReading, JobKind, JobState
from emabench.spec import ExperimentSpec, fingerprint
from emabench.store import RunStore
from emabench.store.schema.tables import (
    Attempt,
    Cost,
    EnvironmentRow,
    Experiment,
    Job,
    Metric,
    Result,
    Series,
    StoreTable,
)

METHODS = ("simclr", "dcl", "moco", "mocov3", "byol", "simsiam", "barlow_twins", "vicreg",
           "nnclr", "ressl", "dino", "swav")  # fmt: skip
SCOPES = ("none", "projector", "backbone", "full")
RATES = (0.1, 0.2, 0.3, 0.4, 0.5)
EPOCHS = 10
BLOCKS = ("stem", "layer1", "layer2", "layer3", "layer4", "projector")
NAMES = (
    *("loss", "lr", "decay", "online_top1", "embedding_std", "effective_rank", "feature_rank"),
    *("alignment", "uniformity", "target_gap"),
    *(f"{quantity}:{block}" for quantity in QUANTITIES for block in BLOCKS),
)
_AT_ONCE = 500


def specs() -> Iterator[dict[str, Any]]:
    """Yield resolved specs without end."""
    for seed in count():
        for method, scope, rate in product(METHODS, SCOPES, RATES):
            pretrain = {
                "method": {"name": method},
                "ema": {"scope": scope},
                "optimizer": {"lr": rate},
                "seed": seed,
            }
            yield ExperimentSpec.parse({"pretrain": pretrain}).model_dump(mode="json")


def rows_of(number: int, spec: dict[str, Any]) -> Iterator[tuple[type[StoreTable], dict[str, Any]]]:
    """Yield the rows of one finished run."""
    now = datetime.now(UTC)
    identity = {"device_kind": "cpu", "precision": "bf16", "threads": 2, "data": "d" * 64}
    mark = fingerprint([spec, identity])
    common = {"fingerprint": mark, "created_at": now}
    yield (
        Experiment,
        common
        | {
            "id": number,
            "repeat": 0,
            "smoke": False,
            "spec": spec,
            "identity": identity,
            "warnings": [],
            "command": "emabench run --method simclr",
        },
    )
    for position, kind in enumerate((JobKind.PRETRAIN, JobKind.LINEAR_EVAL)):
        each = 2 * number + position
        job = f"{each:012x}"
        yield (
            Job,
            common
            | {
                "id": job,
                "experiment_id": number,
                "position": position,
                "kind": kind,
                "state": JobState.DONE,
                "depends_on": f"{2 * number:012x}" if position else None,
                "attempt": 1,
                "device_kind": "cpu",
                "queued_at": now,
            },
        )
        yield (
            Attempt,
            {
                "id": each,
                "job_id": job,
                "number": 1,
                "state": JobState.DONE,
                "started_at": now,
                "ended_at": now,
                "host": "host",
                "pid": 1,
                "environment_id": 1,
            },
        )
        readings = dict.fromkeys(CostReading().as_dict(), 1.0) | {"throughput": 1000 + number % 77}
        whole = ("steps", "ema_bytes", "throughput_windows", "host_peak_rss")
        peaks = dict.fromkeys((*whole, "device_peak_allocated", "device_peak_reserved"), 2**20)
        yield Cost, readings | peaks | {"attempt_id": each}
        for name in ("top1", "top5", "knn_top1") if position else ("online_top1",):
            value = 50.0 + number * 37 % 101 / 10
            yield Result, {"job_id": job, "name": name, "value": value}
    for place, name in enumerate(NAMES):
        series = len(NAMES) * number + place
        yield Series, {"id": series, "job_id": f"{2 * number:012x}", "name": name}
        for epoch in range(EPOCHS):
            yield Metric, {"series_id": series, "step": epoch, "epoch": epoch, "value": 1.0}


def fill(store: RunStore, runs: int) -> None:
    machine = {
        "id": 1,
        "hash": "h",
        "device": "CPU",
        "device_kind": "cpu",
        "device_count": 1,
        "host": "host",
        "threads": 2,
        "precision": "bf16",
        "compiled": False,
        "versions": {"torch": "2.6"},
        "platform": "Linux",
    }
    every = enumerate(islice(specs(), runs), start=1)
    with store._database.write() as session:
        session.connection().execute(insert(EnvironmentRow.__table__), [machine])
        while chosen := list(islice(every, _AT_ONCE)):
            tables: dict[type[StoreTable], list[dict[str, Any]]] = {}
            for number, spec in chosen:
                for table, row in rows_of(number, spec):
                    tables.setdefault(table, []).append(row)
            for table, rows in tables.items():
                session.connection().execute(insert(table.__table__), rows)


def load_naively(file: str, *, metrics: bool) -> None:
    """Load every row of every table, as the ORM does it when nobody says more."""
    with RunStore.open(file, mode="read") as store, store._database.read() as session:
        for mapper in StoreTable.registry.mappers:
            if metrics or mapper.class_ not in (Metric, Series):
                every = select(mapper.class_).execution_options(yield_per=10_000)
                deque(session.scalars(every), maxlen=0)


def seconds(arguments: list[str], **more: Any) -> float:
    """Return the CPU seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=os.environ, **more
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show(name: str, values: list[float], form: str) -> None:
    middle, low, high = statistics.median(values), min(values), max(values)
    print(f"  {name:<22}{middle:>10{form}}  [{low:{form}}, {high:{form}}]  n={len(values)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--store", help="file to fill, or to use if it is there")
    parser.add_argument("--part", choices=("naive", "bare", "records"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "records":
        with RunStore.open(arguments.store, mode="read") as store:
            store.runs()
        return
    if arguments.part is not None:
        load_naively(arguments.store, metrics=arguments.part == "naive")
        return
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.store or f"{folder}/results.db"
        if not Path(file).exists():
            with RunStore.open(file, mode="write") as store:
                fill(store, arguments.runs)
        commands = {
            "--help": ["-m", "emabench", "--help"],
            "compare": ["-m", "emabench", "compare", "--json", "--db", file],
        }
        commands["compare moco"] = [*commands["compare"], "--where", "method=moco"]
        for part in ("records", "bare", "naive"):
            commands[part] = [__file__, "--part", part, "--store", file]
        found: dict[str, list[float]] = {name: [] for name in commands}
        seconds(commands["--help"])
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                found[name].append(seconds(command))
    print(f"{platform.machine()}, SQLite {sqlite3.sqlite_version}, python", end=" ")
    print(f"{platform.python_version()}, {arguments.runs} runs")
    for name, values in found.items():
        show(f"{name}, s", values, ".2f")
    for other, own in product(("naive", "bare"), ("records", "compare", "compare moco")):
        ratios = [a / b for a, b in zip(found[other], found[own], strict=True)]
        show(f"{other} ÷ {own}", ratios, ".1f")


if __name__ == "__main__":
    main()
