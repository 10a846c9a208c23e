"""What every store promises of runs whose evaluation was mended: they are evaluated again."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from seeding import ENVIRONMENT, complete, plan

from emabench.errors import FencedError
from emabench.records import CostReading, JobState
from emabench.spec.revisions import EVALUATION, PRETRAINING
from emabench.store import RunStore
from emabench.store.connection.opening import open_for_reading
from emabench.store.transfer.soundness import _broken_invariants

TESTS = Path(__file__).parents[1]
ADD = f"""
import json, sys
sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "contract")!r}]
from test_mended_evaluations import mended
from emabench.store import RunStore
print("ready", flush=True)
sys.stdin.readline()
with RunStore.open(sys.argv[1], mode="write") as store:
    print(json.dumps([store.add_run(mended(seed=seed)).id for seed in range(8)]))
"""


def mended(*names, **fields):
    """Return the plan of today, of runs that ``plan(**fields)`` was before."""
    names = names or ("knn-votes",)
    known = [plan(**fields)]
    known += [
        plan(identity={EVALUATION: list(names[: place + 1])}, **fields)
        for place in range(len(names))
    ]
    return replace(known[-1], earlier_fingerprints=tuple(p.fingerprint for p in known[:-1]))


def is_sound(url):
    database = open_for_reading(url)
    with database.read() as session:
        problems = _broken_invariants(session)
    database.close()
    return problems == []


def evaluate(store, run, **results):
    claim = store.queue.claim(run.eval_job, environment=ENVIRONMENT)
    store.queue.finish(claim, results=results, cost=CostReading(total_s=1.0))


def test_a_finished_run_is_evaluated_again_and_not_trained_again(store, url):
    before = store.run(complete(store, plan(), top1=60.0))
    found = store.add_run(mended())
    assert (found.id, found.existed, found.state) == (before.id, True, JobState.QUEUED)
    now = store.run(found.id)
    assert [job.state for job in now.jobs] == [JobState.DONE, JobState.QUEUED]
    assert [job.attempts for job in now.jobs] == [job.attempts for job in before.jobs]
    assert (now.cost, now.spec) == (before.cost, before.spec)
    assert (now.fingerprint, now.identity) == (mended().fingerprint, mended().identity)
    assert now.jobs[0].fingerprint == before.jobs[0].fingerprint
    assert now.jobs[1].fingerprint != before.jobs[1].fingerprint
    assert now.results == {"online_top1": 55.0}
    assert is_sound(url)
    evaluate(store, found, knn_top1=50.0)
    assert store.run(found.id).results == {"online_top1": 55.0, "knn_top1": 50.0}
    again = store.add_run(mended())
    assert (again.id, again.state) == (found.id, JobState.DONE)
    assert len(store.runs()) == 1
    assert is_sound(url)


def test_one_of_any_earlier_state_of_the_evaluation_is_found(store):
    for seed, names in enumerate([(), ("knn-votes",), ("knn-votes", "knn-top5-few")]):
        old = complete(store, mended(*names, seed=seed) if names else plan(seed=seed))
        found = store.add_run(mended("knn-votes", "knn-top5-few", seed=seed))
        assert found.id == old
        assert found.state is (JobState.DONE if len(names) == 2 else JobState.QUEUED)


def test_of_repeats_the_newest_that_is_done_is_evaluated_again(store, url):
    first = complete(store, plan())
    second = complete(store, plan(), force=True)
    waiting = store.add_run(plan(), force=True)
    assert store.add_run(mended()).id == second
    assert store.add_run(plan()).id == first
    third = store.add_run(mended(), force=True)
    assert third.id not in (first, second, waiting.id)
    assert is_sound(url)


@pytest.mark.parametrize("state", ["queued", "running", "failed", "cancelled"])
def test_a_run_that_is_not_trained_yet_goes_on(store, url, state):
    old = store.add_run(plan())
    if state in ("running", "failed"):
        claim = store.queue.claim(old.pretrain_job, environment=ENVIRONMENT)
    if state == "failed":
        store.queue.fail(claim, reason="no", cost=None)
    elif state == "cancelled":
        store.queue.cancel([old.pretrain_job])
    found = store.add_run(mended())
    assert (found.id, found.existed) == (old.id, True)
    now = store.run(old.id)
    assert now.state is (JobState.RUNNING if state == "running" else JobState.QUEUED)
    assert now.identity[EVALUATION] == ["knn-votes"]
    if state == "running":
        store.queue.finish(claim, results={}, cost=CostReading())
        evaluate(store, found, top1=1.0)
    assert is_sound(url)


def test_whoever_evaluates_as_before_is_fenced(store, url):
    old = store.add_run(plan())
    claim = store.queue.claim(old.pretrain_job, environment=ENVIRONMENT)
    store.queue.finish(claim, results={}, cost=CostReading())
    claim = store.queue.claim(old.eval_job, environment=ENVIRONMENT)
    found = store.add_run(mended())
    assert (found.id, found.state) == (old.id, JobState.QUEUED)
    with pytest.raises(FencedError):
        store.queue.finish(claim, results={"top1": 1.0}, cost=CostReading())
    evaluate(store, found, top1=2.0)
    run = store.run(old.id)
    assert run.results == {"top1": 2.0}
    assert [a.state for a in run.jobs[1].attempts] == [JobState.CANCELLED, JobState.DONE]
    assert is_sound(url)


def test_an_evaluation_still_to_come_is_named_as_it_will_be(store):
    """A fix that repeats nothing has no fingerprint of its own: the run is found as it was."""
    named = plan(identity={EVALUATION: ["knn-top5"]})
    same = replace(named, fingerprint=plan().fingerprint)
    waiting = store.add_run(plan())
    assert store.add_run(same).id == waiting.id
    assert store.run(waiting.id).identity == named.identity
    other = complete(store, plan(seed=1))
    named = plan(seed=1, identity={EVALUATION: ["knn-top5"]})
    assert store.add_run(replace(named, fingerprint=plan(seed=1).fingerprint)).id == other
    assert EVALUATION not in store.run(other).identity


def test_weights_that_are_gone_fail_the_evaluation_alone(store):
    run = complete(store, plan())
    found = store.add_run(mended())
    claim = store.queue.claim(found.eval_job, environment=ENVIRONMENT)
    store.queue.fail(claim, reason=f"run {run} has no weights", cost=None)
    assert [job.state for job in store.run(run).jobs] == [JobState.DONE, JobState.FAILED]
    assert store.add_run(mended()).state is JobState.QUEUED


def test_two_processes_take_each_earlier_run_once(url):
    with RunStore.open(url, mode="write") as store:
        old = [complete(store, plan(seed=seed)) for seed in range(8)]
    command = [sys.executable, "-c", ADD, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    answers = [json.loads(process.communicate("go\n")[0]) for process in both]
    assert answers == [old, old]
    with RunStore.open(url, mode="read") as store:
        assert [run.id for run in store.runs()] == old
        assert {run.state for run in store.runs()} == {JobState.QUEUED}
    assert is_sound(url)


def test_what_a_worker_computes_is_named_after_its_own_code(store, url):
    queued = store.add_run(plan())
    before = store.run(queued.id)
    claim = store.queue.claim(queued.pretrain_job, environment=ENVIRONMENT)
    store.queue.revise(claim, [])
    assert store.run(queued.id).fingerprint == before.fingerprint
    store.queue.revise(claim, ["drop-rates"])
    now = store.run(queued.id)
    assert now.identity == {**before.identity, PRETRAINING: ["drop-rates"]}
    changed = [before.fingerprint, *(job.fingerprint for job in before.jobs)]
    assert not {now.fingerprint, *(job.fingerprint for job in now.jobs)} & set(changed)
    store.queue.finish(claim, results={}, cost=CostReading())
    claim = store.queue.claim(queued.eval_job, environment=ENVIRONMENT)
    assert claim.revisions == ("drop-rates",)
    store.queue.revise(claim, ["knn-top5"])  # which repeats nothing
    assert store.run(queued.id).fingerprint == now.fingerprint
    assert store.run(queued.id).identity[EVALUATION] == ["knn-top5"]
    assert is_sound(url)


def test_a_run_that_turns_out_to_be_a_repeat_counts_as_one(store, url):
    first, second = store.add_run(plan()), store.add_run(plan(), force=True)
    for run in (first, second):
        claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
        store.queue.revise(claim, ["drop-rates"])
    assert len({run.fingerprint for run in store.runs()}) == 1
    assert store.add_run(plan()).existed is False
    assert is_sound(url)


def test_a_worker_that_was_given_up_names_nothing(store):
    queued = store.add_run(plan())
    claim = store.queue.claim(queued.pretrain_job, environment=ENVIRONMENT)
    store.queue.cancel([queued.pretrain_job])
    with pytest.raises(FencedError):
        store.queue.revise(claim, ["drop-rates"])
    assert PRETRAINING not in store.run(queued.id).identity


def test_without_weights_the_figures_of_before_stay(store, url):
    before = store.run(complete(store, plan()))
    asked = []
    found = store.add_run(mended(), weights_gone=lambda run: asked.append(run) or True)
    assert (found.id, found.state, found.mended) == (before.id, JobState.DONE, "kept")
    assert asked == [before.id]
    assert store.run(before.id) == before
    assert store.add_run(mended(), weights_gone=lambda run: False).mended == "repeated"
    assert store.add_run(mended()).mended is None
    assert is_sound(url)
