"""Workers and their PostgreSQL server fail again and again; a quiet twin has the same store."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import postgres
import pytest
from outcomes import outcomes
from seeding import plan
from sqlalchemy import make_url

from emabench.queue.patience import patiently
from emabench.records import JobState, RunQuery
from emabench.store import RunStore

pytestmark = [pytest.mark.external, pytest.mark.slow]

REAL = [sys.executable, "-m", "emabench"]
TESTS = str(Path(__file__).parents[1])
STUBBED = [
    *(sys.executable, "-c"),
    f"import sys; sys.path.insert(0, {TESTS!r}); import stubbed_work; stubbed_work.main()",
]
WORKERS = 4
FAULTS = Counter({"restart": 2, "terminate": 4, "kill_worker": 3, "kill_job": 5})
PATIENCE_SECONDS = 900.0
TINY = [
    "queue", "--preset", "smoke", "--method", "moco", "--ema-scope", "from:layer4",
    "--seed", "0..19", "--epochs", "2", "--batch-size", "32", "--train-subset", "64",
    "--test-subset", "20", "--set", "threads=1", "--set", "checkpoint_steps=1",
    "--set", "method.options.queue_size=48", "--set", "evaluation.linear.weight_decays=[0.01]",
    "--max-attempts", "20",
]  # fmt: skip


class Workers:
    """Four workers at one store, each replaced when it is killed, and what befalls them.

    Args:
        server: of the store.
        url: of the store.
        folder: for the artifacts and what the workers say.
        command: the command line.
    """

    def __init__(
        self, server: postgres.PrivateServer, url: str, folder: Path, command: list[str]
    ) -> None:
        self._server, self._url, self._folder = server, url, folder
        self._command = [
            *command, "work", "--device", "cpu", "--stale-after", "15", "--db", url,
            "--artifacts", str(folder / "files"),
        ]  # fmt: skip
        self._workers: list[subprocess.Popen[bytes]] = []
        self._said: dict[int, Path] = {}
        self._random = random.Random(5)

    def __enter__(self) -> Workers:
        for _ in range(WORKERS):
            self._start()
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            while not self._said[worker.pid].read_text() and worker.poll() is None:
                time.sleep(0.1)  # it is still starting, and does not listen yet
            worker.terminate()
        codes = {worker.wait(120) for worker in self._workers}
        assert codes == {130}, self.complaints()

    def run(self, jobs: int) -> None:
        """Let every fault happen, in any order, while the first half of the jobs end."""
        faults = sorted(FAULTS.elements())
        self._random.shuffle(faults)
        for number, fault in enumerate(faults):
            self.wait_until_done(round(0.5 * jobs * number / len(faults)))
            getattr(self, fault)()
        self.wait_until_done(jobs)

    def wait_until_done(self, jobs: int) -> None:
        """Wait until so many jobs are done."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._ask(lambda store: store.queue.snapshot().counts[JobState.DONE]) < jobs:
            assert time.monotonic() < deadline, self.complaints()
            self._replace_ended()
            time.sleep(0.1)

    def restart(self) -> None:
        """Restart the server as after a crash."""
        self._server.stop()
        time.sleep(1)
        self._server.start()

    def terminate(self) -> None:
        """Cut all connections to the store."""
        self._server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{make_url(self._url).database}'"
        )

    def kill_worker(self) -> None:
        """Kill the process of a worker, and start another one."""
        worker = self._workers.pop(self._random.randrange(WORKERS))
        worker.kill()
        worker.wait()
        self._start()

    def kill_job(self) -> None:
        """Kill the process group of a job."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            assert time.monotonic() < deadline, self.complaints()
            workers = {worker.pid for worker in self._workers}
            running = self._ask(lambda store: store.queue.running())
            jobs = [attempt.pid for attempt in running if attempt.pid not in workers]
            # One leads no group yet, or is over already.
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.killpg(self._random.choice(jobs), signal.SIGKILL)
                return

    def complaints(self) -> str:
        """Return the end of what each worker said."""
        said = [path.read_text()[-2000:] for path in sorted(self._folder.glob("worker-*.txt"))]
        return "\n----\n".join(said)

    def _start(self) -> None:
        said = self._folder / f"worker-{len(self._said)}.txt"
        with said.open("w") as output:
            worker = subprocess.Popen(self._command, stdout=output, stderr=output, cwd=self._folder)
        self._workers.append(worker)
        self._said[worker.pid] = said

    def _replace_ended(self) -> None:
        """Start those again that found no server when they started; no other one ends."""
        for worker in [each for each in self._workers if each.poll() is not None]:
            said = self._said[worker.pid].read_text()
            assert said.startswith(("error: the store", "error: cannot connect")), said
            self._workers.remove(worker)
            self._start()

    def _ask(self, question):
        def ask():
            with RunStore.open(self._url, mode="read") as store:
                return question(store)

        return patiently(ask, stop=lambda: False)


@pytest.fixture
def server():
    started = postgres.PrivateServer()
    yield started
    started.remove()


def check(server, folder, command, queue, *, jobs):
    """Compare what comes of jobs under faults with what comes of them in peace."""
    quiet, stormy = folder / "quiet", folder / "stormy"
    for each in (quiet, stormy):
        each.mkdir()
    twin = str(quiet / "results.db")
    queue(twin)
    idle = [*command, "work", "--device", "cpu", "--jobs-per-device", "2", "--idle-exit"]
    place = ["--db", twin, "--artifacts", str(quiet / "files")]
    subprocess.run([*idle, *place], check=True, capture_output=True)
    with server.database() as url:
        queue(url)
        with Workers(server, url, stormy, command) as workers:
            workers.run(jobs)
        found = outcomes(url, stormy / "files")
        with RunStore.open(url, mode="read") as store:
            runs = store.runs(RunQuery(smoke=True))
    assert found == outcomes(twin, quiet / "files")
    assert len(found) == jobs // 2
    assert all(metrics and results and right for metrics, results, right, _ in found.values())
    attempts = [attempt for run in runs for job in run.jobs for attempt in job.attempts]
    reasons = Counter(attempt.reason for attempt in attempts if attempt.reason is not None)
    sys.stdout.write(f"{len(attempts)} attempts at {jobs} jobs; not done: {dict(reasons)}\n")
    assert 0 < sum(reasons.values()) == len(attempts) - jobs
    assert reasons["killed by SIGKILL (out of memory?)"] > 0


def test_forty_trainings_under_faults_are_those_of_a_quiet_twin(server, tmp_path):
    def queue(location):
        subprocess.run([*REAL, *TINY, "--db", location], check=True, stdout=subprocess.DEVNULL)

    check(server, tmp_path, REAL, queue, jobs=40)


def test_two_hundred_jobs_under_faults_are_those_of_a_quiet_twin(server, tmp_path):
    def queue(location):
        with RunStore.open(location, mode="write") as store:
            for seed in range(100):
                store.add_run(plan(seed=seed, smoke=True), max_attempts=20)

    check(server, tmp_path, STUBBED, queue, jobs=200)
