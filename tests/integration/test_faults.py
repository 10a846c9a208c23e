"""What the world does to a worker: full disks, torn files, lost stores, stopped processes.

Every case is a real process on real files. Each ends in one clear line or in a recovery, and what
was finished stays finished.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
import torch
from test_training import resolved, train

from emabench.artifacts.layout import CHECKPOINT, attempt_folders
from emabench.errors import InterruptedRunError
from emabench.records import JobState, RunQuery
from emabench.store import RunStore
from emabench.training.checkpoint import load_checkpoint

EMABENCH = [sys.executable, "-m", "emabench"]
TINY = ["run", "--preset", "smoke", "--set", "threads=1"]
LONG = [*TINY, "--epochs", "2000"]
pytestmark = pytest.mark.usefixtures("uncounted")


def start(folder, *arguments, before=(), **settings):
    return subprocess.Popen(
        [*before, *EMABENCH, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        **settings,
    )


def finish(process):
    """Return exit code and stderr, and check that an error is one line with a hint."""
    with process:
        _, text = process.communicate()
    assert "Traceback" not in text, text
    if process.returncode not in (0, 130):
        assert len([line for line in text.splitlines() if line.startswith("error: ")]) == 1, text
        assert len([line for line in text.splitlines() if line.startswith("hint: ")]) == 1, text
    return process.returncode, text


def wait_for(process, beginning):
    """Read stderr until a line begins so."""
    for line in process.stderr:
        if line.startswith(beginning):
            return
    raise AssertionError(f"no line begins with {beginning!r}")


def runs(folder):
    with RunStore.open(str(folder / "results.db"), mode="read") as store:
        return store.runs(RunQuery(smoke=True))


def eventually(condition):
    """Wait until a condition holds; give up after two minutes."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it never came true")


@pytest.mark.slow
def test_a_full_disk_fails_the_attempts_and_the_same_command_goes_on(tmp_path):
    assert finish(start(tmp_path, *TINY, "--seed", "1"))[0] == 0
    big = ["--set", "method.options.hidden_dim=2048", "--set", "method.options.output_dim=512"]

    def fill_the_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    code, text = finish(start(tmp_path, *TINY, *big, preexec_fn=fill_the_disk))
    assert code == 1
    assert "cannot write the checkpoint" in text
    assert "free some space" in text
    finished, failed = runs(tmp_path)
    assert finished.state is JobState.DONE
    assert [a.state for a in failed.jobs[0].attempts] == [JobState.FAILED] * 3
    assert list(tmp_path.glob("**/*.tmp")) == []
    assert finish(start(tmp_path, *TINY, *big))[0] == 0
    assert [run.state for run in runs(tmp_path)] == [JobState.DONE] * 2


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A spec, what its whole training gave, and a folder with that one and one that stopped."""
    place = tmp_path_factory.mktemp("stopped")
    spec = resolved(method__name="moco", ema__scope="full", checkpoint_steps=2)
    whole, _ = train(spec, place / "whole")
    asked = iter(range(10_000))
    with pytest.raises(InterruptedRunError):
        train(spec, place / "one", stop=lambda: next(asked) + 1 >= 12)
    return spec, whole, place


@pytest.mark.parametrize("damage", ["truncated", "garbage", "both"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_used(tmp_path, stopped, damage):
    spec, whole, place = stopped
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    newest, previous = tmp_path / "one" / CHECKPOINT, tmp_path / "one" / "checkpoint-previous.pt"
    assert newest.read_bytes() != previous.read_bytes()
    for path in (newest, previous) if damage == "both" else (newest,):
        content = path.read_bytes()
        path.write_bytes(b"garbage" * 99 if damage == "garbage" else content[: len(content) // 2])
    notices = []
    resumed, _ = train(spec, tmp_path / "two", earlier=[tmp_path / "one"], on_event=notices.append)
    told = [n.message for n in notices if "cannot read the checkpoint" in getattr(n, "message", "")]
    assert len(told) == (2 if damage == "both" else 1)
    assert any("resumed" in getattr(n, "message", "") for n in notices) is (damage != "both")
    assert resumed.results == whole.results
    for name in ("online.safetensors", "target.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
def test_ten_runs_with_a_damaged_checkpoint_end_as_the_undisturbed_one(tmp_path, stopped):
    spec, whole, place = stopped
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    rng = random.Random(10)
    newest = tmp_path / "one" / CHECKPOINT
    content = newest.read_bytes()
    for number in range(10):
        place, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
        changed = bytearray(content)
        changed[place] ^= bit
        newest.write_bytes(changed if number % 3 else content[:place])
        notices, folder = [], tmp_path / f"two-{number}"
        resumed, _ = train(spec, folder, earlier=[tmp_path / "one"], on_event=notices.append)
        told = [getattr(notice, "message", "") for notice in notices]
        assert any("cannot read the checkpoint" in text for text in told)
        assert any("resumed" in text for text in told)
        assert resumed.results == whole.results
        for name in ("online.safetensors", "target.safetensors"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_checkpoint_that_does_not_fit_leaves_nothing_of_itself(tmp_path):
    spec = resolved(max_steps=2)
    whole, _ = train(spec, tmp_path / "whole")
    damaged = load_checkpoint(tmp_path / "whole" / CHECKPOINT)
    for value in damaged["learner"].values():
        value.zero_()
    del damaged["probe"]  # what comes before it is loaded, and must not stay
    (tmp_path / "one").mkdir()
    torch.save({"format": 2, "state": damaged}, tmp_path / "one" / CHECKPOINT)
    notices = []
    again, _ = train(spec, tmp_path / "two", earlier=[tmp_path / "one"], on_event=notices.append)
    assert any("does not fit" in getattr(notice, "message", "") for notice in notices)
    assert again.results == whole.results
    name = "online.safetensors"
    assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_folder_without_the_right_to_write_is_one_line(tmp_path):
    without_rights = []
    if os.geteuid() == 0:  # root may write everywhere, unless it gives that right up
        rights = "-dac_override,-dac_read_search"
        without_rights = ["setpriv", f"--inh-caps={rights}", f"--bounding-set={rights}"]
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    both = [[*TINY, *where] for where in (["--db", "closed/a.db"], ["--artifacts", "closed/files"])]
    program = f"from emabench.cli.app.main import run; print([run(line) for line in {both!r}])"
    command = [*without_rights, sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    closed.chmod(0o755)
    assert done.stdout == "[1, 1]\n"
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert ["read-only" in errors[0], "the artifacts folder" in errors[1]] == [True, True]
    assert len(errors) == done.stderr.count("hint: ") == 2
    assert "Traceback" not in done.stderr
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize(
    "fate",
    [
        "deleted",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("replaced", "overwritten")),
    ],
)
def test_a_store_that_is_lost_under_a_worker_ends_it_and_leaves_its_checkpoint(
    tmp_path, emabench, fate
):
    assert emabench(TINY).code == 0
    (done,) = runs(tmp_path)
    process = start(tmp_path, *LONG)
    wait_for(process, "epoch 2/")
    store = tmp_path / "results.db"
    if fate == "deleted":
        for path in tmp_path.glob("results.db*"):
            path.unlink()
    elif fate == "replaced":
        (tmp_path / "other").write_bytes(b"garbage" * 5000)
        (tmp_path / "other").replace(store)
    else:
        store.write_bytes(b"garbage" * 50_000)
        for path in tmp_path.glob("results.db-*"):
            path.unlink()
    code, text = finish(process)
    assert code == 1
    assert "results.db" in text
    left = {path.parent.parent.name for path in tmp_path.glob(f"**/{CHECKPOINT}")}
    assert len(left) == 1
    (folder,) = attempt_folders(tmp_path / "results-artifacts", done.id)
    assert (folder / "online.safetensors").exists()


def test_a_supervisor_killed_at_once_leaves_no_job_behind(tmp_path):
    process = start(tmp_path, *LONG)
    wait_for(process, "epoch 2/")
    process.kill()
    with process:
        process.communicate()
    eventually(lambda: runs(tmp_path)[0].jobs[0].state is JobState.QUEUED)
    (attempt,) = runs(tmp_path)[0].jobs[0].attempts
    assert attempt.state is JobState.CANCELLED
    assert "stopped after step" in attempt.reason
    assert list(tmp_path.glob(f"**/{CHECKPOINT}"))


@pytest.mark.slow
def test_a_job_that_hangs_loses_its_heartbeat_and_is_tried_again(tmp_path):
    subprocess.run([*EMABENCH, "queue", *LONG[1:]], cwd=tmp_path, check=True, capture_output=True)
    work = start(tmp_path, "work", "--device", "cpu", "--stale-after", "12", "--max-jobs", "2")
    with RunStore.open(str(tmp_path / "results.db"), mode="read") as store:
        eventually(lambda: any(a.heartbeat > 0 for a in store.queue.running()))
        (hung,) = store.queue.running()
        os.kill(hung.pid, signal.SIGSTOP)
        eventually(lambda: any(a.number == 2 and a.heartbeat > 0 for a in store.queue.running()))
        job = store.run(hung.job_id).jobs[0]
        assert job.attempts[0].state is JobState.FAILED
        assert job.attempts[0].reason == "its heartbeat stopped"
        with pytest.raises(ProcessLookupError):
            os.kill(hung.pid, 0)
    work.send_signal(signal.SIGTERM)
    code, _ = finish(work)
    assert code == 130
    assert runs(tmp_path)[0].state is JobState.QUEUED


def test_the_second_ctrl_c_stops_at_once(tmp_path):
    process = start(tmp_path, *LONG)
    wait_for(process, "epoch 2/")
    process.send_signal(signal.SIGINT)
    wait_for(process, "stopping at the next step")
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    assert runs(tmp_path)[0].state is JobState.QUEUED


def test_a_spec_of_a_newer_version_is_refused_and_its_jobs_are_left_alone(folder, emabench):
    (folder / "new.yaml").write_text("spec_version: 2\npreset: smoke\npretrain: {seed: 1}\n")
    refused = emabench(["run", "new.yaml"])
    assert refused.code == 2
    assert "spec_version is 2" in refused.err
    assert "upgrade emabench" in refused.hint
    queued = emabench(["queue", *TINY[1:]])
    database = sqlite3.connect("results.db")
    database.execute("UPDATE jobs SET spec_version = 2")
    database.commit()
    database.close()
    worked = emabench(["work", "--device", "cpu", "--idle-exit"])
    assert worked.code == 0
    assert "newer" in worked.err
    assert runs(folder)[0].id == queued.out.split()[0]
    assert runs(folder)[0].state is JobState.QUEUED
