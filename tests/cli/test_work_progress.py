"""What a worker shows: lines in a pipe, a bar for each running job on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from emabench.cli.app.console import err
from emabench.cli.show.progress import WorkBars, work_listener
from emabench.events import JobEnded, JobProgress, JobStarted, Notice, PhaseProgress, StepProgress
from emabench.records import Claim, JobKind, JobState

SPEC = {"pretrain": {"method": {"name": "moco"}, "ema": {"scope": "full"}, "seed": 3}}
FIRST = Claim("ab12", JobKind.PRETRAIN, 2, SPEC, None, 0.0, run_id="ab12")
SECOND = Claim("cd34", JobKind.LINEAR_EVAL, 1, SPEC, "ab12", 0.0, run_id="ab12")
EVENTS = [
    JobStarted(FIRST, "cuda:1", "files/log.txt"),
    JobProgress(FIRST, StepProgress(3, 12, 1, 2, 6, 4.5, 1200.0)),
    JobStarted(SECOND, None, "files/other.txt"),
    JobProgress(SECOND, PhaseProgress("test features", 20, 100)),
    JobProgress(FIRST, Notice("resumed after step 2 of 12")),
    JobEnded(FIRST, JobState.QUEUED, "killed by SIGKILL"),
    Notice("job ff is queued again"),
    JobEnded(SECOND, JobState.DONE),
]


def test_a_pipe_gets_a_line_for_what_starts_ends_or_deserves_a_note(capsys):
    with work_listener(err()) as on_event:
        for event in EVENTS:
            on_event(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "pretrain ab12 (moco full 3) starts on cuda:1, attempt 2: files/log.txt",
        "linear_eval cd34 (moco full 3) starts, attempt 1: files/other.txt",
        "pretrain ab12 (moco full 3): resumed after step 2 of 12",
        "pretrain ab12 (moco full 3) is queued again: killed by SIGKILL",
        "note: job ff is queued again",
        "linear_eval cd34 (moco full 3) done",
    ]


def test_a_terminal_gets_a_bar_for_each_running_job(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), force_terminal=True, width=150, legacy_windows=False)
    bars = []
    with work_listener(console) as on_event:
        assert isinstance(on_event, WorkBars)
        for event in EVENTS:
            on_event(event)
            tasks = on_event.tasks
            bars.append([(t.description, t.completed, t.total, t.fields["figures"]) for t in tasks])
    first = ("pretrain ab12 (moco full 3)", 3, 12, "loss 4.5000  1,200 images/s")
    second = ("linear_eval cd34 (moco full 3)", 20, 100, "test features")
    assert bars[1] == [first]
    assert bars[3] == [first, second]
    assert bars[5] == [second]
    assert bars[7] == []


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_an_end_says_why(capsys, state):
    with work_listener(err()) as on_event:
        on_event(JobEnded(FIRST, state, "the loss is nan"))
    assert capsys.readouterr().err == f"pretrain ab12 (moco full 3) {state}: the loss is nan\n"
