"""Workers die by SIGKILL at any moment; every job ends done exactly once, with the same bits."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter

import pytest
from outcomes import outcomes

from emabench import experiment
from emabench.engines.local import serve
from emabench.events import JobEnded, JobProgress, JobStarted
from emabench.queue.supervisor import Slot
from emabench.queue.worker import Workplace
from emabench.records import JobKind, JobState
from emabench.spec.settings import experiments
from emabench.store import RunStore

CPU = Slot("cpu", "cpu")
WEIGHTS = {"online.safetensors", "target.safetensors", "projector.safetensors"}


def plans(count, epochs):
    axes = [
        ("pretrain.threads", [1]),
        ("pretrain.epochs", [epochs]),
        ("pretrain.data.train_subset", [64]),
        ("pretrain.data.test_subset", [20]),
        ("pretrain.method.name", ["moco"]),
        ("pretrain.method.options.queue_size", [48]),
        ("pretrain.ema.scope", ["from:layer4"]),
        ("pretrain.checkpoint_steps", [3]),
        ("evaluation.linear.weight_decays", [[0.01]]),
        ("pretrain.seed", list(range(count))),
    ]
    specs = experiments(axes, preset="smoke")
    return [experiment.resolve(spec, command="emabench run") for spec in specs]


class Killer:
    """Kills the process of a running job at random moments, a number of times in all."""

    def __init__(self, kills, seed, pids):
        self.left, self.random, self.pids = kills, random.Random(seed), pids
        self.killed, self.events = Counter(), []

    def __call__(self, event):
        self.events.append(event)
        may_kill = isinstance(event, JobStarted | JobProgress) and self.left
        if may_kill and self.random.random() < 0.3:
            pid = self.pids().get(event.claim.job_id)
            if pid is not None:
                try:
                    os.killpg(pid, signal.SIGKILL)
                except ProcessLookupError:
                    return  # it leads no group yet, or is gone already
                self.left -= 1
                self.killed[event.claim.kind] += 1


def work_off(folder, planned, *, kills=0, seed=0):
    """Queue the runs and work them off on two slots; return the store's path and the killer."""
    folder.mkdir()
    path = folder / "results.db"
    with RunStore.open(str(path), mode="write") as store:
        for plan in planned:
            store.add_run(plan, max_attempts=1000)
        pids = lambda: {a.job_id: a.pid for a in store.queue.running() if a.pid != os.getpid()}  # noqa: E731
        killer = Killer(kills, seed, pids)
        serve(
            store,
            str(path),
            [CPU, CPU],
            place=Workplace(folder / "files"),
            on_event=killer,
            stop=lambda: False,
            idle_exit=True,
        )
    return path, killer


def check(tmp_path, *, runs, epochs, kills, seed):
    planned = plans(runs, epochs)
    undisturbed, _ = work_off(tmp_path / "undisturbed", planned)
    killed, killer = work_off(tmp_path / "killed", planned, kills=kills, seed=seed)
    assert killer.left == 0
    found = outcomes(str(killed), killed.parent / "files")
    assert found == outcomes(str(undisturbed), undisturbed.parent / "files")
    assert all(weights.keys() == WEIGHTS for *_, weights in found.values())
    ends = [event for event in killer.events if isinstance(event, JobEnded)]
    done = Counter(end.claim.job_id for end in ends if end.state is JobState.DONE)
    assert sorted(done.values()) == [1] * (2 * runs)
    reasons = Counter(end.reason for end in ends if end.state is JobState.QUEUED)
    assert set(reasons) <= {"killed by SIGKILL (out of memory?)"}
    assert 0 < sum(reasons.values()) <= kills
    return killer


def test_a_handful_of_kills_changes_no_bit(tmp_path):
    check(tmp_path, runs=2, epochs=4, kills=6, seed=1)


@pytest.mark.slow
def test_a_hundred_kills_change_no_bit(tmp_path):
    killer = check(tmp_path, runs=8, epochs=12, kills=110, seed=2)
    assert killer.killed[JobKind.PRETRAIN] > 50
    assert killer.killed[JobKind.LINEAR_EVAL] > 5
