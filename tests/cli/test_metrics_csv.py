"""The metrics of runs as one tidy file, for programs that know nothing of a store."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math

import pytest
from seeding import complete, plan

from emabench.records import MetricPoint, RunQuery
from emabench.store import RunStore


@pytest.fixture
def runs(folder):
    """A done run with text of others in its name, one with unknown numbers, and one that waits."""
    with RunStore.open("results.db", mode="write") as store:
        done = complete(store, plan(name="=名前,\x1b[1m", smoke=True))
        failed = store.add_run(plan(seed=1, smoke=True))
        claim = store.queue.claim(failed.pretrain_job)
        values = {1: math.nan, 2: math.inf, 3: 0.1 + 0.2}
        store.queue.record(claim, [MetricPoint(s, 1, "loss", v) for s, v in values.items()])
        store.queue.fail(claim, reason="the loss is nan", cost=None)
        waiting = store.add_run(plan(seed=2, smoke=True))
    return [done, failed.id, waiting.id]


def written(value):
    return "" if math.isnan(value) else repr(value)


def lines(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_value_of_the_store_is_one_line(emabench, runs, folder):
    told = json.loads(emabench(["export", "--csv", "-o", "a.csv", "--json"]).out)
    assert (told["exported"], told["unfinished"]) == (runs[:2], runs[2:])
    found = lines((folder / "a.csv").read_text("utf-8"))
    with RunStore.open("results.db", mode="read") as store:
        stored = [
            (run.id, str(p.step), str(p.epoch), p.name, written(p.value))
            for run in store.runs(RunQuery(smoke=True))
            for p in store.metrics(run.id)
        ]
    columns = ("run", "step", "epoch", "metric", "value")
    assert [tuple(row[name] for name in columns) for row in found] == stored
    assert len(stored) == 7
    assert {row["name"] for row in found if row["run"] == runs[0]} == {r"=名前,\x1b[1m"}
    # Seeds of one arm have one group.
    assert len({row["group"] for row in found}) == 1
    assert {row["seed"] for row in found} == {"0", "1"}


def test_it_goes_through_a_pipe_and_a_compressed_file(emabench, runs, folder):
    text = emabench(["export", "--csv", runs[1], "-o", "-"]).out
    assert {row["run"] for row in lines(text)} == {runs[1]}
    assert emabench(["export", "--csv", runs[1], "-o", "a.csv.gz"]).code == 0
    assert gzip.decompress((folder / "a.csv.gz").read_bytes()).decode() == text
    assert emabench(["export", "--csv", runs[1], "-o", "a.csv.gz"]).code == 2
    assert "not finished" in emabench(["export", "--csv", runs[2], "-o", "-"]).err
    none = emabench(["export", "--csv", "--where", "method=byol", "-o", "-"])
    assert (none.out.count("\n"), lines(none.out)) == (1, [])
