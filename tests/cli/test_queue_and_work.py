"""queue and work as a user types them, in this process; the jobs run in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from seeding import complete, plan

from emabench.artifacts.layout import attempt_folder
from emabench.cli.show.plans import add_all, print_queued
from emabench.queue.supervisor import Tally
from emabench.records import RunQuery
from emabench.spec.revisions import EVALUATION
from emabench.store import RunStore

TINY = ["--preset", "smoke", "--epochs", "1", "--set", "max_steps=2", "--set", "threads=1"]
MENDED = {EVALUATION: ["knn-votes"]}
WORK = ["work", "--device", "cpu", "--idle-exit"]


@pytest.fixture
def queue(emabench):
    def queue(*arguments):
        result = emabench(["queue", *TINY, *arguments, "--json"])
        assert result.code == 0, result.err
        return json.loads(result.out)["runs"]

    return queue


def states(folder):
    with RunStore.open(str(folder / "results.db"), mode="read") as store:
        return {run.id: run.state.value for run in store.runs(RunQuery(smoke=True))}


def test_a_queue_is_worked_off(emabench, folder, queue):
    first = queue("--method", "moco", "--ema-scope", "none,full")
    assert [run["existed"] for run in first] == [False, False]
    assert set(states(folder).values()) == {"queued"}
    again = queue("--method", "moco", "--ema-scope", "none,full")
    assert [(run["id"], run["existed"]) for run in again] == [(run["id"], True) for run in first]

    result = emabench([*WORK, "--jobs-per-device", "2"])
    assert (result.code, result.out) == (0, "4 attempts: 4 done\n")
    assert states(folder) == {run["id"]: "done" for run in first}
    for run in first:
        for job in (run["pretrain_job"], run["eval_job"]):
            log = folder / "results-artifacts" / job / "attempt-1" / "log.txt"
            assert log.read_text().splitlines()[-1].endswith(" done")
            assert f"{job} (moco" in result.err
    assert "Traceback" not in result.err

    nothing = emabench(WORK)
    assert (nothing.code, nothing.out) == (0, "0 attempts: nothing was queued\n")
    shown = emabench(["run", *TINY, "--method", "moco", "--ema-scope", "none,full"])
    assert shown.err.count("exists already") == 2


def test_plain_lines_name_both_jobs_of_each_run(emabench):
    result = emabench(["queue", *TINY, "--seed", "0..1"])
    lines = [line.split() for line in result.out.splitlines()]
    assert [line[2:] for line in lines] == [["simclr", "none", "0"], ["simclr", "none", "1"]]
    assert len({job for line in lines for job in line[:2]}) == 4
    assert "2 of 2 runs are new" in result.err
    assert "(exists, queued)" in emabench(["queue", *TINY, "--seed", "1"]).out


def test_the_highest_priority_goes_first(emabench, queue):
    queue("--seed", "0")
    (urgent,) = queue("--seed", "1", "--priority", "5")
    result = emabench([*WORK, "--max-jobs", "2", "--json"])
    jobs = json.loads(result.out)["jobs"]
    assert [job["run"] for job in jobs] == [urgent["id"]] * 2
    assert [(job["kind"], job["state"]) for job in jobs] == [
        ("pretrain", "done"),
        ("linear_eval", "done"),
    ]


def test_a_dry_run_counts_and_estimates_and_queues_nothing(emabench, folder, queue):
    text = emabench(["queue", *TINY, "--dry-run"]).out
    assert re.search(r"1 run, 2 jobs, \d+ steps, no estimate: the store has no finished run", text)
    assert list(folder.iterdir()) == []
    queue("--seed", "0")
    assert emabench(WORK).code == 0
    found = json.loads(emabench(["queue", *TINY, "--seed", "0..2", "--dry-run", "--json"]).out)
    assert (found["count"], found["jobs"]) == (3, 6)
    assert found["estimate"]["open_runs"] == found["estimate"]["estimated_runs"] == 2
    assert found["estimate"]["earlier_runs"] == 1
    assert found["estimate"]["seconds"] > 0
    text = emabench(["queue", *TINY, "--seed", "0..2", "--dry-run"]).out
    assert re.search(r" 0\.\.2 +3 +\d+ +\d+\.\d s\n", text)
    assert "about" in text
    text = emabench(["queue", *TINY, "--dry-run"]).out
    assert re.search(r" 0 +1 +\d+ +done\n", text)
    assert "all of them are done already" in text
    assert len(states(folder)) == 1


def test_the_others_go_on_after_a_failure_and_the_exit_code_is_4(emabench, folder, queue):
    bad, good = queue("--lr", "1e38,0.1")
    result = emabench(WORK)
    assert result.code == 4
    assert result.out == "3 attempts: 2 done, 1 failed\n"
    assert f"1 job failed for good; the first is {bad['id']}: the loss is" in result.err
    assert states(folder) == {bad["id"]: "failed", good["id"]: "done"}
    assert queue("--lr", "1e38")[0]["state"] == "queued", "asked for again, it is tried again"


def test_fail_fast_leaves_the_others_queued(emabench, folder, queue):
    bad, good = queue("--lr", "1e38,0.1")
    assert emabench([*WORK, "--fail-fast"]).code == 4
    assert states(folder) == {bad["id"]: "failed", good["id"]: "queued"}


def test_jobs_for_another_kind_of_device_are_left_and_named(emabench, folder, queue):
    (run,) = queue()
    database = sqlite3.connect(folder / "results.db")
    database.execute("UPDATE jobs SET device_kind = 'cuda'")
    database.commit()
    database.close()
    result = emabench(WORK)
    assert result.code == 0
    assert "note: 2 queued jobs need cuda, which this worker does not offer" in result.err
    assert states(folder) == {run["id"]: "queued"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["work", "--device", "gpu7"], 2, "unknown device 'gpu7'"),
        (["work", "--device", "cpu,cpu"], 2, "names a device twice"),
        (["work", "--jobs-per-device", "0"], 2, "invalid value for '--jobs-per-device'"),
        (["queue", "--max-attempts", "0"], 2, "invalid value for '--max-attempts'"),
        (["queue", "--method", "mocco"], 2, "unknown method 'mocco'"),
        (["queue", "none.yaml"], 3, "no spec file none.yaml"),
        (["work", "--device", "cpu"], 3, "there is no store at results.db"),
    ],
)
def test_a_wrong_request_is_one_line_and_a_hint(emabench, folder, arguments, code, words):
    result = emabench(arguments)
    assert (result.code, result.out) == (code, "")
    error, hint = result.err.splitlines()
    assert error.startswith("error: ")
    assert words in error
    assert hint.startswith("hint: ")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("removed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_cancelled_job_stops_and_the_worker_goes_on(folder, emabench, queue, removed):
    long = emabench(["queue", "--preset", "smoke", "--epochs", "2000", "--set", "threads=1"])
    run = long.out.split()[0]
    (short,) = queue("--seed", "1")
    with subprocess.Popen(
        [sys.executable, "-m", "emabench", *WORK], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        log = folder / "results-artifacts" / run / "attempt-1" / "log.txt"
        while process.poll() is None and not (log.exists() and "epoch 2/" in log.read_text()):
            time.sleep(0.05)
        assert emabench(["cancel", run]).code == 0
        if removed:
            assert emabench(["rm", run, "--yes"]).code == 0
        out, text = process.communicate()
    assert (process.returncode, out) == (0, "3 attempts: 2 done, 1 cancelled\n"), text
    expected = {run: "cancelled", short["id"]: "done"}
    if removed:
        del expected[run]
        assert not (folder / "results-artifacts" / run).exists()
    assert states(folder) == expected
    assert "Traceback" not in text


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_lets_jobs_save_and_queues_them_again(folder, emabench, number):
    queued = emabench(["queue", "--preset", "smoke", "--epochs", "2000", "--set", "threads=1"])
    run = queued.out.split()[0]
    with subprocess.Popen(
        [sys.executable, "-m", "emabench", "work", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        log = folder / "results-artifacts" / run / "attempt-1" / "log.txt"
        while process.poll() is None and not (log.exists() and "epoch 2/" in log.read_text()):
            time.sleep(0.05)
        process.send_signal(number)
        out, text = process.communicate()
    assert (process.returncode, out) == (130, ""), text
    assert "hint: what was running is queued again" in text
    assert "Traceback" not in text
    assert states(folder) == {run: "queued"}
    assert (log.parent / "checkpoint.pt").exists()
    assert "stopped after step" in log.read_text()


def test_a_label_that_a_run_does_not_get_is_said(emabench):
    words = ["queue", "--preset", "smoke"]
    assert emabench([*words, "--seed", "0..1", "--name", "first"]).code == 0
    again = emabench([*words, "--seed", "0..2", "--name", "second"])
    assert again.code == 0
    assert "note: 2 of 3 runs exist and were not labelled 'second'" in again.err
    same = emabench([*words, "--seed", "0..1", "--name", "first"])
    assert "not labelled" not in same.err


def test_what_becomes_of_a_mended_evaluation_is_said(folder, capsys):
    with RunStore.open("results.db", mode="write") as store:
        old = [complete(store, plan(seed=seed)) for seed in range(3)]
    weights = attempt_folder(folder / "results-artifacts", old[0], 1) / "online.safetensors"
    for run in old[:2]:  # the files of the third lie elsewhere
        attempt_folder(folder / "results-artifacts", run, 1).mkdir(parents=True)
    weights.touch()
    mended = [
        replace(
            plan(seed=seed, identity=MENDED), earlier_fingerprints=(plan(seed=seed).fingerprint,)
        )
        for seed in range(3)
    ]
    runs = add_all(mended, db="results.db", force=False)
    print_queued(mended, runs)
    said = capsys.readouterr()
    again = "(exists, its evaluation is repeated)"
    ends = [line.partition(" (")[1:] for line in said.out.splitlines()]
    assert ["".join(end).strip() for end in ends] == [again, "(exists, done)", again]
    assert f"the weights are gone: {old[1]} kept as evaluated before" in said.err


def test_a_run_without_an_evaluation_has_one_id(emabench, queue):
    (run,) = queue("--set", "evaluation.enabled=false")
    lines = emabench(["queue", *TINY, "--set", "evaluation.enabled=false"]).out.splitlines()
    assert lines == [f"{run['id']} simclr none 0 (exists, queued)"]


def test_the_store_of_a_cluster_hears_the_same_interruption(emabench, queue, monkeypatch):
    queue()
    heard = []

    def patient(store, *, stop, **options):
        heard.append(stop)
        return store

    def serve(*arguments, stop, **options):
        assert [each() for each in heard] == [False]
        os.kill(os.getpid(), signal.SIGINT)
        assert [each() for each in heard] == [True]
        return Tally()

    monkeypatch.setattr("emabench.queue.patience.patient", patient)
    monkeypatch.setattr("emabench.engines.local.serve", serve)
    assert emabench(WORK).code == 0
    assert len(heard) == 1
