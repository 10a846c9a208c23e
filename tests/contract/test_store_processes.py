"""What the store promises when several processes use it at once, or die while they do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from seeding import ENVIRONMENT, plan

from emabench.errors import FencedError
from emabench.records import CostReading, JobState, MetricPoint
from emabench.store import RunStore

TESTS = Path(__file__).parents[1]

PREAMBLE = """
import json, sys, time
from seeding import ENVIRONMENT, plan
from emabench.records import MetricPoint
from emabench.store import RunStore
url, given = sys.argv[1], json.loads(sys.argv[2])

def ready():
    print("ready", flush=True)
    sys.stdin.readline()
"""
CLAIM = """
with RunStore.open(url, mode="write") as store:
    ready()
    print(json.dumps([job for job in given if store.queue.claim(job, environment=ENVIRONMENT)]))
"""
ADD = """
ready()
with RunStore.open(url, mode="write") as store:
    print(json.dumps([store.add_run(plan(seed=seed), force=f).id for seed, f in given]))
"""
HOLD = """
store = RunStore.open(url, mode="write")
claim = store.queue.claim(given[0], environment=ENVIRONMENT)
store.queue.record(claim, [MetricPoint(1, 1, "loss", 5.0)])
ready()
"""
WRITE = """
with RunStore.open(url, mode="write") as store:
    claim = store.queue.claim(given[0], environment=ENVIRONMENT)
    ready()
    for step in range(given[1]):
        store.queue.record(claim, [MetricPoint(step, 1, name, 1.0) for name in ("loss", "lr")])
    print("[]")
"""


@pytest.fixture
def start():
    """Start a program that prints "ready" and then waits for a line; ends it after the test."""
    started = []

    def start(program, url, given):
        process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + program, url, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def together(processes):
    """Let all processes go at once and return what each prints."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [json.loads(process.communicate()[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return answers


def test_two_processes_claim_each_job_exactly_once(url, start):
    with RunStore.open(url, mode="write") as store:
        jobs = [store.add_run(plan(seed=seed)).pretrain_job for seed in range(20)]
        claimed = together([start(CLAIM, url, jobs), start(CLAIM, url, jobs)])
        assert sorted(claimed[0] + claimed[1]) == sorted(jobs)
        assert {len(run.jobs[0].attempts) for run in store.runs()} == {1}


def test_two_processes_create_one_store_and_queue_each_run_once(url, start):
    seeds = [[seed, False] for seed in range(10)]
    first, second = together([start(ADD, url, seeds), start(ADD, url, seeds)])
    assert first == second
    with RunStore.open(url, mode="read") as store:
        assert sorted(run.id for run in store.runs()) == sorted(first)


def test_two_processes_force_repeats_without_losing_one(url, start):
    forced = [[0, True]] * 5
    first, second = together([start(ADD, url, forced), start(ADD, url, forced)])
    assert len(set(first + second)) == 10


def test_the_job_of_a_killed_process_is_queued_again(url, start):
    with RunStore.open(url, mode="write") as store:
        run = store.add_run(plan())
        mine = store.add_run(plan(seed=1))
        assert store.queue.claim(mine.pretrain_job, environment=ENVIRONMENT) is not None
        process = start(HOLD, url, [run.pretrain_job])
        assert process.stdout.readline() == "ready\n"
        assert store.queue.reap_dead() == []
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        assert store.queue.reap_dead() == [run.pretrain_job]
        assert store.queue.reap_dead() == []
        (attempt,) = store.run(run.id).jobs[0].attempts
        assert (attempt.state, attempt.reason) == (JobState.FAILED, "its process is gone")
        assert attempt.ended_at is not None
        again = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
        assert again is not None
        assert again.attempt == 2
        assert len(store.metrics(run.id)) == 1
        assert store.run(mine.id).state is JobState.RUNNING


def test_a_process_of_another_host_is_left_alone(url, start, monkeypatch):
    with RunStore.open(url, mode="write") as store:
        run = store.add_run(plan())
        process = start(HOLD, url, [run.pretrain_job])
        assert process.stdout.readline() == "ready\n"
        process.kill()
        process.wait()
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("socket.gethostname", lambda: "another-host")
            assert store.queue.reap_dead() == []
        assert store.queue.reap_dead() == [run.pretrain_job]


def test_a_reader_polls_while_a_writer_writes(url, start):
    steps = 150
    with RunStore.open(url, mode="write") as store:
        run = store.add_run(plan())
    process = start(WRITE, url, [run.pretrain_job, steps])
    answers = []
    with RunStore.open(url, mode="read") as reader:
        writer = threading.Thread(target=lambda: answers.append(together([process])))
        writer.start()
        seen = [0]
        while writer.is_alive():
            seen.append(len(reader.metrics(run.id)))
        writer.join()
        seen.append(len(reader.metrics(run.id)))
    assert answers == [[[]]]
    assert seen == sorted(seen)
    assert all(count % 2 == 0 for count in seen)  # the two points of a step appear together
    assert seen[-1] == 2 * steps
    assert len(set(seen)) > 2


def test_threads_share_a_store(url):
    with RunStore.open(url, mode="write") as store:
        job = store.add_run(plan()).pretrain_job
        claim = store.queue.claim(job, environment=ENVIRONMENT)
        assert claim is not None
        errors = []

        def write(first):
            try:
                for step in range(first, first + 10):
                    store.queue.record(claim, [MetricPoint(step, 1, "loss", 1.0)])
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(first,)) for first in (0, 10, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(store.metrics(job)) == 30
        store.queue.finish(claim, results={}, cost=CostReading())
        with pytest.raises(FencedError):
            store.queue.record(claim, [MetricPoint(1, 1, "loss", 1.0)])
