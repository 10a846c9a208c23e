"""What a store holds of runs that are done, as it must be whatever happened to their workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import text

from emabench.artifacts.layout import attempt_folders
from emabench.records import JobState, RunQuery
from emabench.store import RunStore
from emabench.store.transfer.soundness import check

_DOUBLED = """
SELECT job_id, step, name FROM metrics JOIN series ON series.id = series_id
GROUP BY job_id, step, name HAVING count(*) > 1
"""


def outcomes(location: str, artifacts: Path) -> dict[int, tuple[Any, ...]]:
    """Return metrics, results, rightly classified images and weights by seed; times are left out.

    Each job must have been done once, by the last of its attempts, and no row be doubled.
    """
    assert check(location) == []
    found = {}
    with RunStore.open(location, mode="read") as store:
        for run in store.runs(RunQuery(smoke=True)):
            assert run.state is JobState.DONE, [job.reason for job in run.jobs]
            for job in run.jobs:
                assert [a.state for a in job.attempts].count(JobState.DONE) == 1
                assert job.attempts[-1].state is JobState.DONE
                assert job.attempts[-1].cost is not None
                assert [a.number for a in job.attempts] == list(range(1, job.attempt + 1))
            (newest, *_) = attempt_folders(artifacts, run.id)
            weights = {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}
            seed = run.spec["pretrain"]["seed"]
            assert seed not in found
            found[seed] = (
                store.metrics(run.id), run.results, store.correct(run.id, "top1"), weights,
            )  # fmt: skip
        with store._database.read() as session:
            assert session.execute(text(_DOUBLED)).all() == []
    return found
