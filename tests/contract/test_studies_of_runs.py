"""A run belongs to any number of studies, wherever it is stored and wherever it goes."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
from seeding import complete, look_at, plan, plan_study

from emabench.errors import NotFoundError
from emabench.records import RunQuery
from emabench.store import RunStore, run_store
from emabench.store.transfer.moving import export_runs, import_runs
from emabench.store.transfer.soundness import check


def of(study, **fields):
    return replace(plan(**fields), study=study)


def members(store, study):
    return [run.id for run in store.runs(RunQuery(smoke=True, study=study))]


def test_an_existing_run_joins_a_second_study_and_is_not_queued_again(store):
    first = store.add_run(of("which-block"))
    again = store.add_run(of("decay-sweep"))
    other = store.add_run(of("decay-sweep", seed=1))
    alone = store.add_run(plan(seed=2))
    assert (again.id, again.existed) == (first.id, True)
    assert store.run(first.id).studies == ("decay-sweep", "which-block")
    assert store.run(alone.id).studies == ()
    assert members(store, "which-block") == [first.id]
    assert members(store, "decay-sweep") == [first.id, other.id]
    assert len(store.runs(RunQuery(smoke=True))) == 3


def test_to_join_a_study_twice_changes_nothing(store):
    run = store.add_run(of("which-block"))
    store.add_run(of("which-block"))
    store.add_run(plan())
    assert store.run(run.id).studies == ("which-block",)


def test_a_finished_run_and_a_forced_repeat_belong_to_the_study(store):
    done = complete(store, plan())
    assert store.add_run(of("which-block")).id == done
    repeat = store.add_run(of("which-block"), force=True)
    assert members(store, "which-block") == [done, repeat.id]


def test_a_study_without_runs_is_not_found(store):
    with pytest.raises(NotFoundError) as nothing:
        members(store, "which-block")
    assert nothing.value.hint == "emabench studies run which-block queues them"
    store.add_run(of("which-block"))
    with pytest.raises(NotFoundError) as misspelt:
        members(store, "which-blok")
    assert misspelt.value.hint == "did you mean which-block?"
    with pytest.raises(NotFoundError) as shipped:
        members(store, "decay-sweep")
    assert shipped.value.hint == "emabench studies run decay-sweep queues them"


def test_a_removed_run_leaves_its_studies(store, url):
    gone, stays = (store.add_run(of("which-block", seed=seed)).id for seed in (0, 1))
    store.remove([gone])
    assert members(store, "which-block") == [stays]
    store.remove([stays])
    with pytest.raises(NotFoundError):
        members(store, "which-block")
    assert check(url) == []


def test_a_run_that_is_removed_while_it_joins_is_queued_anew(store, monkeypatch):
    run = store.add_run(plan())
    store.remove([run.id])
    seen = iter([replace(run, existed=True)])
    look = run_store.existing_run
    monkeypatch.setattr(run_store, "existing_run", lambda *args: next(seen, None) or look(*args))
    found = store.add_run(of("which-block"))
    assert (found.existed, next(seen, None)) == (False, None)
    assert members(store, "which-block") == [found.id] != [run.id]


def test_studies_that_are_queued_at_once_share_their_runs(url):
    RunStore.open(url, mode="write").close()

    def queue(study):
        with RunStore.open(url, mode="write") as store:
            for seed in range(5):
                store.add_run(of(study, seed=seed))

    threads = [threading.Thread(target=queue, args=(name,)) for name in ("a", "b", "a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with RunStore.open(url, mode="read") as store:
        assert [run.studies for run in store.runs(RunQuery(smoke=True))] == [("a", "b")] * 5
    assert check(url) == []


def test_runs_take_their_studies_to_another_store(new_url, tmp_path):
    """So do plans and looks: the second look at a study is not the first one there."""
    here, there = new_url(), new_url()
    bundle = tmp_path / "runs.jsonl"
    with RunStore.open(here, mode="write") as store:
        planned = plan_study(store, "a", pairs=(5, 8))
        plan_study(store, "c", pairs=(5,))
        both = complete(store, of("a"))
        store.add_run(of("b"))
        only = complete(store, of("b", seed=1))
        complete(store, plan(seed=2))
        look_at(store, "a", pairs=5)
        look_at(store, "a", pairs=8)
        looked = store.looks(["a"])
    assert export_runs(here, bundle, RunQuery(study="a")).written == (both,)
    assert export_runs(here, bundle, RunQuery(study="b"), overwrite=True).written == (both, only)
    for _ in range(2):
        import_runs(there, bundle)
        with RunStore.open(there, mode="read") as store:
            assert {run.id: run.studies for run in store.runs()} == {both: ("a", "b"), only: ("b",)}
            assert store.looks(["a", "b", "c"]) == looked
    assert looked.plans == (planned,)
    assert check(there) == []


def test_what_a_store_planned_stays_and_who_looked_elsewhere_counts(new_url, tmp_path):
    here, there, other = new_url(), new_url(), new_url()
    bundle = tmp_path / "runs.jsonl"
    with RunStore.open(here, mode="write") as store:
        planned = plan_study(store, "a", pairs=(5, 8))
        complete(store, of("a"))
        look_at(store, "a", pairs=5)
    export_runs(here, bundle)
    with RunStore.open(there, mode="write") as store:
        mine = plan_study(store, "a", pairs=(6,))
        look_at(store, "a", pairs=4)
    with RunStore.open(other, mode="write") as store:
        complete(store, of("a", seed=1))
    for place, kept, pairs in (
        (there, mine, [5, 4]),
        (other, replace(planned, done_before=1), [5]),
    ):
        import_runs(place, bundle)
        with RunStore.open(place, mode="read") as store:
            found = store.looks(["a"])
        assert found.plans == (kept,)
        assert [look.pairs for look in found.taken] == pairs, "the earliest first"


def test_a_run_that_is_there_joins_the_studies_of_the_bundle(new_url, tmp_path):
    here, there = new_url(), new_url()
    bundle = tmp_path / "runs.jsonl"
    with RunStore.open(here, mode="write") as store:
        run = complete(store, of("a"))
    export_runs(here, bundle)
    assert import_runs(there, bundle) == ([run], [])
    with RunStore.open(here, mode="write") as store:
        store.add_run(of("b"))
    export_runs(here, bundle, overwrite=True)
    for _ in range(2):
        assert import_runs(there, bundle) == ([], [run])
        with RunStore.open(there, mode="read") as store:
            assert store.run(run).studies == ("a", "b")


def test_a_bundle_that_knows_no_studies_is_read(new_url, tmp_path):
    here, there = new_url(), new_url()
    bundle = tmp_path / "runs.jsonl"
    with RunStore.open(here, mode="write") as store:
        run = complete(store, of("a"))
    export_runs(here, bundle)
    head, line = bundle.read_text("ascii").splitlines()
    older = json.loads(line)
    assert older.pop("studies") == ["a"]
    bundle.write_text(f"{head}\n{json.dumps(older)}\n", "ascii")
    import_runs(there, bundle)
    with RunStore.open(there, mode="read") as store:
        assert store.run(run).studies == ()
