import io

import pytest
from rich.console import Console

from emabench.cli.app.console import err
from emabench.cli.show.progress import Bars, Lines, listener, sentence
from emabench.events import (
    EpochProgress,
    Notice,
    PhaseProgress,
    RunFinished,
    RunStarted,
    StepProgress,
)
from emabench.records import JobState, PlannedRun, QueuedRun

SPEC = {"pretrain": {"method": {"name": "moco"}, "ema": {"scope": "full"}, "seed": 3}}
PLAN = PlannedRun(spec=SPEC, identity={}, fingerprint="f", command="c")
EVENTS = [
    PhaseProgress("decoding images", 1, 2),
    PhaseProgress("decoding images", 2, 2),
    Notice("queue clamped"),
    StepProgress(1, 4, 1, 2, 2, 5.0, 100.0),
    StepProgress(2, 4, 1, 2, 2, 4.0, 110.0),
    EpochProgress(1, 2, 4.5, 33.25, 1234.0),
    StepProgress(3, 4, 2, 2, 2, 3.0, 120.0),
    EpochProgress(2, 2, 3.5, None, None),
    PhaseProgress("linear probe"),
]


def queued(state=JobState.QUEUED, existed=False):
    return QueuedRun(id="ab12", pretrain_job="ab12", eval_job="cd34", existed=existed, state=state)


def test_a_pipe_gets_one_line_for_each_phase_and_epoch(capsys):
    with listener(err()) as on_event:
        assert isinstance(on_event, Lines)
        for event in [
            RunStarted(PLAN, queued(), 0, 2),
            *EVENTS,
            RunFinished(queued(), JobState.DONE),
        ]:
            on_event(event)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "run ab12 (1 of 2) starts: method moco, ema_scope full, seed 3",
        "decoding images…",
        "note: queue clamped",
        "epoch 1/2: loss 4.5000, online top-1 33.25 %, 1,234 images/s",
        "epoch 2/2: loss 3.5000",
        "linear probe…",
        "run ab12 done",
    ]
    assert "\r" not in captured.err
    assert "\x1b" not in captured.err


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            RunStarted(PLAN, queued(JobState.DONE, existed=True), 0, 1),
            "run ab12 exists already (same spec, data and device); --force repeats it",
        ),
        (
            RunStarted(PLAN, queued(JobState.QUEUED, existed=True), 1, 2),
            "run ab12 (2 of 2) goes on: method moco, ema_scope full, seed 3",
        ),
        (RunFinished(queued(JobState.DONE, existed=True), JobState.DONE), None),
        (RunFinished(queued(), JobState.FAILED, "loss is nan"), "run ab12 failed: loss is nan"),
        (RunFinished(queued(), JobState.QUEUED), "run ab12 stopped; the same command resumes it"),
        (StepProgress(1, 4, 1, 2, 2, 5.0, 100.0), None),
    ],
)
def test_sentences(event, text):
    assert sentence(event) == text


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=150, legacy_windows=False)


def test_a_terminal_gets_bars_with_all_figures(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    console = terminal()
    with listener(console) as on_event:
        assert isinstance(on_event, Bars)
        seen = []
        for event in EVENTS:
            on_event(event)
            seen.append([(t.description, t.completed, t.total) for t in on_event.tasks])
    assert seen[0] == [("decoding images", 1, 2)]
    assert seen[4] == [("epoch 1/2", 2, 4), ("step", 2, 2)]
    assert seen[6] == [("epoch 2/2", 3, 4), ("step", 1, 2)]
    assert seen[8] == [("linear probe", 0, None)]


def test_the_bars_show_loss_accuracy_and_speed(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with listener(terminal()) as on_event:
        for event in EVENTS[:7]:
            on_event(event)
        figures = on_event.tasks[0].fields["figures"]
        on_event(RunStarted(PLAN, queued(), 1, 2))
        assert on_event.tasks == []
    assert figures == "loss 3.0000  online top-1 33.2 %  120 images/s"


def test_a_dumb_terminal_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with listener(terminal()) as on_event:
        assert isinstance(on_event, Lines)
