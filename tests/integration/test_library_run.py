"""``emabench.run``: in threads, in event loops, in scripts, until Ctrl-C; from a wheel."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import emabench as library
from emabench.errors import SpecError, UnknownNameError, UsageError
from emabench.events import CheckpointSaved, EpochProgress, RunFinished, RunStarted
from emabench.records import JobState, RunQuery
from emabench.spec.paths import SHORT_NAMES
from emabench.store import RunStore

ROOT = Path(__file__).parents[2]
TINY = {"preset": "smoke", "epochs": 1, "set": {"max_steps": 2}}
_SCRIPT = """
import emabench
from emabench.events import CheckpointSaved

def show(event):
    print(event, flush=True)

run = emabench.run(preset="smoke", epochs=400, set={"checkpoint_steps": 5}, on_event=show)
print("went on", run)
"""
"""Not guarded by ``if __name__ == "__main__"``."""


@pytest.mark.slow
def test_a_run_of_a_thread_is_returned_in_an_event_loop_and_not_repeated(folder):
    state, events, found = torch.get_rng_state(), [], []

    def train():
        found.append(library.run(method="moco", ema_scope="full", on_event=events.append, **TINY))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    (first,) = found
    assert isinstance(first, library.Run)
    assert first.state is JobState.DONE
    assert "top1" in first.results
    kinds = [type(event) for event in events]
    assert (kinds[0], kinds[-1]) == (RunStarted, RunFinished)
    assert {EpochProgress, CheckpointSaved} <= set(kinds)
    assert torch.equal(torch.get_rng_state(), state)
    assert {file.name for file in folder.iterdir()} == {"results.db", "results-artifacts"}

    async def again():
        return library.run(method="moco", ema_scope="full", name="late", **TINY)

    handler = signal.getsignal(signal.SIGINT)
    assert asyncio.run(again()) == first
    assert signal.getsignal(signal.SIGINT) is handler


def test_what_is_not_given_is_a_setting(folder, monkeypatch):
    monkeypatch.setenv("EMABENCH_PRESET", "smoke")
    monkeypatch.setenv("EMABENCH_METHOD", "mocco")
    with pytest.raises(UnknownNameError, match="unknown method 'mocco'"):
        library.run()
    monkeypatch.setenv("EMABENCH_KEEP", "everything")
    with pytest.raises(UnknownNameError, match="EMABENCH_KEEP"):
        library.run(method="moco")


@pytest.mark.parametrize(
    ("fields", "error", "message", "hint"),
    [
        ({"method": "simclr,moco"}, UsageError, "stands for 2 values", "call run for each"),
        ({"seed": "0..4"}, UsageError, "stands for 5 values", "emabench queue"),
        ({"seed": range(3)}, UsageError, "stands for 3 values", "call run for each"),
        ({"set": {"ema.decay": [0.9, 0.99]}}, UsageError, "stands for 2 values", "call run"),
        ({"ema_scop": "full"}, UnknownNameError, "unknown field 'ema_scop'", "ema_scope"),
        ({"threads": 2}, UnknownNameError, "unknown field 'threads'", "set={'threads': …}"),
        ({"set": {"ema.deacy": 0.9}}, SpecError, "unknown field", "ema.decay"),
        ({"epochs": "many"}, SpecError, "epochs", ""),
        ({"epochs": True}, SpecError, "epochs", ""),
        ({"preset": "qick"}, UnknownNameError, "unknown preset", "quick"),
        ({"spec": "nothing.yaml"}, library.errors.NotFoundError, "nothing.yaml", ""),
    ],
)
def test_a_request_that_cannot_be_is_an_error_before_anything_is_made(
    folder, fields, error, message, hint
):
    with pytest.raises(error) as caught:
        library.run(**fields)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert list(folder.iterdir()) == []


def test_a_type_checker_knows_the_fields_that_have_a_flag():
    from emabench.library import RunFields

    assert set(RunFields.__annotations__) == set(SHORT_NAMES)


@pytest.mark.slow
def test_ctrl_c_leaves_the_job_queued_with_a_checkpoint_and_the_same_script_goes_on(folder):
    script = folder / "script.py"
    script.write_text(_SCRIPT)
    stopped, said = _interrupted(script, after="CheckpointSaved(step=10")
    assert stopped == -signal.SIGINT
    assert said.rstrip().endswith("KeyboardInterrupt: stopped; the same call resumes the run")
    assert "went on" not in said
    with RunStore.open("results.db", mode="read") as store:
        (run,) = store.runs(RunQuery(smoke=True))
    assert [job.state for job in run.jobs] == [JobState.QUEUED, JobState.QUEUED]
    assert [attempt.state for attempt in run.jobs[0].attempts] == [JobState.CANCELLED]
    again, said = _interrupted(script, after="resumed=True")
    assert again == -signal.SIGINT


def _interrupted(script, *, after):
    """Run a script, press Ctrl-C once it has printed some words; return its exit and its words."""
    with subprocess.Popen(
        ["bash", "-c", f"trap - INT; exec {sys.executable} {script}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        said = ""
        try:
            for line in process.stdout:
                said += line
                if after in line:
                    process.send_signal(signal.SIGINT)
                    break
            said += process.stdout.read()
        finally:
            process.kill()
    return process.returncode, said


@pytest.mark.slow
def test_what_a_listener_raises_stops_a_run_in_good_order(folder):
    class EnoughError(Exception):
        """The listener has seen enough."""

    def listen(event):
        if isinstance(event, CheckpointSaved):
            raise EnoughError

    with pytest.raises(EnoughError):
        library.run(preset="smoke", epochs=400, set={"checkpoint_steps": 5}, on_event=listen)
    with library.open_store("results.db") as store:
        (run,) = store.select(smoke=True)
    assert run.state is JobState.QUEUED
    assert len(run.jobs[0].attempts) == 1
    assert list(folder.rglob("checkpoint.pt"))
