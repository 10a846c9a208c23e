"""Commands and workers that meet at the same jobs: nobody sees an error, and the store adds up."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import postgres
import pytest
from seeding import ENVIRONMENT, complete, plan
from sqlalchemy import make_url, text

from emabench.records import JobKind, JobState
from emabench.store import RunStore
from emabench.store.queue.attempts import beat, begin_attempt
from emabench.store.queue.processes import ProcessIdentity

PROCESSES = 4

MEET = """
import json, random, sys
from dataclasses import replace
from seeding import ENVIRONMENT, plan
from emabench.errors import FencedError, NotFoundError, UsageError
from emabench.records import CostReading, MetricPoint
from emabench.store import RunStore

url, seed, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
plans = [plan(seed=0), plan(seed=1)]
claims = []

def some_jobs():
    runs = store.runs()
    jobs = [job.id for run in chance.sample(runs, min(2, len(runs))) for job in run.jobs]
    return chance.sample(jobs, chance.randint(0, len(jobs)))

def add():
    store.add_run(chance.choice(plans), force=chance.random() < 0.05, max_attempts=2)

def claim():
    claims.extend(filter(None, [store.queue.claim_next("cpu")]))

def of_worker(write):
    def step():
        if claims:
            write(claims[-1])
    return step

def last(write):
    def step():
        if claims:
            write(claims.pop())
    return step

def remove():
    runs = store.runs()
    if chance.random() < 0.3:
        store.remove([run.id for run in chance.sample(runs, min(2, len(runs)))])

def reap():
    for attempt in store.queue.running()[:1]:
        store.queue.reap(attempt, reason="dead")

environment = lambda: replace(ENVIRONMENT, host=f"host-{chance.randrange(3)}")
done = CostReading(total_s=1.0)
moves = [
    add, add, claim, claim, claim,
    of_worker(lambda c: store.queue.begin(c, environment())),
    of_worker(lambda c: store.queue.beat(c)),
    of_worker(lambda c: store.queue.record(c, [MetricPoint(1, 1, "loss", 1.0)], done)),
    last(lambda c: store.queue.fail(c, reason="no luck", cost=None, retry=chance.random() < 0.5)),
    last(lambda c: store.queue.finish(c, results={"top1": 1.0}, cost=done)),
    last(lambda c: store.queue.release(c, reason="stopped", cost=None)),
    lambda: store.queue.cancel(some_jobs()), lambda: store.queue.retry(some_jobs()),
    lambda: store.queue.cancel(some_jobs()), lambda: store.queue.retry(some_jobs()),
    remove, reap,
]
with RunStore.open(url, mode="write") as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(steps):
        try:
            chance.choice(moves)()
        except (FencedError, NotFoundError, UsageError):
            pass  # somebody was faster, and each of them says so
print("done", flush=True)
"""


def meet(url: str, seed: int, steps: int) -> subprocess.Popen[str]:
    places = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    return subprocess.Popen(
        [sys.executable, "-c", MEET, url, str(seed), str(steps)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
    )


@pytest.mark.parametrize("steps", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_whatever_commands_meet_nobody_sees_an_error(url, steps):
    with RunStore.open(url, mode="write") as store:
        processes = [meet(url, seed, steps) for seed in range(PROCESSES)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        for said, complaints in [process.communicate() for process in processes]:
            assert (said, complaints) == ("done\n", "")
        check(store)


def check(store: RunStore) -> None:
    """What must be so, whoever did what in which order."""
    runs = store.runs()
    assert runs
    assert len({run.id for run in runs}) == len(runs)
    for run in runs:
        pretrain, evaluation = run.jobs
        for job in run.jobs:
            assert [a.number for a in job.attempts] == list(range(1, job.attempt + 1))
            working = [a.number for a in job.attempts if a.state is JobState.RUNNING]
            assert working == ([job.attempt] if job.state is JobState.RUNNING else [])
            assert all((a.ended_at is None) == (a.number in working) for a in job.attempts)
            assert job.failures <= job.max_attempts
        if evaluation.state in (JobState.RUNNING, JobState.DONE):
            assert pretrain.state is JobState.DONE
        if pretrain.state in (JobState.FAILED, JobState.CANCELLED):
            assert evaluation.state in (JobState.FAILED, JobState.CANCELLED)
    assert {job.kind for run in runs for job in run.jobs} == {
        JobKind.PRETRAIN, JobKind.LINEAR_EVAL,
    }  # fmt: skip


@pytest.fixture
def on_server(server):
    """A store on a server, which locks rows and not the whole store."""
    with server.database() as url, RunStore.open(url, mode="write") as store:
        yield store, url


def in_the_meantime(url, work):
    """Start ``work`` in a thread and return once it waits for a lock."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE datname = '{make_url(url).database}' AND wait_event_type = 'Lock'"
    )
    while thread.is_alive() and postgres.Server(make_url(url)).execute(query) == [0]:
        pass
    return thread, answers


@pytest.mark.external
def test_a_heartbeat_that_comes_while_somebody_reaps_saves_its_attempt(on_server):
    store, url = on_server
    run = store.add_run(plan())
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    (seen,) = store.queue.running()
    with store._database.write() as session:
        beat(session, claim, None, None)
        thread, answers = in_the_meantime(url, lambda: store.queue.reap(seen, reason="silent"))
    thread.join()
    assert answers == [None]
    assert store.run(run.id).state is JobState.RUNNING
    store.queue.beat(claim)


@pytest.mark.external
def test_a_job_that_is_claimed_while_somebody_removes_it_stays(on_server):
    store, url = on_server
    run = store.add_run(plan())

    def remove():
        try:
            store.remove([run.id])
        except Exception as error:
            return type(error).__name__

    with store._database.write() as session:
        session.execute(text("UPDATE jobs SET state = 'running' WHERE position = 0"))
        thread, answers = in_the_meantime(url, remove)
    thread.join()
    assert answers == ["UsageError"]
    assert store.run(run.id).state is JobState.RUNNING


@pytest.mark.external
def test_an_environment_that_an_attempt_is_about_to_name_is_not_removed(on_server):
    store, _ = on_server
    old = complete(store, plan(seed=0))
    new = store.add_run(plan(seed=1))
    claim = store.queue.claim(new.pretrain_job)
    with store._database.write() as session:
        begin_attempt(session, claim, ENVIRONMENT, ProcessIdentity.of_this())
        store.remove([old])  # waits for nobody
    assert store.job(claim.job_id).attempts[0].environment == ENVIRONMENT


@pytest.mark.external
def test_a_job_that_is_requeued_and_claimed_while_somebody_queues_its_run_again_goes_on(on_server):
    store, url = on_server
    run = store.add_run(plan())
    store.queue.cancel([run.pretrain_job])
    with store._database.write() as session:
        session.execute(text("UPDATE jobs SET state = 'running', attempt = 1 WHERE position = 0"))
        thread, answers = in_the_meantime(url, lambda: store.add_run(plan()))
    thread.join()
    assert answers[0].existed
    assert store.job(run.pretrain_job).state is JobState.RUNNING
    assert store.job(run.eval_job).state is JobState.QUEUED
