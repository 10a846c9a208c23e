"""How long planned runs will take, judged by runs that are like them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from seeding import complete, plan

from emabench.analysis.pace import estimate_time
from emabench.spec.revisions import EVALUATION
from emabench.store import RunStore

FIELDS = {"method": "moco", "ema_scope": "full"}


@pytest.fixture
def earlier(tmp_path):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        for seed in range(3):
            complete(store, plan(epochs=5, seed=seed, **FIELDS))  # 12 s + 3 s
        store.add_run(plan(epochs=5, seed=9, **FIELDS))
        return store.runs()


def test_the_median_pace_of_runs_alike_times_the_epochs(earlier):
    found = estimate_time([plan(epochs=10, seed=s, lr=0.1, **FIELDS) for s in (0, 1)], earlier)
    assert (found.seconds, found.estimated, found.runs, found.sources) == (60.0, 2, 2, 3)


def test_runs_that_are_not_alike_are_not_estimated(earlier):
    others = [plan(epochs=5, method="simclr"), plan(epochs=5, batch_size=64, **FIELDS)]
    assert estimate_time(others, earlier).seconds is None
    other_machine = plan(epochs=5, identity={"threads": 8}, **FIELDS)
    found = estimate_time([other_machine, plan(epochs=5, seed=5, **FIELDS)], earlier)
    assert (found.seconds, found.estimated, found.runs) == (15.0, 1, 2)


def test_what_is_done_takes_no_time(earlier):
    found = estimate_time([plan(epochs=5, seed=0, **FIELDS)], earlier)
    assert (found.runs, found.seconds) == (0, None)


def test_an_evaluation_alone_counts_as_one_epoch(earlier):
    assert estimate_time([plan(epochs=0, **FIELDS)], earlier).seconds == 3.0


def test_of_a_run_whose_evaluation_is_repeated_only_that_takes_time(earlier):
    done = earlier[0]
    mended = replace(
        plan(epochs=5, seed=0, identity={EVALUATION: ["knn-votes"]}, **FIELDS),
        earlier_fingerprints=(done.fingerprint,),
    )
    found = estimate_time([mended], earlier)
    assert (found.seconds, found.estimated, found.runs) == (2.0, 1, 1)
