from __future__ import annotations

import gc
from pathlib import Path

import pytest
from seeding import ENVIRONMENT, complete, plan

from emabench.records import CostReading, JobState, RunQuery
from emabench.store import RunStore
from emabench.store.connection import database


def test_many_runs_are_those_that_are_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "AT_ONCE", 2)
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        ids = [complete(store, plan(seed=seed), top1=50.0 + seed) for seed in range(4)]
        open_run = store.add_run(plan(seed=9))
        claim = store.queue.claim(open_run.pretrain_job, environment=ENVIRONMENT)
        assert claim is not None
        store.queue.fail(claim, reason="broken", cost=CostReading(total_s=3.0), retry=True)
        claim = store.queue.claim(open_run.pretrain_job, environment=ENVIRONMENT)
        ids.append(open_run.id)
        runs = store.runs()
        assert [run.id for run in runs] == ids
        assert runs == [store.run(id) for id in ids]
    assert gc.isenabled()
    first, last = runs[0], runs[-1]
    assert first.results == {"online_top1": 45.0, "top1": 50.0, "knn_top1": 47.0}
    assert first.cost.total_s == 15.0
    assert first.environment == ENVIRONMENT
    assert [job.run_id for job in first.jobs] == [first.id] * 2
    assert first.jobs[1].depends_on == first.id
    assert last.state is JobState.RUNNING
    assert [attempt.reason for attempt in last.jobs[0].attempts] == ["broken", None]
    assert [attempt.cost for attempt in last.jobs[0].attempts] == [CostReading(total_s=3.0), None]
    assert last.cost.total_s == 3.0


@pytest.mark.parametrize(
    ("where", "seeds"),
    [
        ({"pretrain.method.name": "moco"}, [1]),
        ({"pretrain.method.name": "mo"}, []),
        ({"pretrain.method.name": "simclr", "pretrain.seed": 0}, [0]),
        ({"pretrain.precision": "bf16"}, [0, 1, 2]),  # by what it came to
        ({"pretrain.precision": "auto"}, [0, 1, 2]),  # and by what was asked for
        ({"pretrain.data.data_dir": "a'b"}, [2]),
        ({"pretrain.data.data_dir": None}, [0, 1]),
    ],
)
def test_filters_by_text_in_the_database_change_no_answer(
    where: dict[str, object], seeds: list[int], tmp_path: Path
) -> None:
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        store.add_run(plan(seed=0))
        store.add_run(plan(seed=1, method="moco"))
        store.add_run(plan(seed=2, dataset="folder", data_dir="a'b"))
        assert [run.spec["pretrain"]["seed"] for run in store.runs(RunQuery(where=where))] == seeds
