"""A journal holds what a worker says; the store may take it in any number of times."""

from __future__ import annotations

import math
import os

import pytest
from seeding import ENVIRONMENT, plan

from emabench.errors import EmabenchError, FencedError
from emabench.events import EpochProgress, StepProgress
from emabench.queue.failure import Failure
from emabench.queue.ingest import Ingest
from emabench.queue.journal import Beat, Finished, Journal, read_words
from emabench.records import CostReading, JobState, MetricPoint
from emabench.store import RunStore

STEP = StepProgress(3, 9, 1, 3, 3, 1.5, 100.0)
EPOCH = EpochProgress(1, 3, 1.5, None, 100.0)
COST = CostReading(queue_s=1.0, train_s=2.0)


@pytest.fixture
def store(tmp_path):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as opened:
        yield opened


@pytest.fixture
def claim(store):
    return store.queue.claim(store.add_run(plan()).pretrain_job)


def written(tmp_path, claim, *, end=True):
    """Return what a worker writes in an attempt."""
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.begin(claim, ENVIRONMENT)
        journal.revise(claim, ["drop-rates"])
        for _ in range(3):
            journal.beat(claim, STEP)
        journal.say(EPOCH)
        journal.say(STEP)  # the heartbeat tells that
        points = [MetricPoint(3, 1, "loss", 1.5), MetricPoint(3, 1, "lr", math.nan)]
        journal.record(claim, points, CostReading(train_s=1.0))
        if end:
            journal.finish(claim, results={"top1": 50.0}, cost=COST, correct={"top1": b"\0\1"})
        journal.say(Failure("something", "do this"))
    return path.read_bytes()


def state(store, claim):
    """Return all that the store holds of the job."""
    run = store.run(claim.run_id)
    # NaN equals nothing, not even itself.
    metrics = [repr(point) for point in store.metrics(run.id)]
    return run, metrics, store.queue.running(), store.correct(run.id, "top1")


def test_the_store_holds_what_the_worker_wrote(tmp_path, store, claim):
    words, end = read_words(content := written(tmp_path, claim))
    assert end == len(content)
    ingest = Ingest(store, claim)
    shown = list(ingest.take(words, waited_s=5.0))
    assert shown == [STEP, EPOCH, Failure("something", "do this")]
    assert (ingest.begun, ingest.over, ingest.fenced) == (True, True, False)
    job = store.job(claim.job_id)
    assert job.state is JobState.DONE
    (attempt,) = job.attempts
    assert attempt.environment == ENVIRONMENT
    assert (attempt.cost.queue_s, attempt.cost.train_s) == (6.0, 2.0)
    assert store.run(claim.run_id).results["top1"] == 50.0
    assert store.run(claim.run_id).identity["revisions"] == ["drop-rates"]
    assert {point.name for point in store.metrics(claim.run_id)} == {"loss", "lr"}
    assert store.correct(claim.run_id, "top1") == (bytes([0b01000000]), 2)


@pytest.mark.parametrize("end", [False, True])
def test_taken_in_again_it_changes_nothing(tmp_path, store, claim, end):
    words, _ = read_words(written(tmp_path, claim, end=end))
    list(Ingest(store, claim).take(words))
    before = state(store, claim)
    for _ in range(3):
        list(Ingest(store, claim).take(words))
        assert state(store, claim) == before
    if not end:
        (running,) = before[2]
        assert (running.heartbeat, running.step, running.pid) == (3, 3, os.getpid())


def test_in_pieces_it_says_the_same(tmp_path, store, claim):
    content = written(tmp_path, claim)
    ingest, taken = Ingest(store, claim), 0
    for size in range(0, len(content) + 7, 7):
        words, end = read_words(content[taken:size])
        taken += end
        list(ingest.take(words, waited_s=500.0 if ingest.begun else 5.0))
    assert taken == len(content)
    job = store.job(claim.job_id)
    assert job.state is JobState.DONE
    assert job.attempts[0].cost.queue_s == 6.0, "what it worked is no waiting"


def test_an_attempt_that_was_ended_takes_no_more_words(tmp_path, store, claim):
    store.queue.release(claim, reason="given up", cost=None)
    again = store.queue.claim(claim.job_id)
    before = state(store, again)
    words, _ = read_words(written(tmp_path, claim))
    ingest = Ingest(store, claim)
    assert EPOCH in list(ingest.take(words))
    assert ingest.fenced
    assert state(store, again) == before


def test_an_attempt_is_begun_once(tmp_path, claim):
    written(tmp_path, claim)
    with pytest.raises(FencedError, match="started this attempt already"):
        Journal(tmp_path / "journal.jsonl")


def test_a_worker_that_is_superseded_learns_it_from_its_heartbeat(tmp_path, claim):
    newer = []
    with Journal(tmp_path / "journal.jsonl", lambda: bool(newer)) as journal:
        journal.beat(claim)
        newer.append(2)
        with pytest.raises(FencedError, match="not wanted"):
            journal.beat(claim)


def test_words_that_are_no_words_are_refused():
    with pytest.raises(EmabenchError, match="cannot be read"):
        read_words(b'{"word": "sung"}\n')
    assert read_words(b"") == ([], 0)


def test_values_survive_the_way(tmp_path, claim):
    words, _ = read_words(written(tmp_path, claim))
    (finished,) = [word for word in words if isinstance(word, Finished)]
    assert finished.correct == {"top1": b"\0\1"}
    assert [word.count for word in words if isinstance(word, Beat)] == [1, 2, 3]
