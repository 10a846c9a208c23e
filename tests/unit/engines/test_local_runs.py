"""Runs of the foreground, as the one who started them hears of them."""

from seeding import plan

from emabench.engines.local import _RunTeller
from emabench.events import JobEnded, RunFinished
from emabench.records import JobState
from emabench.store import RunStore


def test_a_run_that_somebody_removed_is_cancelled(tmp_path):
    plans = [plan(seed=seed) for seed in range(2)]
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        queued = [store.add_run(each) for each in plans]
        teller = _RunTeller(plans, queued, lambda event: None)
        store.remove([queued[1].id])
        ends = teller.ends(store)
    assert [end.state for end in ends] == [JobState.QUEUED, JobState.CANCELLED]
    assert ends[1].reason == "removed by the user"


def test_a_run_without_an_evaluation_is_told_when_it_ends(tmp_path):
    plans = [plan(seed=seed, evaluation__enabled=False) for seed in range(2)]
    heard = []
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        queued = [store.add_run(each) for each in plans]
        teller = _RunTeller(plans, queued, heard.append)
        claim = store.queue.claim(queued[0].pretrain_job)
        teller(JobEnded(claim, JobState.DONE))
    assert [each.run.id for each in heard if isinstance(each, RunFinished)] == [queued[0].id]
