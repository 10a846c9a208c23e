"""Runs go from store to store, whole or not at all."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from seeding import complete, plan

from emabench.errors import DataError
from emabench.records import CostReading, JobState, MetricPoint, RunQuery
from emabench.store import RunStore
from emabench.store.transfer.moving import import_runs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with a whole done run, a failed one, a cancelled one, and one that waits."""
    path = tmp_path_factory.mktemp("made") / "results.db"
    with RunStore.open(str(path), mode="write") as store:
        done = complete(store, plan(name="first", smoke=True))
        failed = store.add_run(plan(seed=1, method="moco"))
        claim = store.queue.claim(failed.pretrain_job)
        points = [MetricPoint(1, 1, "loss", math.nan), MetricPoint(2, 1, "loss", math.inf)]
        store.queue.record(claim, points, CostReading(train_s=1.5, total_s=2.0))
        store.queue.fail(claim, reason="the loss is nan", cost=None)
        cancelled = store.add_run(plan(seed=2), priority=3)
        store.queue.cancel([cancelled.pretrain_job])
        waiting = store.add_run(plan(seed=3))
    return path, [done, failed.id, cancelled.id, waiting.id]


@pytest.fixture
def runs(made, folder):
    """The ids of the runs of a copy of the store."""
    path, ids = made
    shutil.copy(path, "results.db")
    return ids


def lines(path):
    head, *rest = Path(path).read_text("utf-8").splitlines()
    return json.loads(head), rest


def contents(db):
    with RunStore.open(db, mode="read") as store:
        return [
            (run, store.metrics(run.id), store.correct(run.id, "top1"))
            for run in store.runs(RunQuery(smoke=True))
        ]


def test_what_is_exported_and_imported_is_the_same(emabench, runs):
    exported = emabench(["export", "-o", "a.jsonl"])
    assert exported.code == 0
    assert "3 runs exported" in exported.err
    assert "1 unfinished run left out" in exported.err
    head, rest = lines("a.jsonl")
    assert (head["format"], head["version"], head["schema"], head["runs"]) == (
        "emabench-runs", 1, "0007", 3,
    )  # fmt: skip
    imported = emabench(["import", "a.jsonl", "--db", "other.db", "--json"])
    assert json.loads(imported.out)["imported"] == runs[:3]
    assert repr(contents("other.db")) == repr(contents("results.db")[:3])
    assert emabench(["export", "-o", "b.jsonl", "--db", "other.db"]).code == 0
    assert lines("b.jsonl")[1] == rest
    again = emabench(["import", "b.jsonl"])
    assert again.out == "0 runs imported, 3 there already\n"
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
    both = emabench(["export", runs[0], "--where", "method=moco", "-o", "both.jsonl"])
    assert (both.code, "leave one of them out" in both.hint) == (2, True)
    twice = emabench(["export", "-o", "-", "--json"])
    assert (twice.code, twice.out, "want stdout" in twice.err) == (2, "", True)
    told = json.loads(emabench(["export", "-o", "told.jsonl", "--json"]).out)
    assert told == {
        "schema_version": 1, "file": "told.jsonl", "exported": runs[:3], "unfinished": runs[3:],
    }  # fmt: skip


def test_a_run_that_still_trains_is_not_exported_whatever_became_of_its_evaluation(
    emabench, folder
):
    with RunStore.open("results.db", mode="write") as store:
        run = store.add_run(plan())
        store.queue.claim(run.pretrain_job)
        store.queue.cancel([run.eval_job])
        assert store.run(run.id).state is JobState.RUNNING  # its pretraining is
    told = json.loads(emabench(["export", "-o", "a.jsonl", "--json"]).out)
    assert (told["exported"], told["unfinished"]) == ([], [run.id])
    assert "is not finished" in emabench(["export", run.id, "-o", "b.jsonl"]).err


def test_a_bundle_goes_through_a_pipe_and_a_compressed_file(emabench, runs, monkeypatch):
    text = emabench(["export", "-o", "-"]).out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert emabench(["import", "-", "--db", "pipe.db"]).code == 0
    assert emabench(["export", "-o", "a.jsonl.gz"]).code == 0
    assert gzip.decompress(Path("a.jsonl.gz").read_bytes()).splitlines()[1:] == [
        line.encode() for line in text.splitlines()[1:]
    ]
    assert emabench(["import", "a.jsonl.gz", "--db", "gz.db"]).code == 0
    packed = io.TextIOWrapper(io.BytesIO(Path("a.jsonl.gz").read_bytes()))
    monkeypatch.setattr("sys.stdin", packed)
    assert emabench(["import", "-", "--db", "gz-pipe.db"]).code == 0
    os.mkfifo("named.pipe")  # as a shell makes one for <(...)
    feeder = threading.Thread(target=Path("named.pipe").write_text, args=(text,))
    feeder.start()
    assert emabench(["import", "named.pipe", "--db", "named.db"]).code == 0
    feeder.join()
    for db in ("gz.db", "gz-pipe.db", "named.db"):
        assert repr(contents(db)) == repr(contents("pipe.db"))


def test_a_slow_pipe_keeps_nobody_from_writing(emabench, runs):
    head, rest = emabench(["export", "-o", "-"]).out.split("\n", 1)
    padding = " " * 1_000_000  # more than a pipe holds: the other end reads once it is written
    program = "from emabench.cli.app.main import main; main()"
    with RunStore.open("target.db", mode="write") as store:
        mine = store.add_run(plan(seed=50))
        with subprocess.Popen(
            [sys.executable, "-c", program, "import", "-", "--db", "target.db"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            process.stdin.write(head + padding + "\n" + rest[:100])
            process.stdin.flush()
            with closing(sqlite3.connect("target.db", timeout=0)) as database:
                database.execute("BEGIN IMMEDIATE")
                database.rollback()
            store.queue.cancel([mine.pretrain_job])
            out, _ = process.communicate(rest[100:])
        assert (process.returncode, out[:16]) == (0, "3 runs imported,")
        assert len(store.runs(RunQuery(smoke=True))) == 4


def test_a_bundle_is_plain_ascii_whatever_the_names_are(folder):
    with RunStore.open("results.db", mode="write") as store:
        run = complete(store, plan(name="名前 \N{SNOWMAN}"))
    exported = subprocess.run(
        [
            sys.executable,
            "-c",
            "from emabench.cli.app.main import main; main()",
            "export",
            "-o",
            "-",
        ],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    Path("a.jsonl").write_bytes(exported.stdout)
    assert import_runs("other.db", Path("a.jsonl")) == ([run], [])
    with RunStore.open("other.db", mode="read") as store:
        assert store.run(run).name == "名前 \N{SNOWMAN}"


def test_the_same_spec_run_in_two_places_becomes_a_repeat(emabench, runs):
    with RunStore.open("other.db", mode="write") as store:
        mine = complete(store, plan(name="first", smoke=True))
    emabench(["export", runs[0], "-o", "a.jsonl"])
    assert emabench(["import", "a.jsonl", "--db", "other.db"]).code == 0
    found = [run.id for run, *_ in contents("other.db")]
    assert found == [mine, runs[0]]
    with closing(sqlite3.connect("other.db")) as database:
        repeats = database.execute("SELECT repeat FROM experiments ORDER BY id").fetchall()
    assert repeats == [(0,), (1,)]
    again = json.loads(emabench(["import", "a.jsonl", "--db", "other.db", "--json"]).out)
    assert again == {"schema_version": 1, "imported": [], "existing": [runs[0]]}


def replaced(value, *path):
    """Return what puts a value at a path of a run; none takes away what is there."""

    def change(run):
        *parents, key = path
        for each in parents:
            run = run[each]
        if value is GONE:
            del run[key]
        else:
            run[key] = value

    return change


GONE = object()
DAMAGE = [
    (replaced(GONE, "jobs"), "jobs is missing"),
    (replaced([], "jobs"), "does not begin with a pretraining"),
    (replaced(GONE, "jobs", 0, "attempts"), "attempts is missing"),
    (replaced(GONE, "jobs", 0, "reason"), "reason is missing"),
    (replaced("asleep", "jobs", 0, "state"), "'asleep' is not a valid JobState"),
    (replaced("running", "jobs", 0, "state"), "is not finished"),
    (replaced("queued", "jobs", 1, "state"), "is not finished"),
    (replaced("running", "jobs", 0, "attempts", 0, "state"), "is not finished"),
    (replaced("done", "jobs", 0, "state"), "newest attempt is failed"),
    (replaced(7, "jobs", 0, "attempt"), "says 7 attempts, these are [1]"),
    (replaced("../../../etc/x", "jobs", 0, "id"), "longer than 12"),
    (replaced("../../../etc", "jobs", 0, "id"), "is not the id of a job"),
    (replaced("0" * 12, "jobs", 1, "depends_on"), "is not a job before it"),
    (replaced(None, "jobs", 1, "depends_on"), "needs no pretraining"),
    (replaced(1, "jobs", 1, "position"), None),
    (replaced(5, "jobs", 1, "position"), "out of order"),
    (replaced("2020-01-01T00:00:00", "created_at"), "has no time zone"),
    (replaced("yesterday", "created_at"), "experiments.created_at: Invalid isoformat"),
    (replaced(None, "fingerprint"), "experiments.fingerprint: it is null"),
    (replaced("x" * 65, "fingerprint"), "longer than 64"),
    (replaced("a\0b", "name"), "is not text"),
    (replaced("\ud800", "name"), "surrogates not allowed"),
    (replaced([], "spec"), "experiments.spec: [] is not a dict"),
    (replaced(1, "smoke"), "experiments.smoke: 1 is not a bool"),
    (replaced(True, "repeat"), "not a whole number"),
    (replaced(2**31, "repeat"), "not a whole number of 32 bits"),
    (replaced("3", "jobs", 0, "priority"), "not a whole number"),
    (replaced("much", "jobs", 0, "attempts", 0, "cost", "train_s"), "costs.train_s: 'much'"),
    (replaced(math.nan, "jobs", 0, "attempts", 0, "cost", "train_s"), "NaN is not a number"),
    (lambda run: run["jobs"][0]["metrics"].append(run["jobs"][0]["metrics"][0]), "two of metric"),
    (replaced("x" * 65, "jobs", 0, "metrics", 0, "name"), "longer than 64"),
    (replaced("1", "jobs", 0, "metrics", 0, "step"), "metrics.step: '1' is not a whole number"),
    (replaced([{"name": "top1", "value": 1.0, "correct": "%", "correct_count": 1}],
              "jobs", 0, "results"), "results.correct: "),
    *((replaced([{"name": "top1", "value": 1.0, "correct": correct, "correct_count": count}],
                "jobs", 0, "results"), f"not the bits of {count} images")
      for correct, count in (("AA==", -9), ("AA==", 9), ("AA==", 2**31 - 1), (None, 8),
                             ("AA==", None))),
    (replaced([["few images"]], "warnings"), "['few images'] is not text"),
    (replaced("few images", "warnings"), "is not a list of texts"),
    (replaced({"a": ["x\0"]}, "identity"), "is not text"),
    (replaced({"\ud800": 1}, "identity"), "surrogates not allowed"),
    (lambda run: run["jobs"][0].update(attempt=-5, attempts=[]), "says -5 attempts"),
    (lambda run: run["jobs"][0].update(attempt=0, attempts=[]), "was never tried and has metrics"),
    (lambda run: run["jobs"][0].update(state="done", attempt=0, attempts=[]),
     "is done, but was never tried"),
    (replaced([{"name": "top1", "value": 1.0, "correct": None, "correct_count": None}],
              "jobs", 1, "results"), "and has results"),
    (replaced([{"name": "top1", "value": 1.0, "correct": "", "correct_count": 0}],
              "jobs", 1, "results"), "not the bits of 0 images"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ('"decay": 0.99', '"decay": 1e999', "1e999 is not a number"),
        ('"name":', '"name": "x", "name":', "the key name twice"),
    ],
    ids=["a number no database has", "a key that stands twice"],
)
def test_json_that_would_be_read_as_something_else_is_damage(emabench, runs, good, bad, words):
    emabench(["export", "-o", "a.jsonl"])
    text = Path("a.jsonl").read_text("utf-8")
    assert good in text
    Path("bad.jsonl").write_text(text.replace(good, bad, 1))
    result = emabench(["import", "bad.jsonl", "--db", "target.db"])
    assert result.code == 1
    assert f"line 2 of the bundle is damaged: {words}" in result.err.replace("'", "")


@pytest.mark.parametrize(("change", "words"), DAMAGE)
def test_a_damaged_run_is_named_by_its_line_and_nothing_is_imported(
    emabench, runs, folder, change, words
):
    emabench(["export", "-o", "a.jsonl"])
    good = Path("a.jsonl").read_text("utf-8").splitlines()
    run = json.loads(good[2])
    change(run)
    Path("bad.jsonl").write_text("\n".join([*good[:2], json.dumps(run), good[3]]) + "\n")
    result = emabench(["import", "bad.jsonl", "--db", "target.db"])
    if words is None:  # the control: what is not changed is no damage
        assert result.code == 0
        return
    assert (result.code, result.out) == (1, "")
    assert "line 3 of the bundle is damaged" in result.err
    assert words in result.err
    assert result.hint
    assert not (folder / "target.db").exists()


def test_what_contradicts_the_store_is_named_by_its_line(emabench, runs):
    emabench(["export", "-o", "a.jsonl"])
    good = Path("a.jsonl").read_text("utf-8").splitlines()
    taken = json.loads(good[1])["jobs"][1]["id"]
    other = json.loads(good[2])
    other["jobs"][1]["id"] = taken  # the evaluation of the run before
    Path("bad.jsonl").write_text("\n".join([*good[:2], json.dumps(other), good[3]]) + "\n")
    with RunStore.open("target.db", mode="write") as store:
        complete(store, plan(seed=50))
    before = repr(contents("target.db"))
    result = emabench(["import", "bad.jsonl", "--db", "target.db"])
    assert (result.code, "line 3 of the bundle is damaged: UNIQUE" in result.err) == (1, True)
    assert repr(contents("target.db")) == before


def test_a_damaged_bundle_changes_nothing(emabench, runs, folder):
    emabench(["export", "-o", "a.jsonl"])
    emabench(["export", "-o", "a.jsonl.gz"])
    good = Path("a.jsonl").read_text("utf-8").splitlines(keepends=True)
    head = json.loads(good[0])
    newer = json.dumps(head | {"schema": "0999", "emabench": "9.0"}) + "\n"
    later = json.dumps(head | {"version": 2, "emabench": "9.0"}) + "\n"
    uncounted = json.dumps(head | {"runs": None}) + "\n"
    with RunStore.open("target.db", mode="write") as store:
        complete(store, plan(seed=50))
    before = repr(contents("target.db"))
    rest = "".join(good[1:])
    for content, words in (
        ("".join(good[:3]), "ends after line 3, with 2 of its 3 runs"),
        ("".join(good[:1]), "ends after line 1, with 0 of its 3 runs"),
        ("".join(good) + good[1], "there are more runs than the 3 announced"),
        ("".join(good)[:-100], "line 4 of the bundle is damaged"),
        ("".join([*good[:2], "\n", *good[2:]]), "line 3 of the bundle is damaged"),
        (newer + rest, "written by emabench 9.0"),
        (later + rest, "in version 2"),
        (uncounted + rest, "line 1 of the bundle is damaged"),
        ("a,b,c\n1,2,3\n", "is not a bundle of runs"),
        ("", "is not a bundle of runs"),
        (json.dumps({"some": "json"}), "is not a bundle of runs"),
        ("[1, 2]\n", "is not a bundle of runs"),
    ):
        Path("bad.jsonl").write_text(content, "utf-8")
        for db in ("target.db", "new.db"):
            result = emabench(["import", "bad.jsonl", "--db", db])
            assert (result.code, result.out) == (1, ""), words
            assert words in result.err
            assert result.hint
        assert repr(contents("target.db")) == before
    whole = Path("a.jsonl.gz").read_bytes()
    Path("bad.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    result = emabench(["import", "bad.jsonl.gz", "--db", "target.db"])
    assert (result.code, "of the bundle cannot be read" in result.err) == (1, True)
    Path("bad.jsonl").write_bytes("".join(good[:2]).encode() + b"\xff\n")
    result = emabench(["import", "bad.jsonl", "--db", "target.db"])
    assert "line 3 of the bundle cannot be read" in result.err
    assert repr(contents("target.db")) == before
    assert emabench(["import", "nowhere.jsonl", "--db", "new.db"]).code == 3
    assert not (folder / "new.db").exists()


@pytest.mark.parametrize("packed", [True, False])
def test_a_bundle_that_would_fill_the_memory_is_refused_before(emabench, runs, folder, packed):
    emabench(["export", "-o", "a.jsonl"])
    head = Path("a.jsonl").read_bytes().splitlines(keepends=True)[0]
    with Path("bad").open("wb") as plain, ExitStack() as stack:
        file = stack.enter_context(gzip.GzipFile("", "wb", 1, plain)) if packed else plain
        file.write(head)
        for _ in range(256):
            file.write(b" " * (1 << 20))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"100 times its size|longer than 32 MiB"):
        import_runs("new.db", Path("bad"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150 << 20


def test_a_compressed_bundle_of_empty_lines_is_refused_early(emabench, runs, folder):
    emabench(["export", "-o", "a.jsonl"])
    head, run, *_ = Path("a.jsonl").read_text("utf-8").splitlines(keepends=True)
    many = json.dumps(json.loads(head) | {"runs": 3_000}) + "\n"
    with gzip.open("bad", "wt", compresslevel=9) as file:
        file.write(many)
        for _ in range(3_000):
            file.write(run)
    with pytest.raises(DataError, match="100 times its size"):
        import_runs("new.db", Path("bad"))
    assert not (folder / "new.db").exists()


def test_what_is_quoted_of_a_damaged_line_is_short(emabench, runs):
    emabench(["export", "-o", "a.jsonl"])
    head, run, *_ = Path("a.jsonl").read_text("utf-8").splitlines(keepends=True)
    bad = json.dumps(json.loads(run) | {"created_at": "x" * 100_000})
    Path("bad.jsonl").write_text(f"{head}{bad}\n")
    result = emabench(["import", "bad.jsonl", "--db", "new.db"])
    assert (result.code, len(result.err) < 1_000) == (1, True)


def test_a_pipe_without_end_is_refused(monkeypatch, folder):
    monkeypatch.setattr("emabench.store.transfer.moving._LARGEST_PIPED", 3 << 20)
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        with pytest.raises(DataError, match="came through the pipe"):
            import_runs("new.db", Path(f"/dev/fd/{endless.stdout.fileno()}"))
        endless.kill()
    assert not (folder / "new.db").exists()


def test_an_export_that_fails_leaves_nothing_and_touches_no_other_file(emabench, folder, runs):
    Path("a.jsonl.tmp").write_text("precious")
    Path("busy").mkdir()
    for target in ("nowhere/a.jsonl", "busy"):
        failed = emabench(["export", "-o", target, "--force"])
        assert (failed.code, bool(failed.hint)) == (1, True)
    assert emabench(["export", "-o", "a.jsonl"]).code == 0
    assert Path("a.jsonl.tmp").read_text() == "precious"
    assert {path.name for path in folder.iterdir()} == {
        "results.db", "busy", "a.jsonl", "a.jsonl.tmp",
    }  # fmt: skip
