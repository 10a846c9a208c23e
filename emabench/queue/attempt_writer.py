"""What a worker writes of its attempt: into the store, or a journal that the store takes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from emabench.events import StepProgress
from emabench.records import Claim, CostReading, Environment, MetricPoint


class AttemptWriter(Protocol):
    """Takes the words of a worker; each raises ``FencedError`` once the attempt is not its own.

    The queue of a store is one; the meaning of every word is documented there.
    """

    def begin(self, claim: Claim, environment: Environment) -> None:
        """Say that this process works on the attempt, and where."""

    def revise(self, claim: Claim, names: Sequence[str]) -> None:
        """Say which changes of numbers concern what the attempt makes."""

    def beat(self, claim: Claim, progress: StepProgress | None = None) -> None:
        """Say that the process lives, and how far it got."""

    def record(
        self, claim: Claim, points: Iterable[MetricPoint], cost: CostReading | None = None
    ) -> None:
        """Write metrics, and what the attempt cost so far."""

    def saved(self, claim: Claim, step: int, *, resumed: bool) -> None:
        """Say that the state after a step was saved."""

    def finish(
        self,
        claim: Claim,
        *,
        results: Mapping[str, float],
        cost: CostReading,
        correct: Mapping[str, bytes] | None = None,
    ) -> None:
        """End the job as done."""

    def fail(
        self, claim: Claim, *, reason: str, cost: CostReading | None, retry: bool = False
    ) -> object:
        """End the attempt as failed."""

    def release(self, claim: Claim, *, reason: str, cost: CostReading | None) -> None:
        """End the attempt, which was interrupted."""
