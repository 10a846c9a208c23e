"""What every store promises of evaluations of their own: one job, its weights named in the spec."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from seeding import ENVIRONMENT, complete, evaluated, evaluation, plan
from sqlalchemy import text

from emabench.errors import DataError, NotFoundError, UsageError
from emabench.records import CostReading, JobKind, JobState, RunQuery
from emabench.store import RunStore
from emabench.store.connection.opening import open_for_writing
from emabench.store.transfer.moving import export_runs, import_runs
from emabench.store.transfer.soundness import check

DIGEST = "e" * 64


def test_it_is_one_job_that_needs_nothing_and_says_of_which_weights(store):
    run = complete(store, plan())
    queued = store.add_run(evaluation(run))
    assert (queued.pretrain_job, queued.eval_job, queued.existed) == (None, queued.id, False)
    record = store.run(queued.id)
    (job,) = record.jobs
    assert (job.id, job.run_id, job.kind) == (queued.id, queued.id, JobKind.LINEAR_EVAL)
    assert (job.depends_on, job.fingerprint) == (None, record.fingerprint)
    assert record.is_evaluation
    assert not store.run(run).is_evaluation
    claim = store.queue.claim_next("cpu")
    assert (claim.job_id, claim.depends_on, claim.weights) == (queued.id, None, DIGEST)
    assert claim.spec["weights"] == run


def test_its_results_cost_and_environment_are_its_own(store):
    run = complete(store, plan(), top1=60.0)
    record = store.run(evaluated(store, evaluation(run), top1=64.0))
    assert record.state is JobState.DONE
    assert record.results == {"top1": 64.0, "top5": 90.0, "knn_top1": 62.0}
    assert (record.cost.total_s, record.environment) == (1.5, ENVIRONMENT)
    assert store.correct(record.id, "top1") == (b"\x60", 3)
    assert store.run(run).results["top1"] == 60.0


def test_it_is_no_run_but_is_found_by_its_id(store):
    first, second = complete(store, plan()), complete(store, plan(seed=1))
    of_first = evaluated(store, evaluation(first))
    of_second = store.add_run(evaluation(second, content="b" * 64)).id
    of_file = store.add_run(evaluation("/data/w.safetensors", content="f" * 64)).id
    assert [run.id for run in store.runs(RunQuery(smoke=True))] == [first, second]
    assert [run.id for run in store.evaluations()] == [of_first, of_second, of_file]
    assert [run.id for run in store.evaluations(second)] == [of_second]
    assert store.evaluations(of_first) == []
    where = {"pretrain.seed": 0, "evaluation.knn.k": 200}
    assert [run.id for run in store.evaluations(first, RunQuery(where=where))] == [of_first]
    assert store.evaluations(query=RunQuery(where={"evaluation.knn.k": 3})) == []
    assert store.run("@last").id == second
    assert store.job("@last").id == second
    assert store.run(of_first[:9]).id == of_first
    assert store.job(of_first[:9]).run_id == of_first
    with pytest.raises(NotFoundError):
        store.run(store.run(first).jobs[1].id)


def test_the_same_weights_are_evaluated_once_wherever_they_lie(store):
    old = store.add_run(evaluation("/old/w.safetensors"))
    again = store.add_run(evaluation("/new/w.safetensors"))
    assert (again.id, again.existed, again.state) == (old.id, True, JobState.QUEUED)
    record = store.run(old.id)
    assert (record.spec["weights"], record.command) == (
        "/new/w.safetensors",
        "emabench eval /new/w.safetensors",
    )
    claim = store.queue.claim(old.id)
    store.queue.fail(claim, reason="gone", cost=None)
    store.add_run(evaluation("/third/w.safetensors"))
    claim = store.queue.claim(old.id)
    assert (claim.attempt, claim.spec["weights"]) == (2, "/third/w.safetensors")
    store.queue.finish(claim, results={"top1": 1.0}, cost=CostReading())
    done = store.add_run(evaluation("/fourth/w.safetensors"))
    assert (done.id, done.state) == (old.id, JobState.DONE)
    assert store.run(old.id).spec["weights"] == "/third/w.safetensors", "as it was evaluated"
    assert store.add_run(evaluation("/x", content="f" * 64)).id != old.id
    assert store.add_run(evaluation("/x", evaluation__knn__k=3)).id != old.id
    forced = store.add_run(evaluation("/x"), force=True)
    assert (forced.existed, len(store.evaluations())) == (False, 4)


def test_it_is_cancelled_retried_and_removed_alone(store, url):
    run = complete(store, plan())
    queued = store.add_run(evaluation(run)).id
    assert store.queue.cancel([queued]) == [queued]
    assert store.run(queued).state is JobState.CANCELLED
    assert store.queue.retry([queued]) == [queued]
    claim = store.queue.claim(queued)
    with pytest.raises(UsageError, match="is running"):
        store.remove([queued])
    store.queue.fail(claim, reason="out of memory", cost=None, retry=True)
    assert store.run(queued).state is JobState.QUEUED
    assert check(url) == []
    store.remove([run])  # nobody is asked: it will say what it misses
    assert store.run(queued).state is JobState.QUEUED
    store.remove([queued])
    assert (store.runs(), store.evaluations()) == ([], [])
    assert check(url) == []


def test_it_moves_between_stores(new_url, tmp_path):
    first, second, bundle = new_url(), new_url(), tmp_path / "runs.jsonl"
    with RunStore.open(first, mode="write") as store:
        run = complete(store, plan(name="n"))
        done = evaluated(store, replace(evaluation(run), name="n"))
        waiting = store.add_run(evaluation(run, content="f" * 64)).id
        before = store.evaluations(run)[:1]
    exported = export_runs(first, bundle)
    assert (exported.written, exported.unfinished) == ((run, done), (waiting,))
    assert import_runs(second, bundle) == ([run, done], [])
    assert import_runs(second, bundle) == ([], [run, done])
    with RunStore.open(second, mode="write") as store:
        assert store.evaluations() == before
        assert store.add_run(evaluation(run)).state is JobState.DONE
    assert check(second) == []
    assert export_runs(first, bundle, RunQuery(ids=(done,)), overwrite=True).written == (done,)
    with pytest.raises(UsageError, match=f"evaluation {waiting} is not finished"):
        export_runs(first, bundle, RunQuery(ids=(waiting,)), overwrite=True)
    by_name = export_runs(first, bundle, RunQuery(name="n"), overwrite=True)
    assert by_name.written == (run, done)


def test_a_bundle_whose_evaluation_says_not_of_what_is_refused(new_url, tmp_path):
    first, bundle = new_url(), tmp_path / "runs.jsonl"
    with RunStore.open(first, mode="write") as store:
        evaluated(store, evaluation("/w.safetensors"))
    export_runs(first, bundle)
    head, line = bundle.read_text("ascii").splitlines()
    values = json.loads(line)
    del values["spec"]["weights"]
    bundle.write_text(f"{head}\n{json.dumps(values)}\n")
    with pytest.raises(DataError, match="does not say of which weights"):
        import_runs(new_url(), bundle)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE jobs SET position = 1 WHERE id = '{own}'", "has no pretraining"),
        ("UPDATE jobs SET depends_on = '{run}' WHERE id = '{own}'", "has no pretraining"),
        (
            "UPDATE jobs SET position = 2, experiment_id ="
            " (SELECT experiment_id FROM jobs WHERE id = '{run}') WHERE id = '{own}'",
            "evaluation {own} needs no pretraining of its run",
        ),
        ("UPDATE jobs SET kind = 'linear_eval' WHERE id = '{run}'", "has no pretraining"),
        ("DELETE FROM results WHERE job_id = '{own}'", "is done and has no results"),
    ],
)
def test_a_store_whose_evaluation_is_none_is_not_sound(url, statement, words):
    with RunStore.open(url, mode="write") as store:
        names = {"run": complete(store, plan())}
        names["own"] = evaluated(store, evaluation(names["run"]))
    assert check(url) == []
    database = open_for_writing(url)
    with database.write() as session:
        session.execute(text(statement.format(**names)))
    database.close()
    assert any(words.format(**names) in problem for problem in check(url))
