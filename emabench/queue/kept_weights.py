"""The runs of a store whose weights other trainings are given."""

from __future__ import annotations

from pathlib import Path

from emabench.errors import UsageError
from emabench.records import JobKind
from emabench.store.run_store import RunStore
from emabench.training.given_weights import KeptWeights


def kept_weights(db: str, artifacts: Path) -> KeptWeights:
    """Return where the weights of runs are looked up; the store is opened when one is named.

    Args:
        db: path or URL of the store.
        artifacts: the folder that belongs to it.
    """

    def run_id(text: str) -> str:
        with RunStore.open(db, mode="read") as store:
            run = store.run(text)
        if run.kind is not JobKind.PRETRAIN:
            raise UsageError(f"{run.title} has no weights of its own", hint="name a pretraining")
        return run.id

    return KeptWeights(artifacts, run_id)
