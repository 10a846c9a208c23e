"""What a supervisor does about attempts that ended."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from seeding import ENVIRONMENT, plan

from emabench.artifacts.layout import CHECKPOINT
from emabench.cost.meter import CostMeter
from emabench.queue import worker
from emabench.queue.failure import Failure
from emabench.queue.submission import Task
from emabench.queue.supervisor import Slot, Supervisor
from emabench.queue.worker import Workplace
from emabench.records import JobState
from emabench.store import RunStore


@dataclass
class Ended:
    """An attempt that nothing works on any more."""

    task: Task
    failure = None
    waitables = ()
    has_ended = True
    cause_of_death = "ended"

    def events(self):
        return iter(())

    def close(self):
        pass


class LateEngine:
    """Its attempts save a checkpoint just after the user has cancelled and removed their run."""

    def __init__(self, store):
        self.store = store

    def batch(self):
        return nullcontext()

    def look_after(self, others, root):
        pass

    def submit(self, task):
        job = task.claim.job_id
        self.store.queue.cancel([job])
        self.store.remove([self.store.job(job).run_id])
        task.log.parent.mkdir(parents=True)
        (task.log.parent / CHECKPOINT).write_bytes(b"late")
        return Ended(task)


class One:
    """A source of one job."""

    def __init__(self, store, job):
        self.store, self.job = store, job

    def claim(self, slot):
        job, self.job = self.job, None
        return job and self.store.queue.claim(job, environment=ENVIRONMENT)

    def is_exhausted(self):
        return self.job is None


def test_what_is_written_after_a_run_was_removed_goes_too(folder):
    artifacts = Path("artifacts")
    (artifacts / "0123456789ab" / "attempt-1").mkdir(parents=True)
    of_another = artifacts / "0123456789ab" / "attempt-1" / CHECKPOINT
    of_another.write_bytes(b"another run's")
    with RunStore.open("results.db", mode="write") as store:
        source = One(store, store.add_run(plan()).pretrain_job)
        supervisor = Supervisor(
            store, "results.db", LateEngine(store), Workplace(artifacts),
            on_event=lambda event: None, stop=lambda: False,
        )  # fmt: skip
        tally = supervisor.run(source, [Slot("cpu")])
    assert [end.state for end in tally.ends.values()] == [JobState.CANCELLED]
    assert [file for file in artifacts.rglob("*") if file.is_file()] == [of_another]
    assert [place.name for place in artifacts.iterdir()] == ["0123456789ab"]


class FailingEngine(LateEngine):
    """Its attempts could not record why they failed, and only say it."""

    def submit(self, task):
        task.log.parent.mkdir(parents=True)
        ended = Ended(task)
        ended.failure = Failure("RuntimeError: CUDA error: device-side assert")
        return ended


def test_what_an_attempt_said_is_its_reason_and_not_its_exit_code(folder):
    with RunStore.open("results.db", mode="write") as store:
        job = store.add_run(plan()).pretrain_job
        supervisor = Supervisor(
            store, "results.db", FailingEngine(store), Workplace(Path("artifacts")),
            on_event=lambda event: None, stop=lambda: False,
        )  # fmt: skip
        supervisor.run(One(store, job), [Slot("cpu")])
        (attempt,) = store.job(job).attempts
    assert attempt.reason == "RuntimeError: CUDA error: device-side assert"


def test_a_meter_that_fails_hides_no_reason(folder, monkeypatch):
    monkeypatch.setattr(CostMeter, "read", lambda self: 1 / 0)
    monkeypatch.setattr(worker.experiment, "pretrain", lambda *_, **__: [][0])
    with RunStore.open("results.db", mode="write") as store:
        claim = store.queue.claim(store.add_run(plan(device="cpu")).pretrain_job)
        with pytest.raises(IndexError):
            worker.work(
                store.queue, claim, Workplace(Path("artifacts")),
                on_event=lambda event: None, stop=lambda: False,
            )  # fmt: skip
        (attempt,) = store.job(claim.job_id).attempts
    assert attempt.reason == "IndexError: list index out of range"
