"""The queue at one moment, as tables and as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emabench.extensions.plugin_reference import PluginReference
from emabench.records import JobRecord, JobState, QueueRecord, RunningAttempt
from emabench.spec.paths import SHORT_NAMES, value_at
from emabench.table import UNKNOWN, Table, duration, fixed, significant, visible

_WHAT = ("method", "ema_scope", "seed")
_ORDER = (
    JobState.RUNNING,
    JobState.QUEUED,
    JobState.DONE,
    JobState.FAILED,
    JobState.CANCELLED,
)
GONE = "its process is gone"
_NUMBERS = frozenset(
    ("step", "%", "loss", "images/s", "left", "seed", "attempt", "priority", "failures")
)


def counts_line(queue: QueueRecord) -> str:
    """Return the number of jobs in each state."""
    return ", ".join(f"{count} {state}" for state, count in counts(queue))


def counts(queue: QueueRecord) -> list[tuple[JobState, int]]:
    """Return the number of jobs in each state, in the order in which they are shown."""
    return [(state, queue.counts.get(state, 0)) for state in _ORDER]


def plugin_lines(queue: QueueRecord) -> list[str]:
    """Return a line for each plugin that queued jobs need: how many do, and which it is."""
    lines = []
    for text, count in queue.plugins.items():
        reference = PluginReference.parse(text)
        jobs = "1 queued job needs" if count == 1 else f"{count} queued jobs need"
        lines.append(f"{jobs} the plugin {reference.words if reference else text}")
    return lines


def sections(queue: QueueRecord) -> list[tuple[str, Sequence[RunningAttempt | JobRecord]]]:
    """Return what runs, what comes next and what failed, each with its title, if there is any."""
    shown, all_of_them = len(queue.queued), queue.counts.get(JobState.QUEUED, 0)
    # The queued jobs may be only the first of many.
    following = "next" if shown == all_of_them else f"next, {shown} of {all_of_them}"
    parts: list[tuple[str, Sequence[RunningAttempt | JobRecord]]] = [
        ("running", queue.running),
        (following, queue.queued),
        ("failed for good", queue.failed),
    ]
    return [(title, jobs) for title, jobs in parts if jobs]


def queue_tables(queue: QueueRecord) -> list[tuple[str, Table]]:
    """Return the sections as titled tables, one job a line."""
    tables = []
    for title, jobs in sections(queue):
        rows = [_texts(job, queue) for job in jobs]
        cells = tuple(tuple(row.values()) for row in rows)
        tables.append((title, Table(tuple(rows[0]), cells, right=_NUMBERS)))
    return tables


def queue_values(queue: QueueRecord) -> dict[str, Any]:
    """Return the queue as plain values for JSON."""
    return {
        "counts": {state.value: count for state, count in counts(queue)},
        "running": [_running_values(attempt) for attempt in queue.running],
        "queued": [
            {**_job_values(job), "waits_for": waits_for(job, queue)} for job in queue.queued
        ],
        "failed": [{**_job_values(job), "reason": job.reason} for job in queue.failed],
        "plugins": dict(queue.plugins),
    }


def waits_for(job: JobRecord, queue: QueueRecord) -> str | None:
    """Return the job that has to be done before a queued one, as far as it is in sight."""
    in_sight = {other.id for other in queue.queued} | {a.job_id for a in queue.running}
    return job.depends_on if job.depends_on in in_sight else None


def what(spec: Mapping[str, Any]) -> str:
    """Return method, EMA scope and seed of an experiment; of an evaluation, of what and on what."""
    if (bench := spec.get("bench")) is not None:
        arms = ", ".join(arm["scope"] for arm in bench["arms"])
        return f"{value_at(spec, SHORT_NAMES['method'])} {arms} in turns"
    values = (value_at(spec, SHORT_NAMES[name]) for name in _WHAT)
    words = " ".join(str(value) for value in values if value is not None)
    weights = spec.get("weights")
    if weights is None:
        return words
    network, dataset = (
        value_at(spec, f"evaluation.{name}") for name in ("network", "data.dataset")
    )
    return f"{words or Path(weights).name}, {network} on {dataset}"


def job_title(job: RunningAttempt | JobRecord) -> str:
    """Return what names a job on a line: its id, its kind, and what it is."""
    return visible(f"{_head(job)['job']} {job.kind} {what(job.spec)}")


def attempt_values(attempt: RunningAttempt) -> dict[str, Any]:
    """Return what names an attempt, as plain values for JSON."""
    return {
        "job": attempt.job_id,
        "run": attempt.run_id,
        "kind": attempt.kind.value,
        "attempt": attempt.number,
        "host": attempt.host,
    }


def share(attempt: RunningAttempt) -> float | None:
    """Return the part of its steps, 0 to 1, that an attempt has made; None is unknown."""
    if attempt.step is None or not attempt.total_steps:
        return None
    return attempt.step / attempt.total_steps


def seconds_left(attempt: RunningAttempt) -> float | None:
    """Return the seconds that the steps to come need at the present rate; None is unknown."""
    batch_size = value_at(attempt.spec, SHORT_NAMES["batch_size"])
    rate = _finite(attempt.images_per_second)
    if attempt.step is None or attempt.total_steps is None or not rate or not batch_size:
        return None
    return max(0, attempt.total_steps - attempt.step) * float(batch_size) / rate


def progress_texts(attempt: RunningAttempt) -> dict[str, str]:
    """Return how far an attempt got, in words by column: step, %, loss, images/s, left."""
    part = share(attempt)
    steps = f"{attempt.step}/{attempt.total_steps}"
    return {
        "step": UNKNOWN if part is None else steps,
        "%": UNKNOWN if part is None else f"{math.floor(100 * part)}",
        "loss": fixed(attempt.loss, 4),
        "images/s": significant(attempt.images_per_second),
        "left": duration(seconds_left(attempt)),
    }


def _texts(job: RunningAttempt | JobRecord, queue: QueueRecord) -> dict[str, str]:
    """Return a line of a table by its headers."""
    head = {name: UNKNOWN if value is None else str(value) for name, value in _head(job).items()}
    if isinstance(job, RunningAttempt):
        return {
            **head,
            "attempt": str(job.number),
            "device": job.device or UNKNOWN,
            "host": job.host,
            "started": f"{job.started_at.astimezone():%Y-%m-%d %H:%M:%S}",
            **progress_texts(job),
            "": GONE if job.process_gone else "",
        }
    if job.state is JobState.FAILED:
        return {**head, "failures": str(job.failures), "reason": job.reason or UNKNOWN}
    return {
        **head,
        "priority": str(job.priority),
        "device": job.device_kind or UNKNOWN,
        "waits for": waits_for(job, queue) or UNKNOWN,
    }


def _head(job: RunningAttempt | JobRecord) -> dict[str, Any]:
    return {
        "job": job.job_id if isinstance(job, RunningAttempt) else job.id,
        "run": job.run_id,
        "kind": job.kind.value,
        **{name: value_at(job.spec, SHORT_NAMES[name]) for name in _WHAT},
    }


def _running_values(attempt: RunningAttempt) -> dict[str, Any]:
    return {
        **_head(attempt),
        "attempt": attempt.number,
        "device": attempt.device,
        "host": attempt.host,
        "pid": attempt.pid,
        "process_gone": attempt.process_gone,
        "started_at": attempt.started_at.isoformat(),
        "heartbeat": attempt.heartbeat,
        "step": attempt.step,
        "total_steps": attempt.total_steps,
        "loss": _finite(attempt.loss),
        "images_per_second": _finite(attempt.images_per_second),
        "seconds_left": seconds_left(attempt),
    }


def _job_values(job: JobRecord) -> dict[str, Any]:
    return {
        **_head(job),
        "priority": job.priority,
        "device_kind": job.device_kind,
        "plugins": list(job.plugins),
        "attempts": job.attempt,
        "failures": job.failures,
        "max_attempts": job.max_attempts,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
