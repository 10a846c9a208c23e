"""Names, tags and notes of runs: who gives them, where they go, and what they never touch."""

from __future__ import annotations

import json
import threading

import pytest
from seeding import complete, evaluation, plan

from emabench.errors import DataError, NotFoundError, UsageError
from emabench.records import RunQuery
from emabench.store import RunStore
from emabench.store.transfer.moving import export_runs, import_runs
from emabench.store.transfer.soundness import check


def test_tags_come_and_go(store):
    first, second = (store.add_run(plan(seed=seed)).id for seed in (0, 1))
    store.tag([first, second[:6]], add=["paper", "b"])
    store.tag([first], add=["a", "paper"], remove=["b", "none"])
    assert store.run(first).tags == ("a", "paper")
    assert store.run(second).tags == ("b", "paper")
    assert store.tags() == {"a": 1, "b": 1, "paper": 2}


def test_a_name_and_a_note_are_replaced_and_taken_away(store):
    run = store.add_run(plan(name="first")).id
    other = store.add_run(evaluation(run)).id
    store.rename([run, other], "second")
    store.annotate([run], "  noisy\n")
    assert [store.run(each).name for each in (run, other)] == ["second"] * 2
    assert (store.run(run).note, store.run(other).note) == ("noisy", None)
    store.rename([run], None)
    store.annotate([run], " ")
    assert (store.run(run).name, store.run(run).note) == (None, None)


def test_labels_change_nothing_of_what_a_run_is(store):
    run = store.add_run(plan())
    store.tag([run.id], add=["paper"])
    store.rename([run.id], "mine")
    store.annotate([run.id], "noisy")
    again = store.add_run(plan())
    assert (again.id, again.existed, again.name) == (run.id, True, "mine")
    assert store.run(run.id).fingerprint == plan().fingerprint


@pytest.mark.parametrize("tag", ["", "two words", "a,b", "-x", "x" * 65, "a\tb", "a\x07b"])
def test_what_is_no_word_is_no_tag(store, tag):
    run = store.add_run(plan()).id
    with pytest.raises(UsageError, match="cannot be a tag"):
        store.tag([run], add=["good", tag])
    assert store.tags() == {}


def test_a_note_has_an_end(store):
    run = store.add_run(plan()).id
    store.annotate([run], "x" * 10_000)
    with pytest.raises(UsageError, match="at most 10,000 letters"):
        store.annotate([run], "y" * 10_001)
    assert store.run(run).note == "x" * 10_000


def test_no_run_is_labelled_where_one_is_not_there(store):
    run = store.add_run(plan()).id
    with pytest.raises(NotFoundError):
        store.tag([run, "ffffffffffff"], add=["paper"])
    with pytest.raises(NotFoundError):
        store.rename([run, "ffffffffffff"], "mine")
    assert (store.tags(), store.run(run).name) == ({}, None)


def test_a_removed_run_takes_its_tags_along(store, url):
    gone, stays = (store.add_run(plan(seed=seed)).id for seed in (0, 1))
    store.tag([gone, stays], add=["paper"])
    store.remove([gone])
    assert store.tags() == {"paper": 1}
    assert check(url) == []


def test_a_tag_that_is_given_twice_at_once_is_there_once(url):
    with RunStore.open(url, mode="write") as store:
        runs = [store.add_run(plan(seed=seed)).id for seed in range(4)]
    failures = []

    def tag():
        try:
            with RunStore.open(url, mode="write") as store:
                store.tag(runs, add=["a", "b"])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=tag) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with RunStore.open(url, mode="read") as store:
        assert store.tags() == {"a": 4, "b": 4}
    assert check(url) == []


@pytest.fixture
def bundle(new_url, tmp_path):
    """A bundle of one labelled run, and its id."""
    here, file = new_url(), tmp_path / "runs.jsonl"
    with RunStore.open(here, mode="write") as store:
        run = complete(store, plan(name="mine"))
        store.tag([run], add=["b", "a"])
        store.annotate([run], "noisy")
    export_runs(here, file)
    return file, run


def labels(url, run):
    with RunStore.open(url, mode="read") as store:
        found = store.run(run)
    return found.name, found.tags, found.note


def test_labels_go_along_in_a_bundle(bundle, new_url):
    file, run = bundle
    there = new_url()
    import_runs(there, file)
    assert labels(there, run) == ("mine", ("a", "b"), "noisy")
    with RunStore.open(there, mode="write") as store:
        store.tag([run], add=["c"], remove=["a"])
        store.annotate([run], "")
        store.rename([run], "other")
    import_runs(there, file)
    assert labels(there, run) == ("other", ("a", "b", "c"), "noisy")
    with RunStore.open(there, mode="write") as store:
        store.annotate([run], "my own")
    import_runs(there, file)
    assert labels(there, run)[2] == "my own"
    assert check(there) == []


def changed(file, change):
    head, line = file.read_text("ascii").splitlines()
    run = json.loads(line)
    change(run)
    file.write_text(f"{head}\n{json.dumps(run)}\n", "ascii")


def test_a_bundle_that_knows_no_labels_is_read(bundle, new_url):
    file, run = bundle
    there = new_url()
    changed(file, lambda run: [run.pop("tags"), run.pop("note")])
    import_runs(there, file)
    assert labels(there, run) == ("mine", (), None)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({"tags": ["two words"]}, "is no tag"),
        ({"tags": ["x" * 65]}, "is no tag"),
        ({"tags": ["-x"]}, "is no tag"),
        ({"tags": "paper"}, "tags is not a list"),
        ({"tags": [7]}, "damaged: 7 is not text"),
        ({"note": "x" * 10_001}, "longer than 10000 letters"),
        ({"note": 7}, "note: 7 is not text"),
    ],
)
def test_labels_that_could_not_be_given_are_refused_in_a_bundle(bundle, new_url, label, words):
    file, _ = bundle
    changed(file, lambda run: run.update(label))
    with pytest.raises(DataError, match=words):
        import_runs(new_url(), file)


def test_who_reads_many_runs_reads_their_labels(store):
    ids = [store.add_run(plan(seed=seed)).id for seed in range(3)]
    store.tag(ids[:2], add=["paper"])
    found = store.runs(RunQuery(smoke=True))
    assert [run.tags for run in found] == [("paper",), ("paper",), ()]
