"""The command line, whose jobs do everything but train: each is over in a moment.

The processes of its jobs import this module too, since what they call lies in it.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from emabench.cli.app.main import run
from emabench.errors import InterruptedRunError
from emabench.events import CheckpointSaved, Listener, StepProgress
from emabench.experiment import Outcome
from emabench.queue import process, worker
from emabench.queue.attempt_writer import AttemptWriter
from emabench.queue.submission import Task
from emabench.queue.worker import Meter, Workplace
from emabench.records import Claim, JobKind, MetricPoint
from emabench.spec import ExperimentSpec

_STEPS = 5
_STEP_SECONDS = 0.03


def _make_up(
    writer: AttemptWriter,
    claim: Claim,
    spec: ExperimentSpec,
    place: Workplace,
    on_event: Listener,
    stop: Callable[[], bool],
    meter: Meter,
) -> Outcome:
    """Stand in for a training or an evaluation: its figures depend on seed and kind alone."""
    draw = random.Random(f"{spec.pretrain.seed} {claim.kind}").random
    for step in range(1, _STEPS + 1):
        time.sleep(_STEP_SECONDS)
        if stop():
            raise InterruptedRunError("stopped")
        on_event(StepProgress(step, _STEPS, 1, 1, _STEPS, draw(), 1.0))
        points = [MetricPoint(step, 1, name, draw()) for name in ("loss", "lr", "online_top1")]
        writer.record(claim, points, meter.read())
        on_event(CheckpointSaved(step, resumed=False))
    if claim.kind is JobKind.PRETRAIN:
        return Outcome({"online_top1": draw()}, meter.read(), {})
    flags = bytes(draw() < 0.5 for _ in range(100))
    return Outcome({"top1": float(sum(flags)), "knn_top1": draw()}, meter.read(), {"top1": flags})


_job = process._main


def job(task: Task, connection: Connection) -> None:
    """Work on a job as ever, in a process that has loaded this module."""
    _job(task, connection)


def main() -> None:
    """Run the command line."""
    sys.exit(run(sys.argv[1:]))


worker._run = _make_up
process._main = job
