"""``tag``, ``note`` and ``rename``: what they do to which runs, and what they say."""

import json
import re

import pytest
from seeding import complete, evaluated, evaluation, plan

from emabench.store import RunStore


@pytest.fixture
def runs(folder):
    with RunStore.open("results.db", mode="write") as store:
        moco = complete(store, plan(method="moco", name="first"))
        simclr = store.add_run(plan(seed=1)).id
        smoke = complete(store, plan(smoke=True, method="moco"))
        own = evaluated(store, evaluation(moco))
    return {"moco": moco, "simclr": simclr, "smoke": smoke, "evaluation": own}


def labels():
    with RunStore.open("results.db", mode="read") as store:
        found = [*store.runs(), *store.evaluations()]
        return {run.id: (run.name, run.tags, run.note) for run in found}


def test_tags_are_put_on_runs_listed_and_taken_away(emabench, runs):
    result = emabench(["tag", "paper,good", runs["moco"][:6], runs["evaluation"]])
    assert result.out == f"{runs['moco']}: good, paper\n{runs['evaluation']}: good, paper\n"
    answer = json.loads(emabench(["tag", "--json"]).out)
    assert answer == {
        "schema_version": 1,
        "tags": [{"tag": "good", "runs": 2}, {"tag": "paper", "runs": 2}],
    }
    text = emabench(["tag"]).out
    assert "paper     2" in text
    result = emabench(["tag", "good", "@last", runs["evaluation"], "--remove", "--json"])
    assert json.loads(result.out)["runs"][1] == {"id": runs["evaluation"], "tags": ["paper"]}
    assert labels()[runs["moco"]][1] == ("good", "paper")


@pytest.mark.parametrize(
    ("options", "tagged"),
    [
        (["--where", "method=moco"], ["moco", "smoke"]),
        (["--name", "first"], ["moco"]),
        (["--where", "seed=1"], ["simclr"]),
    ],
)
def test_options_choose_the_runs_smoke_ones_too(emabench, runs, options, tagged):
    answer = json.loads(emabench(["tag", "paper", *options, "--json"]).out)
    assert [run["id"] for run in answer["runs"]] == [runs[name] for name in tagged]


def test_a_note_is_written_printed_and_shown(emabench, runs):
    assert emabench(["note", runs["moco"]]).out == ""
    assert "has no note" in emabench(["note", runs["moco"]]).err
    assert emabench(["note", runs["moco"], "two words"]).out == f"{runs['moco']}: noted\n"
    assert emabench(["note", runs["moco"]]).out == "two words\n"
    assert "two" in emabench(["show", runs["moco"]]).out
    answer = json.loads(emabench(["show", runs["moco"], "--json"]).out)["run"]
    assert (answer["note"], answer["tags"]) == ("two words", [])
    assert emabench(["note", runs["moco"], ""]).out == f"{runs['moco']}: no note\n"
    answer = emabench(["note", runs["moco"], "--json"])
    assert json.loads(answer.out)["run"] == {"id": runs["moco"], "note": None}


def test_runs_are_renamed(emabench, runs):
    assert emabench(["rename", "other", "--name", "first"]).out == f"{runs['moco']}: other\n"
    result = emabench(["rename", "", runs["moco"], "--json"])
    assert json.loads(result.out)["runs"] == [{"id": runs["moco"], "name": None}]
    assert labels()[runs["moco"]][0] is None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["tag", "paper"], 2, "no runs are named"),
        (["tag", "paper", "@last", "--where", "seed=1"], 2, "chosen by options too"),
        (["tag", "--remove"], 2, "no tag is named"),
        (["tag", "paper", "--where", "seed=77"], 3, "no run matches"),
        (["tag", "two words", "@last"], 2, "cannot be a tag"),
        (["tag", "paper,", "@last"], 2, "cannot be a tag"),
        (["rename", "mine"], 2, "no runs are named"),
        (["note", "ffff", "text"], 3, "there is no run"),
        (["rename", "mine", "@last", "--db", "none.db"], 3, "there is no store"),
    ],
)
def test_wrong_requests_change_nothing(emabench, runs, arguments, code, words):
    before = labels()
    result = emabench(arguments)
    assert (result.code, result.out) == (code, "")
    assert words in result.err
    assert result.hint
    assert labels() == before


def test_all_runs_that_fit_are_removed(emabench, runs):
    refused = emabench(["rm", "--where", "method=moco"])
    assert (refused.code, refused.out) == (2, "")
    assert "remove 2 runs" in refused.err
    result = emabench(["rm", "--where", "method=moco", "--where", "state=done", "--yes", "--json"])
    answer = json.loads(result.out)
    assert [run["id"] for run in answer["runs"]] == [runs["moco"], runs["smoke"]]
    assert set(labels()) == {runs["simclr"], runs["evaluation"]}
    for arguments, code in (
        (["rm", "--yes"], 2),
        (["rm", "@last", "--where", "seed=1", "--yes"], 2),
        (["rm", "--where", "seed=77", "--yes"], 3),
    ):
        refused = emabench(arguments)
        assert (refused.code, refused.out) == (code, "")
        assert refused.hint
    assert set(labels()) == {runs["simclr"], runs["evaluation"]}


def test_show_draws_the_curve_of_each_metric(emabench, runs):
    text = emabench(["show", runs["moco"]]).out
    assert re.search(r"loss +1 +3 +2 +█▆▃▁", text)
