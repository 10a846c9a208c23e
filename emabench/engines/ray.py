"""Ray: one task is one attempt. Ray decides where; a node that dies fails what ran on it.

Nothing is retried by Ray: an attempt that failed is queued again in the store, with its reason, and
the next one goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from emabench.engines.exchange import Exchange
from emabench.engines.node import make_attempt
from emabench.engines.remote import RemoteJob, take_in
from emabench.errors import EngineError
from emabench.queue.failure import cause_of_death
from emabench.queue.submission import Task
from emabench.records import RunningAttempt
from emabench.store.run_store import RunStore


class RayEngine:
    """Hands attempts to a Ray cluster; use it in a ``with`` block.

    Args:
        store: open for writing; only this process writes it.
        exchange: where files pass.
        address: of the cluster; None is ``RAY_ADDRESS``, or the one that runs on this machine, or
            a new one on this machine.

    Raises:
        EngineError: Ray is not installed, or the cluster is not reached.
    """

    def __init__(self, store: RunStore, exchange: Exchange, address: str | None = None) -> None:
        self._store, self._exchange = store, exchange
        self._ray = _load()
        self._is_mine = not self._ray.is_initialized()
        if self._is_mine:
            try:
                self._ray.init(address=address, log_to_driver=False, logging_level="error")
            except (OSError, RuntimeError, ValueError) as error:
                raise EngineError(
                    f"cannot reach the Ray cluster {address or ''}: {str(error).splitlines()[0]}",
                    hint="'ray status' says whether one is running; --address says where",
                ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_mine:
            self._ray.shutdown()

    def kinds(self) -> list[str]:
        """Return the kinds of devices that the cluster has, best first."""
        return ["cuda", "cpu"] if self._ray.cluster_resources().get("GPU") else ["cpu"]

    def submit(self, task: Task) -> RemoteJob:
        """Let Ray run a task for the attempt, with as many CPUs and GPUs as its spec asks for.

        Raises:
            CheckpointError: the folder of the attempt cannot be written.
        """
        job = RemoteJob(task, self._store, self._exchange)
        remote = self._ray.remote(
            max_retries=0,
            num_cpus=job.ticket.cpus,
            num_gpus=job.ticket.accelerators,
        )(make_attempt)
        title = f"emabench {task.claim.job_id} attempt {task.claim.attempt}"
        job.handle = _RayTask(self._ray, remote.options(name=title).remote(job.ticket.write()))
        return job

    def batch(self) -> AbstractContextManager[None]:
        """Nothing is gained by submitting several tasks together."""
        return nullcontext()

    def look_after(self, others: Sequence[RunningAttempt], root: Path) -> None:
        """Take in the journals of attempts that another driver had submitted."""
        for _ in take_in(self._store, self._exchange, others, root):
            pass


class _RayTask:
    def __init__(self, ray: Any, ref: Any) -> None:
        self._ray, self._ref = ray, ref

    def has_ended(self) -> bool:
        ready, _ = self._ray.wait([self._ref], timeout=0)
        return bool(ready)

    def cause_of_death(self) -> str:
        errors = self._ray.exceptions
        try:
            return cause_of_death(self._ray.get(self._ref))
        except errors.RayTaskError as error:
            return str(error.cause)
        except errors.TaskCancelledError:
            return "cancelled"
        except errors.WorkerCrashedError:
            return "its Ray worker died"
        except errors.OutOfMemoryError:
            return "Ray ended it because the node ran out of memory"
        except errors.RayError as error:
            return f"its node died ({type(error).__name__})"

    def cancel(self) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.cancel(self._ref, force=True)


def _load() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise EngineError(
            "the engine ray needs the package ray", hint="pip install 'emabench[ray]'"
        ) from None
    return ray
