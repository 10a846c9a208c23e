"""What a node learns about an attempt: plain values, and nothing that leads to the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import TypeAdapter

from emabench.artifacts.layout import CHECKPOINTS, WEIGHTS, Keep
from emabench.records import Claim, JobKind
from emabench.spec.paths import value_at
from emabench.spec.pretrain import given_runs
from emabench.version import __version__

if TYPE_CHECKING:
    from emabench.queue.submission import Task


@dataclass(frozen=True)
class Ticket:
    """An attempt for a node to make.

    Attributes:
        claim: the attempt.
        artifacts: a folder that driver and nodes share, or a URL of fsspec.
        device: name of the device as the node knows it.
        keep: what stays of a job that is done.
        heartbeat_s: seconds between two heartbeats.
        settings: environment variables, where the node does not set them itself.
        version: of the driver's emabench.
    """

    claim: Claim
    artifacts: str
    device: str | None
    keep: Keep
    heartbeat_s: float
    settings: Mapping[str, str] = field(default_factory=dict)
    version: str = __version__

    @classmethod
    def of(cls, task: Task, artifacts: str) -> Self:
        """Return the ticket for a task."""
        place = task.place
        return cls(
            task.claim, artifacts, place.device, place.keep, place.heartbeat_s, task.settings
        )

    @classmethod
    def read(cls, text: str) -> Ticket:
        """Read what ``write`` returned."""
        return _TICKET.validate_json(text)

    def write(self) -> str:
        """Return the ticket as one line of JSON."""
        return _TICKET.dump_json(self).decode()

    @property
    def threads(self) -> int:
        """CPU threads that each process of the job computes with."""
        return self.claim.threads or self.claim.spec["pretrain"]["threads"] or 1

    @property
    def cpus(self) -> int:
        """CPUs that the job needs."""
        return self.threads * self._devices

    @property
    def accelerators(self) -> int:
        """Accelerators that the job needs."""
        return 0 if self.device == "cpu" else self._devices

    @property
    def _devices(self) -> int:
        is_pretraining = self.claim.kind is JobKind.PRETRAIN
        return int(self.claim.spec["pretrain"].get("devices", 1)) if is_pretraining else 1


_TICKET = TypeAdapter(Ticket)


def needed_files(claim: Claim) -> dict[str, tuple[str, ...]]:
    """Return the names of the files that an attempt needs of other jobs, by their ids."""
    if claim.kind is not JobKind.PRETRAIN:
        weights = claim.depends_on or claim.spec.get("weights")
        needed = {} if weights is None else {weights: WEIGHTS}
    else:
        needed = dict.fromkeys(given_runs(claim.spec["pretrain"]), WEIGHTS)
        extended = value_at(claim.spec, "pretrain.extends.run")
        if extended is not None:
            needed[extended] = (*needed.get(extended, ()), *CHECKPOINTS)
    return {job_id: names for job_id, names in needed.items() if not Path(job_id).is_absolute()}
