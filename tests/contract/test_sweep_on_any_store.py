"""The whole life of a sweep on every kind of store: queue, work, kill, compare, carry over."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from emabench.store import RunStore

TINY = ["--preset", "smoke", "--set", "threads=1", "--set", "checkpoint_steps=2"]


@pytest.fixture
def call(emabench, monkeypatch, url):
    monkeypatch.setenv("EMABENCH_DB", url)
    monkeypatch.setenv("EMABENCH_ARTIFACTS", "files")

    def call(*arguments, code=0):
        result = emabench(arguments)
        assert result.code == code, result.err
        return result

    return call


def kill_one(url):
    """Kill the first job that has made some steps; return its id."""
    with RunStore.open(url, mode="read") as store:
        while True:
            for attempt in store.queue.running():
                if attempt.pid != os.getpid() and list(Path("files").glob("*/*/checkpoint.pt")):
                    os.killpg(attempt.pid, signal.SIGKILL)
                    return attempt.job_id
            time.sleep(0.02)


def test_a_sweep_from_the_queue_to_another_store(call, url, new_url, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    queued = call("queue", *TINY, "--epochs", "12", "--ema-scope", "none,full", "--json")
    runs = [run["id"] for run in json.loads(queued.out)["runs"]]
    status = json.loads(call("status", "--json").out)
    assert status["counts"]["queued"] == 4
    with ThreadPoolExecutor() as pool:
        killed = pool.submit(kill_one, url)
        worked = call("work", "--device", "cpu", "--idle-exit", "--json")
        job = killed.result()
    attempts = [j for j in json.loads(worked.out)["jobs"] if j["state"] != "done"]
    assert attempts == []
    shown = json.loads(call("show", runs[0], "--json").out)["run"]
    first = {j["id"]: j["attempts"] for j in shown["jobs"]}[job]
    assert [a["state"] for a in first] == ["failed", "done"]
    assert "resumed after step" in call("logs", job).out
    assert call("db", "check").out.endswith(" is sound\n")
    assert "is up to date" in call("db", "upgrade").out

    compared = json.loads(call("compare", "--smoke", "--metric", "top1,throughput", "--json").out)
    assert {row["ema_scope"]: row["n"] for row in compared["rows"]} == {"none": 1, "full": 1}

    call("export", "-o", "runs.jsonl.gz")
    monkeypatch.setenv("EMABENCH_DB", new_url())
    assert call("import", "runs.jsonl.gz").out.startswith("2 runs imported")
    again = json.loads(call("compare", "--smoke", "--metric", "top1,throughput", "--json").out)
    assert again == compared
    call("rm", *runs, "--yes")
    assert json.loads(call("list", "--smoke", "--json").out)["runs"] == []
