"""``work --engine`` and ``sync`` as a user types them, without a cluster."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from seeding import ENVIRONMENT, plan

from emabench.artifacts.layout import CHECKPOINT, JOURNAL, LOG, WEIGHTS, attempt_folder
from emabench.engines.exchange import Exchange
from emabench.queue.journal import Journal
from emabench.records import CostReading, MetricPoint
from emabench.store import RunStore


@pytest.fixture
def running(folder):
    """A claim whose worker, somewhere else, has begun a journal."""
    with RunStore.open("results.db", mode="write") as store:
        claim = store.queue.claim(store.add_run(plan(smoke=True)).pretrain_job)
    place = attempt_folder(Path("results-artifacts"), claim.job_id, 1)
    place.mkdir(parents=True)
    (place / LOG).write_text("begun\n")
    with Journal(place / JOURNAL) as journal:
        journal.begin(claim, ENVIRONMENT)
        journal.record(claim, [MetricPoint(1, 1, "loss", 2.0)])
        yield claim, journal


def test_what_a_job_wrote_without_its_driver_is_taken_in(emabench, running):
    claim, journal = running
    result = emabench(["sync", "--json"])
    (row,) = json.loads(result.out)["attempts"]
    assert (row["job"], row["attempt"], row["state"]) == (claim.job_id, 1, "running")
    journal.finish(claim, results={"online_top1": 40.0}, cost=CostReading(train_s=1.0))
    for said in ["attempt 1: done\n", "nothing to do: no running attempt has a journal\n"]:
        result = emabench(["sync"])
        assert (result.code, result.err) == (0, "")
        assert result.out.endswith(said)
    with RunStore.open("results.db", mode="read") as store:
        assert [m.value for m in store.metrics(claim.run_id)] == [2.0]
        (attempt,) = store.job(claim.job_id).attempts
        assert attempt.environment == ENVIRONMENT


def test_what_goes_on_although_it_is_cancelled_is_asked_to_stop(emabench, running):
    claim, _ = running
    stop = attempt_folder(Path("results-artifacts"), claim.job_id, 1) / "stop"
    assert emabench(["sync"]).code == 0
    assert not stop.exists()
    assert emabench(["cancel", claim.job_id]).code == 0
    assert emabench(["sync"]).out.startswith("nothing to do")
    assert stop.read_text() == "now"


def test_jobs_of_another_store_are_left_alone(emabench, running):
    claim, _ = running
    with RunStore.open("other.db", mode="write"):
        pass
    asked = ["sync", "--db", "other.db", "--artifacts", "results-artifacts"]
    assert emabench(asked).out.startswith("nothing to do")
    assert not (attempt_folder(Path("results-artifacts"), claim.job_id, 1) / "stop").exists()


def test_files_of_a_job_that_ended_without_its_driver_come_back(emabench, running, monkeypatch):
    claim, journal = running
    journal.finish(claim, results={"online_top1": 40.0}, cost=CostReading(train_s=1.0))
    shutil.move("results-artifacts", "bucket")
    for name in (*WEIGHTS, CHECKPOINT):
        (attempt_folder(Path("bucket"), claim.job_id, 1) / name).write_text(name)
    url = f"file://{Path('bucket').resolve()}"
    with monkeypatch.context() as broken:
        broken.setattr(Exchange, "fetch", lambda *arguments: (_ for _ in ()).throw(OSError("gone")))
        assert emabench(["sync", "--artifacts", url]).code != 0
    assert emabench(["sync", "--artifacts", url]).out.endswith("attempt 1: done\n")
    place = attempt_folder(Path("results-artifacts"), claim.job_id, 1)
    assert {file.name for file in place.iterdir()} == {LOG, *WEIGHTS}


def test_the_artifacts_may_be_a_url(emabench, running):
    claim, _ = running
    url = f"file://{Path('results-artifacts').resolve()}"
    (row,) = json.loads(emabench(["sync", "--artifacts", url, "--json"]).out)["attempts"]
    assert row["job"] == claim.job_id


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--jobs", "2"], "--jobs does not apply to the engine local", "--engine ray or slurm"),
        (["--engine", "ray", "--partition", "gpu"], "--partition", "--engine slurm"),
        (["--engine", "slurm", "--address", "auto"], "--address", "--engine ray"),
        (["--engine", "slurm", "--jobs-per-device", "2"], "--jobs-per-device", "--engine local"),
        (["--artifacts", "s3://bucket/x"], "not to a URL", "takes a folder"),
    ],
)
def test_options_that_do_not_go_together(emabench, running, arguments, message, hint):
    result = emabench(["work", *arguments])
    assert result.code == 2
    assert message in result.err
    assert hint in result.hint


def test_an_unknown_engine(emabench, running):
    assert emabench(["work", "--engine", "dask"]).code == 2


def test_an_unknown_kind_of_url(emabench, running):
    result = emabench(["sync", "--artifacts", "nowhere://bucket/x"])
    assert result.code == 1
    assert "nowhere://bucket/x" in result.err
    assert "fsspec" in result.hint


def test_a_journal_that_cannot_be_read_stands_in_nobody_elses_way(emabench, running):
    claim, journal = running
    with RunStore.open("results.db", mode="write") as store:
        broken = store.queue.claim(store.add_run(plan(smoke=True, seed=1)).pretrain_job)
        place = attempt_folder(Path("results-artifacts"), broken.job_id, 1)
        place.mkdir(parents=True)
        with Journal(place / JOURNAL) as other:
            other.begin(broken, ENVIRONMENT)
        (place / JOURNAL).write_bytes((place / JOURNAL).read_bytes() + b"\0\0\n")
    journal.finish(claim, results={"online_top1": 40.0}, cost=CostReading(train_s=1.0))
    result = emabench(["sync"])
    assert (result.code, result.out.count(": done")) == (0, 1)
    assert emabench(["cancel", broken.job_id]).code == 0
    for _ in range(2):
        assert emabench(["sync"]).code == 0
    assert (place / "stop").read_text() == "now"
