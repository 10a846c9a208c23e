"""Slurm, through submitit: one task is one attempt; what goes out together is a job array.

Slurm requeues nothing itself: before its time is up, or when it is preempted, a job saves a
checkpoint and is queued again in the store; its next attempt goes on from there.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emabench.engines.exchange import Exchange
from emabench.engines.remote import RemoteJob, take_in
from emabench.engines.slurm_task import run_task
from emabench.errors import EngineError
from emabench.queue.failure import cause_of_death
from emabench.queue.submission import Task
from emabench.records import RunningAttempt
from emabench.store.run_store import RunStore

_NOTICE_SECONDS = 120
"""How long before its time is up a job is warned."""
_ASK_SECONDS = 10.0
"""Slurm's controller is not asked more often: it serves the whole cluster."""
_SETTLE_SECONDS = 60.0
"""A job that was submitted less long ago need not be listed yet."""
_ENDED = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL"),
        *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    )
)


class SlurmEngine:
    """Hands attempts to Slurm.

    Args:
        store: open for writing; only this process writes it.
        exchange: where files pass.
        folder: for submitit's own files; the nodes share it.
        minutes: time limit of a job.
        partition: of the cluster; None is its default.
        options: further options of sbatch, by their long names; True for one without a value.
        cluster: ``slurm``, or ``local`` for submitit's processes on this machine.

    Raises:
        EngineError: submitit is not installed, or this machine submits to no Slurm.
    """

    def __init__(
        self,
        store: RunStore,
        exchange: Exchange,
        folder: Path,
        *,
        minutes: int,
        partition: str | None = None,
        options: Mapping[str, str | bool] | None = None,
        cluster: str = "slurm",
    ) -> None:
        self._store, self._exchange = store, exchange
        self._submitit = _load()
        self._states = JobStates() if cluster == "slurm" else None
        if self._states is not None and shutil.which("sbatch") is None:
            raise EngineError(
                "there is no sbatch on this machine", hint="submit from a login node of the cluster"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._cluster = folder.resolve(), cluster
        common: dict[str, Any] = {"timeout_min": minutes, "name": "emabench"}
        if self._states is not None:
            common |= {
                "slurm_signal_delay_s": min(_NOTICE_SECONDS, 30 * minutes),
                "slurm_partition": partition,
                # A second start of the same attempt would be in the way of the next one.
                "slurm_additional_parameters": {"no-requeue": True, **(options or {})},
            }
        self._common = common
        self._waiting: list[RemoteJob] = []

    def submit(self, task: Task) -> RemoteJob:
        """Take an attempt over; it goes out at the end of the batch.

        Raises:
            CheckpointError: the folder of the attempt cannot be written.
        """
        job = RemoteJob(task, self._store, self._exchange)
        self._waiting.append(job)
        return job

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Submit at the end what was taken over inside the block: what asks for the same as one.

        Raises:
            EngineError: Slurm refuses it.
        """
        yield
        waiting, self._waiting = self._waiting, []
        alike: dict[tuple[int, int], list[RemoteJob]] = {}
        for job in waiting:
            alike.setdefault((job.ticket.cpus, job.ticket.accelerators), []).append(job)
        for (cpus, accelerators), jobs in alike.items():
            self._send(jobs, cpus, accelerators)

    def look_after(self, others: Sequence[RunningAttempt], root: Path) -> None:
        """Take in the journals of attempts that another driver had submitted."""
        for _ in take_in(self._store, self._exchange, others, root):
            pass

    def _send(self, jobs: Sequence[RemoteJob], cpus: int, accelerators: int) -> None:
        needs = {"cpus_per_task": cpus, "gpus_per_node": accelerators or None}
        wanted = {
            name: value for name, value in (self._common | needs).items() if value is not None
        }
        try:
            # An executor remembers what the jobs before asked for.
            executor = self._submitit.AutoExecutor(self._folder, cluster=self._cluster)
            executor.update_parameters(**wanted)
            with executor.batch():
                sent = [executor.submit(run_task, job.ticket.write()) for job in jobs]
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            said = " ".join(str(error).split())
            raise EngineError(
                f"Slurm refused the job: {said}",
                hint="--partition, --time-limit and --sbatch say what to ask for",
            ) from None
        for job, handle in zip(jobs, sent, strict=True):
            job.handle = _SlurmTask(handle, self._states)


class _SlurmTask:
    """A task that submitit handed over; ``states`` is None for its processes on this machine."""

    def __init__(self, job: Any, states: JobStates | None) -> None:
        self._job, self._states = job, states
        self._submitted_at = time.monotonic()

    def has_ended(self) -> bool:
        if self._states is None:
            return bool(self._job.done())
        if self._job.paths.result_pickle.exists():
            return True
        old = time.monotonic() - self._submitted_at > _SETTLE_SECONDS
        return self._states.has_ended(self._job.job_id, is_old=old)

    def cause_of_death(self) -> str:
        if self._job.paths.result_pickle.exists():
            outcome, result = self._job._get_outcome_and_result()
            return cause_of_death(result) if outcome == "success" else _last_line(result)
        if self._states is None:
            return f"its task ended as {str(self._job.state).lower()}"
        return f"Slurm job {self._job.job_id} ended: {self._states.of(self._job.job_id)}"

    def cancel(self) -> None:
        with contextlib.suppress(OSError):
            self._job.cancel(check=False)


class JobStates:
    """What ``squeue`` says of this user's jobs, asked for all of them together and not too often.

    Unlike ``sacct`` it needs no accounting; a job that ended some minutes ago is not listed.
    """

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._asked_at = float("-inf")

    def of(self, job_id: str) -> str:
        """Return the state of a job in Slurm's words, but small; ``unknown`` if not listed."""
        return self._states.get(job_id, "unknown").lower()

    def has_ended(self, job_id: str, *, is_old: bool) -> bool:
        """Whether a job is over.

        Args:
            job_id: for example ``17`` or, in an array, ``17_3``.
            is_old: whether it must be listed if it is not over.
        """
        now = time.monotonic()
        if now - self._asked_at > _ASK_SECONDS:
            self._asked_at = now
            self._ask()
        state = self._states.get(job_id)
        if state is None:
            return is_old and bool(self._states)
        return state in _ENDED

    def _ask(self) -> None:
        command = ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i %T"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            return  # the controller may answer the next time
        known = dict(line.split() for line in said.stdout.splitlines())
        self._states = known or {"": "none"}


def _last_line(trace: str) -> str:
    """Return the message at the end of a traceback, without the path of its class."""
    line = trace.strip().splitlines()[-1]
    return line.partition(": ")[2] or line


def _load() -> Any:
    try:
        import submitit
    except ImportError:
        raise EngineError(
            "the engine slurm needs the package submitit", hint="pip install 'emabench[slurm]'"
        ) from None
    logging.getLogger("submitit").setLevel(logging.ERROR)
    return submitit
