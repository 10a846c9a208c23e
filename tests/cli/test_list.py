"""``list``: which runs it shows, in which form, and what it says of the others."""

import csv
import io
import json
import re

import pytest
from seeding import ENVIRONMENT, complete, plan

from emabench.store import RunStore


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


@pytest.fixture
def runs(store):
    done = complete(store, plan(method="moco", ema_scope="full", name="first"), top1=61.25)
    smoke = complete(store, plan(smoke=True))
    failed = store.add_run(plan(seed=1))
    claim = store.queue.claim(failed.pretrain_job, environment=ENVIRONMENT)
    store.queue.fail(claim, reason="loss is NaN", cost=None)
    queued = store.add_run(plan(seed=2))
    return {"done": done, "smoke": smoke, "failed": failed.id, "queued": queued.id}


def ids(result):
    assert result.code == 0, result.err
    return [run["id"] for run in json.loads(result.out)["runs"]]


def test_runs_are_listed_newest_last_without_smoke_runs(emabench, runs):
    result = emabench(["list", "--json"])
    assert ids(result) == [runs["done"], runs["failed"], runs["queued"]]
    assert "1 smoke run left out; --smoke" in result.err
    assert ids(emabench(["list", "--json", "--smoke"])) == [
        runs[name] for name in ("done", "smoke", "failed", "queued")
    ]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--state", "failed"], ["failed"]),
        (["--state", "done", "--smoke"], ["done", "smoke"]),
        (["--where", "seed=2"], ["queued"]),
        (["--where", "method=moco", "--where", "ema_scope=full"], ["done"]),
        (["--limit", "1"], ["queued"]),
        (["--limit", "99"], ["done", "failed", "queued"]),
    ],
)
def test_options_choose_runs(emabench, runs, options, chosen):
    assert ids(emabench(["list", "--json", *options])) == [runs[name] for name in chosen]


def test_the_json_of_a_run(emabench, runs):
    answer = json.loads(emabench(["list", "--json", "--state", "done"]).out)
    assert (list(answer), answer["schema_version"]) == (["schema_version", "runs"], 1)
    (run,) = answer["runs"]
    assert (run["name"], run["state"], run["smoke"]) == ("first", "done", False)
    assert (run["method"], run["ema_scope"], run["seed"]) == ("moco", "full", 0)
    assert run["results"] == {"online_top1": 56.25, "top1": 61.25, "knn_top1": 58.25}
    assert (run["cost"]["total_s"], run["cost"]["energy_j"]) == (15.0, None)
    assert run["created_at"].endswith("+00:00")


def test_csv_and_markdown_hold_the_same_runs(emabench, runs):
    lines = list(csv.DictReader(io.StringIO(emabench(["list", "--csv"]).out)))
    assert [line["id"] for line in lines] == [runs["done"], runs["failed"], runs["queued"]]
    assert (float(lines[0]["top1"]), lines[1]["top1"]) == (61.25, "")
    markdown = emabench(["list", "--markdown"]).out.splitlines()
    assert len(markdown) == 2 + 3
    assert f"| {runs['done']} | first | done | moco | full |" in markdown[2]
    assert "| 61.25 | 58.25 | 56.25 | 1000 |" in markdown[2]


def test_the_table_in_a_pipe_is_plain_and_whole(emabench, runs):
    result = emabench(["list"])
    assert runs["queued"] in result.out
    assert "\x1b" not in result.out
    assert "…" not in result.out


def test_an_empty_store_lists_nothing_and_says_so(emabench, store):
    result = emabench(["list"])
    assert (result.code, result.out) == (0, "")
    assert "no runs" in result.err
    assert "emabench run makes one" in result.hint
    result = emabench(["list", "--json"])
    assert (result.code, json.loads(result.out)["runs"]) == (0, [])


def test_a_filter_that_fits_nothing_says_so(emabench, runs):
    result = emabench(["list", "--state", "running"])
    assert (result.code, result.out) == (0, "")
    assert "no run is running" in result.hint


def test_an_unknown_state_is_refused_with_a_proposal(emabench, runs):
    result = emabench(["list", "--state", "dona"])
    assert (result.code, result.out) == (2, "")
    assert "unknown state 'dona'" in result.err
    assert "did you mean done" in result.hint


@pytest.mark.parametrize("command", [["list"], ["compare"], ["show", "@last"]])
def test_the_store_comes_from_the_environment_or_is_missed(command, emabench, folder, monkeypatch):
    result = emabench(command)
    assert (result.code, result.out) == (3, "")
    assert "there is no store at results.db" in result.err
    assert "emabench run creates one" in result.hint
    assert list(folder.iterdir()) == []
    with RunStore.open("other.db", mode="write") as store:
        complete(store, plan())
    monkeypatch.setenv("EMABENCH_DB", "other.db")
    assert emabench(command).code == 0


@pytest.mark.parametrize("content", [b"x", b"no rows here " * 200, b"\0" * 4096])
@pytest.mark.parametrize("command", [["list"], ["compare"], ["show", "@last"]])
def test_a_file_that_is_no_store_is_left_alone(command, content, emabench, folder):
    path = folder / "results.db"
    path.write_bytes(content)
    result = emabench(command)
    assert (result.code, result.out) == (1, "")
    assert "results.db is not an emabench store" in result.err
    assert result.hint
    assert path.read_bytes() == content
    assert [entry.name for entry in folder.iterdir()] == ["results.db"]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--where", "top1>60"], ["done"]),
        (["--where", "seed>0", "--where", "state~ail"], ["failed"]),
        (["--name", "first"], ["done"]),
        (["--tag", "paper"], ["failed", "queued"]),
        (["--tag", "paper", "--where", "seed<2"], ["failed"]),
        (["--sort", "-seed"], ["queued", "failed", "done"]),
        (["--sort", "state,seed"], ["done", "failed", "queued"]),
        (["--sort", "-top1", "--limit", "1"], ["done"]),
    ],
)
def test_more_options_choose_and_order_runs(emabench, store, runs, options, chosen):
    store.tag([runs["failed"], runs["queued"]], add=["paper"])
    store.rename([runs["queued"]], "second")
    assert ids(emabench(["list", "--json", *options])) == [runs[name] for name in chosen]


def test_columns_are_chosen_for_readers_and_programs(emabench, store, runs):
    store.tag([runs["done"]], add=["paper", "a"])
    columns = ["--columns", "id,top1,total_s,tag,ema.decay,created", "--where", "state=done"]
    text = emabench(["list", *columns]).out
    assert re.search(rf"{runs['done']} +61\.25 +15\.0 s +a paper +0\.99 +20\d\d-\d\d-\d\d", text)
    (line,) = csv.DictReader(io.StringIO(emabench(["list", "--csv", *columns]).out))
    assert (line["id"], line["top1"], line["total_s"]) == (runs["done"], "61.25", "15.0")
    assert (line["tag"], line["ema.decay"]) == ("a paper", "0.99")
    assert line["created"].endswith("+00:00")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--columns", "id,,top1"], "has an empty part"),
        (["--columns", "id,topl"], "unknown field 'topl'"),
        (["--columns", "id", "--json"], "applies to the table of runs"),
        (["--sort", "topl"], "unknown field 'topl'"),
        (["--where", "top1>high"], "is no number"),
    ],
)
def test_options_that_mean_nothing_are_refused(emabench, runs, options, words):
    result = emabench(["list", *options])
    assert (result.code, result.out) == (2, "")
    assert words in result.err
    assert result.hint
