"""The clock of a host jumps: nothing is declared dead, and nothing comes out of order."""

from __future__ import annotations

import re
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
from seeding import ENVIRONMENT, plan

from emabench.queue.heartbeat import StaleWatch
from emabench.records import CostReading, JobState

HOUR = 3600


class HostClock:
    """Sets the clock of this host, as far as this process can see."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._patch, self._folder = monkeypatch, folder
        self._time = time.time
        self._statistics = Path("/proc/stat").read_text()
        for entry in Path("/proc").iterdir():
            if entry.name != "stat":
                (folder / entry.name).symlink_to(entry)

    def jump(self, seconds: int) -> None:
        """Set the clock so many seconds from the right time."""

        class Moved(datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.now(tz) + timedelta(seconds=seconds)

        self._patch.setattr(time, "time", lambda: self._time() + seconds)
        for name, module in list(sys.modules.items()):
            if name.startswith("emabench.") and isinstance(vars(module).get("datetime"), type):
                self._patch.setattr(module, "datetime", Moved)
        # Linux counts the moment of the boot back from the clock.
        moved = re.sub(r"btime (\d+)", lambda at: f"btime {int(at[1]) + seconds}", self._statistics)
        (self._folder / "stat").write_text(moved)
        self._patch.setattr(psutil, "PROCFS_PATH", str(self._folder))


@pytest.fixture
def clock(monkeypatch, tmp_path_factory):
    return HostClock(monkeypatch, tmp_path_factory.mktemp("proc"))


@pytest.mark.parametrize("seconds", [-24 * HOUR, 24 * HOUR])
def test_a_clock_that_jumps_reaps_nobody(store, clock, seconds):
    run = store.add_run(plan())
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    watch = StaleWatch(60.0)
    assert watch.stale(store.queue.running(), time.monotonic()) == []
    clock.jump(seconds)
    assert not store.queue.running()[0].process_gone
    assert store.queue.reap_dead() == []
    assert watch.stale(store.queue.running(), time.monotonic()) == []
    assert store.run(run.id).state is JobState.RUNNING
    store.queue.begin(claim, ENVIRONMENT)
    store.queue.beat(claim)
    assert store.queue.reap_dead() == []
    store.queue.finish(claim, results={}, cost=CostReading())


def test_nobody_waits_for_less_than_no_time(store, clock):
    first, second = store.add_run(plan(seed=0)), store.add_run(plan(seed=1))
    clock.jump(-HOUR)
    claim = store.queue.claim_next("cpu")
    assert (claim.job_id, claim.queued_s) == (first.pretrain_job, 0.0)
    store.queue.release(claim, reason="stopped", cost=None)
    clock.jump(HOUR)
    assert store.queue.claim(second.pretrain_job).queued_s > HOUR / 2


def test_the_order_of_runs_is_the_one_in_which_they_came(store, clock):
    first = store.add_run(plan(seed=0))
    clock.jump(-HOUR)
    second = store.add_run(plan(seed=1))
    clock.jump(-2 * HOUR)
    third = store.add_run(plan(seed=2))
    times = [run.created_at for run in store.runs()]
    assert times == sorted(times, reverse=True)
    runs = [first, second, third]
    assert [run.id for run in store.runs()] == [run.id for run in runs]
    assert store.run("@last").id == store.job("@last").id == third.id
    assert [job.run_id for job in store.queue.snapshot().queued] == [
        r.id for r in runs for _ in "12"
    ]
    claims = [store.queue.claim_next("cpu") for _ in runs]
    assert [claim.run_id for claim in claims] == [run.id for run in runs]
    for claim in reversed(claims):
        store.queue.release(claim, reason="stopped", cost=None)
    clock.jump(-3 * HOUR)
    assert store.queue.cancel([first.pretrain_job]) == [first.pretrain_job]
    assert len(store.queue.retry([first.pretrain_job, first.eval_job])) == 2
    assert store.queue.claim_next("cpu").run_id == first.id
