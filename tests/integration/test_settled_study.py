"""A real study that looks as planned: killed, resumed, and no seed that no question needs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from emabench.errors import NotFoundError
from emabench.records import JobKind, JobState, RunQuery
from emabench.spec.paths import value_at
from emabench.store import RunStore

pytestmark = pytest.mark.slow

STUDY = {
    **dict.fromkeys(("title", "claim", "question", "hypothesis", "refuted_by"), "x"),
    "metrics": ["top1"],
    "margin": {"top1": 30},
    "by": "ema_scope",
    "baseline": "none",
    "arms": [{"method": "simclr", "ema_scope": ["none", "projector", "full"]}],
    "budgets": {"smoke": {"preset": "smoke", "seeds": 0, "looks": [2, 4, 5]}},
}
COMMAND = [
    *(sys.executable, "-m", "emabench", "studies", "run", "mine.yaml", "--budget", "smoke"),
    *("--until", "settled", "--epochs", "1", "--set", "max_steps=2", "--set", "threads=1"),
    *("--device", "cpu", "--json"),
]


def test_a_killed_study_is_resumed_and_queues_only_what_an_open_question_needs(folder: Path):
    (folder / "mine.yaml").write_text(yaml.safe_dump(STUDY), "utf-8")
    first = subprocess.Popen(
        COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _wait_until(lambda: _done() >= 2, first)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    second = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    looks = json.loads(second.stdout)["looks"]
    assert looks[0]["pairs"] == 2
    with RunStore.open("results.db", mode="read") as store:
        runs = store.runs(RunQuery(smoke=True, study="mine"))
        taken = store.looks(["mine"]).taken
    assert {run.state for run in runs} == {JobState.DONE}
    # What was done before the kill was not done again.
    pretrained = [job for run in runs for job in run.jobs if job.kind is JobKind.PRETRAIN]
    assert sum(len(job.attempts) for job in pretrained) <= len(runs) + 1
    seeds = {scope: [] for scope in ("none", "projector", "full")}
    for run in runs:
        scope = value_at(run.spec, "pretrain.ema.scope")
        seeds[scope].append(value_at(run.spec, "pretrain.seed"))
    decided = {
        label: next(look["pairs"] for look in looks if label in look["decided"])
        for label in ("projector", "full")
    }
    assert min(decided.values()) < 5, "no seed could be spared: this shows nothing"
    for label, pairs in decided.items():
        assert sorted(seeds[label]) == list(range(pairs)), (label, looks)
    assert sorted(seeds["none"]) == list(range(max(decided.values())))
    assert [look.pairs for look in taken] == [look["pairs"] for look in looks]
    again = subprocess.run(COMMAND, capture_output=True, text=True, check=True)
    assert [look["queued"] for look in json.loads(again.stdout)["looks"]] == [0] * len(looks)


def _done() -> int:
    try:
        with RunStore.open("results.db", mode="read") as store:
            runs = store.runs(RunQuery(smoke=True))
    except NotFoundError:  # yet
        return 0
    return sum(run.state is JobState.DONE for run in runs)


def _wait_until(condition, process: subprocess.Popen, seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < end, "the study did not get so far"
        time.sleep(0.3)
