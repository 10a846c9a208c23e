"""A worker takes only jobs whose plugins it has, and costs others nothing but the look."""

from __future__ import annotations

import pytest
from seeding import ENVIRONMENT, plan

from emabench.cli.app.console import out
from emabench.cli.show.queue_view import QueueView
from emabench.records import CostReading, JobState
from emabench.report.tables.queue_table import plugin_lines, queue_values
from emabench.store import RunStore
from emabench.store.transfer.moving import export_runs, import_runs

OLD, NEW = f"method:soft@{'a' * 32}", f"method:soft@{'b' * 32}"
NET = f"backbone:net@{'c' * 32}"


def soft(reference, *more, **fields):
    return plan(method="soft", identity={"plugins": sorted([reference, *more])}, **fields)


def having(*references):
    return lambda asked: set(asked) <= set(references)


def taken(store, *references, kind="cpu"):
    claim = store.queue.claim_next(kind, has=having(*references))
    return None if claim is None else claim.job_id


def test_a_job_waits_for_a_worker_with_its_plugin_and_digest(store):
    old, new = store.add_run(soft(OLD, seed=0)), store.add_run(soft(NEW, seed=1))
    assert store.queue.claim_next("cpu") is None
    assert taken(store) is None
    assert taken(store, NET) is None
    assert taken(store, OLD, kind="cuda") is None
    assert taken(store, NEW) == new.pretrain_job
    assert taken(store, NEW) is None
    assert taken(store, NEW, OLD) == old.pretrain_job
    assert store.job(old.id).attempt == 1, "who had no right to it began no attempt"


def test_all_plugins_of_a_job_are_needed(store):
    run = store.add_run(soft(OLD, NET, backbone="net"))
    assert taken(store, OLD) is None
    assert taken(store, NET) is None
    claim = store.queue.claim_next("cpu", has=having(NET, OLD))
    assert (claim.job_id, claim.plugins) == (run.pretrain_job, (NET, OLD))


def test_an_evaluation_needs_no_plugin_of_the_method(store):
    run = store.add_run(soft(OLD))
    claim = store.queue.claim_next("cpu", has=having(OLD))
    store.queue.begin(claim, ENVIRONMENT)
    store.queue.finish(claim, results={}, cost=CostReading())
    assert store.queue.claim_next("cpu").job_id == run.eval_job


def test_the_order_of_the_queue_holds_across_plugins(store):
    first = store.add_run(soft(OLD, seed=0))
    second = store.add_run(plan(seed=1))
    third = store.add_run(soft(NEW, seed=2))
    urgent = store.add_run(soft(OLD, seed=3), priority=1)
    order = [taken(store, OLD, NEW) for _ in range(4)]
    assert order == [run.pretrain_job for run in (urgent, first, second, third)]


def test_status_names_what_waits_for_which_plugin(store, capsys):
    for seed in range(2):
        store.add_run(soft(OLD, seed=seed))
    store.add_run(soft(NEW, NET, seed=2, backbone="net"))
    queue = store.queue.snapshot()
    assert plugin_lines(queue) == [
        "2 queued jobs need the plugin backbone net (cccccccc)",
        "2 queued jobs need the plugin method soft (aaaaaaaa)",
        "1 queued job needs the plugin method soft (bbbbbbbb)",
    ]
    values = queue_values(queue)
    assert values["plugins"] == {NET: 2, OLD: 2, NEW: 1}
    assert values["queued"][0]["plugins"] == [OLD]
    assert values["queued"][0]["device_kind"] == "cpu"
    out().print(QueueView(queue))
    assert "1 queued job needs the plugin method soft (bbbbbbbb)" in capsys.readouterr().out


def test_what_is_told_of_needs_keeps_device_and_plugins_apart(store):
    store.add_run(soft(OLD))
    assert store.queue.queued_by_need() == {("cpu", (OLD,)): 1, ("cpu", ()): 1}
    job = store.job(store.runs()[0].id)
    assert (job.device_kind, job.plugins) == ("cpu", (OLD,))


def test_a_run_that_is_tried_again_elsewhere_still_needs_its_plugin(store, url, tmp_path):
    run = store.add_run(soft(OLD))
    store.queue.cancel([run.pretrain_job])
    export_runs(url, tmp_path / "runs.jsonl")
    import_runs(str(tmp_path / "other.db"), tmp_path / "runs.jsonl")
    with RunStore.open(str(tmp_path / "other.db"), mode="write") as other:
        other.queue.retry([run.eval_job])
        assert taken(other) is None
        assert taken(other, OLD) == run.pretrain_job
        assert other.job(run.id).state is JobState.RUNNING


@pytest.mark.parametrize("waiting", [0, 300])
def test_a_long_queue_for_others_is_looked_at_once_for_each_plugin(store, waiting):
    from sqlalchemy import Engine, event

    for seed in range(waiting):
        store.add_run(soft(OLD, seed=seed))
    run = store.add_run(plan(seed=1000))
    statements = []

    def keep(connection, cursor, statement, *rest):
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        assert taken(store, NEW) == run.pretrain_job
    finally:
        event.remove(Engine, "before_cursor_execute", keep)
    looks = [each for each in statements if "min(jobs.device_kind)" in each]
    assert len(looks) <= 3
    assert sum(each.startswith("UPDATE jobs") for each in statements) == 1
