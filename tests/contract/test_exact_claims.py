"""However many processes take jobs from one queue, each job goes to exactly one of them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from seeding import plan

from emabench.records import JobState
from emabench.store import RunStore

PROCESSES = 8
RUNS = 100
"""Of two jobs each."""

WORKER = """
import json, sys
from emabench.records import CostReading
from emabench.store import RunStore

for url in iter(lambda: sys.stdin.readline().strip(), ""):
    with RunStore.open(url, mode="write") as store:
        print("ready", flush=True)
        sys.stdin.readline()
        claimed = []
        while True:
            claim = store.queue.claim_next("cpu")
            if claim is not None:
                claimed.append(claim.job_id)
                store.queue.finish(claim, results={}, cost=CostReading())
            elif not store.queue.queued_by_need():
                break
        print(json.dumps(claimed), flush=True)
"""


class Workers:
    """Processes that drain one queue after the other."""

    def __init__(self, folder: Path) -> None:
        self._complaints = (folder / "stderr.txt").open("w+")
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                text=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )
            for _ in range(PROCESSES)
        ]

    def drain(self, url: str) -> list[list[str]]:
        """Let all of them start at once; return what each claimed, in its order."""
        self._say(url)
        assert [process.stdout.readline() for process in self._processes] == ["ready\n"] * PROCESSES
        self._say("go")
        answers = [process.stdout.readline() for process in self._processes]
        assert self.complaints() == ""
        return [json.loads(answer) for answer in answers]

    def complaints(self) -> str:
        self._complaints.seek(0)
        return self._complaints.read()

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        self._complaints.close()

    def _say(self, line: str) -> None:
        for process in self._processes:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()


class Poller:
    """Reads all the time in a thread of its own, inside a ``with`` block."""

    def __init__(self, url: str, runs: int) -> None:
        self.done: list[int] = []
        self.errors: list[Exception] = []
        self._url, self._runs, self._over = url, runs, threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _poll(self) -> None:
        try:
            with RunStore.open(self._url, mode="read") as store:
                for turn in itertools.count():
                    last = self._over.is_set()
                    queue = store.queue.snapshot(limit=5)
                    # One moment, although it takes several questions to the database.
                    assert sum(queue.counts.values()) == 2 * self._runs
                    assert len(queue.running) == queue.counts[JobState.RUNNING] <= PROCESSES
                    self.done.append(queue.counts[JobState.DONE])
                    if turn % 10 == 0:
                        assert len(store.runs()) == self._runs
                    if last:
                        return
        except Exception as error:
            self.errors.append(error)


@pytest.fixture(scope="module")
def plans():
    return [plan(seed=seed) for seed in range(RUNS)]


@pytest.fixture
def workers(tmp_path):
    started = Workers(tmp_path)
    yield started
    started.end()


def check_one_round(url, plans, workers):
    with RunStore.open(url, mode="write") as store:
        runs = [store.add_run(planned) for planned in plans]
        jobs = sorted(job for run in runs for job in (run.pretrain_job, run.eval_job))
        with Poller(url, len(plans)) as poller:
            claimed = workers.drain(url)
        assert poller.errors == []
        assert sorted(itertools.chain(*claimed)) == jobs
        assert sum(bool(share) for share in claimed) > 1
        for run in store.runs():
            assert run.state is JobState.DONE
            assert [len(job.attempts) for job in run.jobs] == [1, 1]
    assert poller.done == sorted(poller.done)
    assert poller.done[-1] == 2 * len(plans)
    assert len(set(poller.done)) > 2  # it did read while the others wrote


def test_eight_processes_claim_each_job_exactly_once(url, plans, workers):
    check_one_round(url, plans[:50], workers)


@pytest.mark.slow
def test_eight_processes_claim_each_job_exactly_once_twenty_times(new_url, plans, workers):
    for _ in range(20):
        check_one_round(new_url(), plans, workers)
