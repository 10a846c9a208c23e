"""What holds for every engine: this machine, Ray, and submitit's processes in the place of Slurm.

``EMABENCH_TEST_SLURM=1`` adds the Slurm that this machine is a part of.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from engines import Site, local, on_ray, on_slurm, on_submitit, plans

from emabench.errors import InterruptedRunError
from emabench.events import JobEnded, JobProgress, JobStarted
from emabench.records import JobState, MetricPoint, RunQuery

# submitit waits for none of its processes.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
_SLURM = pytest.mark.skipif(
    "EMABENCH_TEST_SLURM" not in os.environ, reason="EMABENCH_TEST_SLURM is not set"
)
ENGINES = [
    pytest.param("local", marks=pytest.mark.slow),
    pytest.param("ray", marks=pytest.mark.external),
    pytest.param("submitit", marks=pytest.mark.external),
    pytest.param("slurm", marks=[pytest.mark.external, _SLURM]),
]
_OPENERS = {
    "local": local,
    "ray": on_ray,
    "submitit": on_submitit,
    "slurm": on_slurm,
}


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    from engines import ray_running

    with ray_running():
        yield


@pytest.fixture(params=ENGINES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A store in a folder, and an engine."""
    name = request.param
    if name == "ray":
        request.getfixturevalue("ray")
    # A wish reaches a cluster some polls later: its jobs must last until then.
    return Site(tmp_path, _OPENERS[name], long=12 if name == "local" else 60)


def work_aside(site, until):
    """Wait in a thread until something holds; then call what it returns."""

    def watch():
        while True:
            with site.store() as store:
                for attempt in store.queue.running():
                    if attempt.pid != os.getpid() and site.has_checkpoint(attempt.job_id):
                        until(attempt)
                        return
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def is_gone(pid):
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_jobs_end_as_on_this_machine(site, tmp_path):
    here = Site(tmp_path / "here", local)
    here.folder.mkdir()
    for each in (here, site):
        each.queue(plans(2))
    here.work()
    events = []
    site.work(events.append)
    assert site.outcome() == here.outcome()
    ends = [event for event in events if isinstance(event, JobEnded)]
    assert [end.state for end in ends] == [JobState.DONE] * 4
    assert any(isinstance(event, JobProgress) for event in events)
    with site.store() as store:
        for run in store.runs(RunQuery(smoke=True)):
            for job in run.jobs:
                (attempt,) = job.attempts
                assert attempt.cost.queue_s is not None
                assert attempt.cost.total_s > 0
    for event in events:
        if isinstance(event, JobStarted):
            lines = Path(event.log).read_text().splitlines()
            claim = event.claim
            assert f"{claim.kind} {claim.job_id}, attempt 1, on cpu" in lines[0]
            assert lines[-1].endswith(" done")


def test_a_job_that_is_killed_goes_on_from_its_checkpoint(site):
    (run,) = site.queue(plans(1, epochs=site.long))
    killer = work_aside(site, lambda attempt: os.killpg(attempt.pid, signal.SIGKILL))
    events = []
    site.work(events.append)
    killer.join()
    with site.store() as store:
        first, second = store.job(run).attempts
    assert (first.state, second.state) == (JobState.FAILED, JobState.DONE)
    assert first.reason == "killed by SIGKILL (out of memory?)"
    log = site.files / run / "attempt-2" / "log.txt"
    assert "resumed after step" in log.read_text()
    assert (site.files / run / "attempt-1" / "log.txt").exists()
    assert site.outcome()


def test_who_is_asked_to_stop_saves_a_checkpoint_and_is_queued_again(site):
    (run,) = site.queue(plans(1, epochs=site.long))
    asked = threading.Event()
    pids = []

    def ask(attempt):
        pids.append(attempt.pid)
        asked.set()

    watcher = work_aside(site, ask)
    with pytest.raises(InterruptedRunError):
        site.work(stop=asked.is_set)
    watcher.join()
    is_gone(pids[0])
    with site.store() as store:
        job = store.job(run)
        assert (job.state, job.failures) == (JobState.QUEUED, 0)
        (attempt,) = job.attempts
        assert attempt.state is JobState.CANCELLED
        assert attempt.reason.startswith("stopped after step ")
    site.work()
    assert site.outcome()
    assert "resumed after step" in (site.files / run / "attempt-2" / "log.txt").read_text()


def test_a_job_that_is_cancelled_ends(site):
    from emabench.store import RunStore

    (run,) = site.queue(plans(1, epochs=2000))
    pids = []

    def cancel(attempt):
        pids.append(attempt.pid)
        with RunStore.open(str(site.path), mode="write") as store:
            store.queue.cancel([run])

    watcher = work_aside(site, cancel)
    events = []
    site.work(events.append)
    watcher.join()
    is_gone(pids[0])
    ends = [event for event in events if isinstance(event, JobEnded)]
    assert [end.state for end in ends] == [JobState.CANCELLED]
    with site.store() as store:
        assert [job.state for job in store.run(run).jobs] == [JobState.CANCELLED] * 2


def test_a_failure_that_will_not_pass_is_told_once(site):
    site.queue(plans(1, pretrain__optimizer__lr=1e30))
    events = []
    site.work(events.append)
    (end,) = [event for event in events if isinstance(event, JobEnded)]
    assert end.state is JobState.FAILED
    assert "the loss is " in end.reason
    assert "lower --lr" in end.hint
    with site.store() as store:
        (run,) = store.runs(RunQuery(smoke=True))
        assert [len(job.attempts) for job in run.jobs] == [1, 0]


def test_nobody_is_taken_for_dead_who_waits_for_a_place(site):
    """Three jobs are handed over, two have a place: the other beats through its driver."""
    from engines import CPU

    site.queue(plans(3, epochs=4))
    site.work(slots=[CPU] * 3, stale_after=8.0, max_jobs=3)
    with site.store() as store:
        for run in store.runs(RunQuery(smoke=True)):
            (attempt,) = run.jobs[0].attempts
            assert attempt.state is JobState.DONE
            losses = [m for m in store.metrics(run.id, "loss") if isinstance(m, MetricPoint)]
            assert len(losses) == 4


@pytest.mark.external
def test_without_a_shared_folder_files_come_back_through_a_url(ray, tmp_path):
    """The nodes work in folders of their own; a job is killed and fetches its checkpoint."""
    here = Site(tmp_path / "here", local)
    far = Site(tmp_path / "far", on_ray, place=f"file://{tmp_path}/bucket")
    for each in (here, far):
        each.folder.mkdir()
        (run,) = each.queue(plans(1, epochs=far.long))
    here.work()
    killer = work_aside(far, lambda attempt: os.killpg(attempt.pid, signal.SIGKILL))
    far.work()
    killer.join()
    assert far.outcome() == here.outcome()
    log = (far.files / run / "attempt-2" / "log.txt").read_text()
    assert "resumed after step" in log
    assert log.count("attempt 2, on cpu") == 1
    assert not list((tmp_path / "bucket").rglob("checkpoint*")), "a job that is done leaves none"


@pytest.mark.external
def test_a_node_that_does_not_share_the_folder_says_so(ray, tmp_path):
    site = Site(tmp_path, on_ray, place=str(tmp_path / "elsewhere"))
    site.queue(plans(1))
    events = []
    site.work(events.append, max_jobs=1)
    (end,) = [event for event in events if isinstance(event, JobEnded)]
    assert end.state is JobState.QUEUED
    assert "is not the driver's" in end.reason
