"""What a run amounts to: its state, results and cost, put together from its jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emabench.records import AttemptRecord, CostReading, Environment, JobKind, JobRecord, JobState

_SUMS = (
    "queue_s",
    "init_s",
    "data_prep_s",
    "warmup_s",
    "train_s",
    "data_wait_s",
    "probe_s",
    "monitor_s",
    "eval_s",
    "checkpoint_s",
    "total_s",
    "energy_j",
)
_COUNTS = ("steps",)
_PEAKS = ("device_peak_allocated", "device_peak_reserved", "host_peak_rss")
_RATES = (
    "throughput",
    "throughput_p10",
    "throughput_p90",
    "throughput_windows",
    "step_ms",
    "augment_ms",
    "online_forward_ms",
    "target_forward_ms",
    "loss_ms",
    "backward_ms",
    "optimizer_ms",
    "ema_update_ms",
    "sampled_steps",
)
_CONSTANTS = ("flops_per_step", "ema_bytes", "ema_bytes_moved")


def run_state(states: Iterable[JobState]) -> JobState:
    """Return the state of a run from the states of its jobs.

    It is running as long as one of them is, also if another one was cancelled meanwhile.
    """
    found = set(states)
    for decisive in (JobState.RUNNING, JobState.FAILED, JobState.CANCELLED):
        if decisive in found:
            return decisive
    return JobState.DONE if found == {JobState.DONE} else JobState.QUEUED


def run_cost(jobs: Sequence[JobRecord]) -> CostReading:
    """Add up what all attempts of all jobs cost, the failed ones included.

    Times, energy and steps are summed over the attempts that know them; peaks are maxima; rates
    come from the last pretraining attempt that measured a throughput, so that its percentiles
    belong to its median. What no attempt knows stays None.
    """
    costs = [a.cost for job in jobs for a in job.attempts if a.cost is not None]
    training = [a.cost for a in _pretrain_attempts(jobs) if a.cost is not None]
    readings: dict[str, float | int | None] = {}
    for name in (*_SUMS, *_COUNTS):
        known = _known(costs, name)
        readings[name] = sum(known) if known else None
    for name in _PEAKS:
        readings[name] = max(_known(costs, name), default=None)
    measured = next((c for c in reversed(training) if c.throughput is not None), CostReading())
    for name in _RATES:
        readings[name] = getattr(measured, name)
    for name in _CONSTANTS:
        known = _known(training, name)
        readings[name] = known[-1] if known else None
    return CostReading(**readings)  # type: ignore[arg-type]


def run_environment(jobs: Sequence[JobRecord]) -> Environment | None:
    """Return where the last pretraining attempt ran; None before the first.

    Of a separate evaluation, where its last attempt ran.
    """
    attempts = _pretrain_attempts(jobs) or [a for job in jobs for a in job.attempts]
    return attempts[-1].environment if attempts else None


def _pretrain_attempts(jobs: Sequence[JobRecord]) -> list[AttemptRecord]:
    return [a for job in jobs if job.kind is JobKind.PRETRAIN for a in job.attempts]


def _known(costs: Iterable[CostReading], name: str) -> list[float]:
    return [value for cost in costs if (value := getattr(cost, name)) is not None]
