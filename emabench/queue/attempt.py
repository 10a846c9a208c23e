"""One attempt, as the process that makes it sees it: its log, its signals, and its last words."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import datetime

from emabench.errors import (
    CheckpointError,
    EmabenchError,
    FencedError,
    InterruptedRunError,
    MissingPluginError,
    StoreError,
)
from emabench.events import Event, Listener
from emabench.queue.attempt_writer import AttemptWriter
from emabench.queue.event_lines import Narrator
from emabench.queue.failure import Failure
from emabench.queue.submission import Task
from emabench.queue.worker import Workplace, work
from emabench.records import Claim
from emabench.table import visible


def begin_log(task: Task) -> None:
    """Write the first line of the log of an attempt, before anything works on it.

    Raises:
        CheckpointError: the folder of the attempt cannot be written.
    """
    claim = task.claim
    line = f"{claim.kind} {claim.job_id}, attempt {claim.attempt}, on {task.place.device or 'auto'}"
    try:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with task.log.open("a", encoding="utf-8") as file:
            file.write(f"{_stamp()} {line}\n")
    except OSError as error:
        raise CheckpointError(
            f"cannot write to the artifacts folder {task.place.artifacts}: {error.strerror}",
            hint="choose another one with --artifacts",
        ) from None


def log_to_stderr() -> None:
    """Let this process, whose stderr is its log, write every line there at once."""
    sys.stdout = sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s", force=True)


def make(
    writer: AttemptWriter,
    claim: Claim,
    place: Workplace,
    *,
    tell: Listener,
    stop: Callable[[], bool],
) -> Failure | None:
    """Make an attempt and narrate it; what went wrong is returned, not raised.

    Args:
        writer: takes what is to be recorded.
        claim: the attempt.
        place: where to work.
        tell: listens.
        stop: asked often whether to stop.
    """
    narrate = Narrator(say)

    def on_event(event: Event) -> None:
        narrate(event)
        tell(event)

    try:
        work(writer, claim, place, on_event=on_event, stop=stop)
    except FencedError as error:
        say(f"stopped: {error.message}")
    except (InterruptedRunError, KeyboardInterrupt) as error:
        say(f"{error or 'stopped at once'}; queued again")
    except EmabenchError as error:
        missing = isinstance(error, MissingPluginError)
        return Failure(error.message, error.hint, isinstance(error, StoreError), missing)
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}")
    else:
        say("done")
    return None


def say(text: str) -> None:
    """Write a line with the time into the log."""
    print(f"{_stamp()} {visible(text)}", file=sys.stderr, flush=True)  # noqa: T201


def _stamp() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
