"""Runs go from store to store, whole or not at all."""

from __future__ import annotations

import gzip
import io
import json
import math
from pathlib import Path

import pytest
from seeding import complete, plan

from emabench.records import CostReading, MetricPoint
from emabench.store import RunStore


@pytest.fixture
def runs(folder):
    """A done run with all there is, a failed one, a cancelled one, and one that waits."""
    with RunStore.open("results.db", mode="write") as store:
        done = complete(store, plan(name="first", smoke=True))
        failed = store.add_run(plan(seed=1, method="moco"))
        claim = store.claim(failed.pretrain_job)
        points = [MetricPoint(1, 1, "loss", math.nan), MetricPoint(2, 1, "loss", math.inf)]
        store.record(claim, points, CostReading(train_s=1.5, total_s=2.0))
        store.fail(claim, reason="the loss is nan", cost=None)
        cancelled = store.add_run(plan(seed=2), priority=3)
        store.cancel([cancelled.pretrain_job])
        waiting = store.add_run(plan(seed=3))
        return [done, failed.id, cancelled.id, waiting.id]


def lines(path):
    head, *rest = Path(path).read_text("utf-8").splitlines()
    return json.loads(head), rest


def contents(db):
    with RunStore.open(db, mode="read") as store:
        return [
            (run, store.metrics(run.id), store.correct(run.id, "top1"))
            for run in store.runs(smoke=True)
        ]


def test_what_is_exported_and_imported_is_the_same(emabench, runs):
    exported = emabench(["export", "-o", "a.jsonl"])
    assert exported.code == 0
    assert "3 runs were exported" in exported.err
    assert "1 unfinished runs were left out" in exported.err
    head, rest = lines("a.jsonl")
    assert (head["format"], head["version"], head["schema"], head["runs"]) == (
        "emabench-runs", 1, "0002", 3,
    )  # fmt: skip
    imported = emabench(["import", "a.jsonl", "--db", "other.db", "--json"])
    assert json.loads(imported.out)["imported"] == runs[:3]
    assert repr(contents("other.db")) == repr(contents("results.db")[:3])
    assert emabench(["export", "-o", "b.jsonl", "--db", "other.db"]).code == 0
    assert lines("b.jsonl")[1] == rest
    again = emabench(["import", "b.jsonl"])
    assert again.out == "0 runs were imported, 3 were there already\n"
    assert emabench(["db", "check", "other.db"]).code == 0


def test_runs_are_chosen_by_id_label_or_field(emabench, runs):
    for arguments, expected in (
        ([runs[1][:8]], [runs[1]]),
        ([runs[0], runs[0]], [runs[0]]),
        (["--where", "method=moco"], [runs[1]]),
        (["--name", "first"], [runs[0]]),
    ):
        assert emabench(["export", *arguments, "-o", "some.jsonl", "--force"]).code == 0
        found = [json.loads(line)["jobs"][0]["id"] for line in lines("some.jsonl")[1]]
        assert found == expected
    unfinished = emabench(["export", "@last", "-o", "last.jsonl"])
    assert (unfinished.code, "is not finished" in unfinished.err) == (2, True)
    assert emabench(["export", "ffff", "-o", "none.jsonl"]).code == 3
    kept = emabench(["export", "-o", "some.jsonl"])
    assert (kept.code, "--force" in kept.hint) == (2, True)


def test_a_bundle_goes_through_a_pipe_and_a_compressed_file(emabench, runs, monkeypatch):
    text = emabench(["export", "-o", "-"]).out
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert emabench(["import", "-", "--db", "pipe.db"]).code == 0
    assert emabench(["export", "-o", "a.jsonl.gz"]).code == 0
    assert gzip.decompress(Path("a.jsonl.gz").read_bytes()).splitlines()[1:] == [
        line.encode() for line in text.splitlines()[1:]
    ]
    assert emabench(["import", "a.jsonl.gz", "--db", "gz.db"]).code == 0
    assert repr(contents("gz.db")) == repr(contents("pipe.db"))


def test_the_same_spec_run_in_two_places_becomes_a_repeat(emabench, runs):
    with RunStore.open("other.db", mode="write") as store:
        mine = complete(store, plan(name="first", smoke=True))
    emabench(["export", runs[0], "-o", "a.jsonl"])
    assert emabench(["import", "a.jsonl", "--db", "other.db"]).code == 0
    found = [run.id for run, *_ in contents("other.db")]
    assert found == [mine, runs[0]]


def test_a_damaged_bundle_changes_nothing(emabench, runs, folder):
    emabench(["export", "-o", "a.jsonl"])
    emabench(["export", "-o", "a.jsonl.gz"])
    good = Path("a.jsonl").read_text("utf-8").splitlines(keepends=True)
    newer = json.dumps(json.loads(good[0]) | {"schema": "0999", "emabench": "9.0"})
    lacking = json.loads(good[2])
    del lacking["jobs"][0]["attempts"]
    wrong = json.loads(good[2])
    wrong["jobs"][0]["state"] = "asleep"
    emabench(["export", runs[2], "-o", "fresh.jsonl"])
    with RunStore.open("target.db", mode="write") as store:
        complete(store, plan(seed=50))
    before = repr(contents("target.db"))
    lacking, wrong = (good[0] + good[1] + json.dumps(r) + "\n" + good[3] for r in (lacking, wrong))
    for content, words in (
        ("".join(good[:3]), "holds 2 of its 3 runs"),
        ("".join(good)[:-100], "line 4 is damaged"),
        (lacking, "line 3 of the bundle is damaged"),
        (wrong, "'asleep' is not a valid JobState"),
        (newer + "\n" + "".join(good[1:]), "written by emabench 9.0"),
        ("a,b,c\n1,2,3\n", "is no bundle of runs"),
        ("", "is no bundle of runs"),
        (json.dumps({"some": "json"}), "is no bundle of runs"),
    ):
        Path("bad.jsonl").write_text(content, "utf-8")
        result = emabench(["import", "bad.jsonl", "--db", "target.db"])
        assert (result.code, result.out) == (1, ""), words
        assert words in result.err
        assert result.hint
        assert repr(contents("target.db")) == before
    whole = Path("a.jsonl.gz").read_bytes()
    Path("bad.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert emabench(["import", "bad.jsonl.gz", "--db", "target.db"]).code == 1
    assert repr(contents("target.db")) == before
    assert emabench(["import", "nowhere.jsonl", "--db", "new.db"]).code == 3
    assert not (folder / "new.db").exists()
