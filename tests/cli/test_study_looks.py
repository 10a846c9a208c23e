"""``studies plan`` and ``studies run --until settled`` as a user types them."""

import csv
import itertools
import json

import pytest
import yaml
from seeding import ENVIRONMENT

from emabench.analysis.looking.looks import plan_looks
from emabench.errors import StoreUnreachableError
from emabench.records import CostReading, RunQuery
from emabench.store import RunStore
from emabench.store.connection.database import Database

TINY = ["--epochs", "1", "--set", "max_steps=2", "--set", "threads=1", "--device", "cpu"]


@pytest.fixture
def mine(folder):
    """A file of two arms that looks at 2 and 3 pairs."""
    fields = {
        **dict.fromkeys(("title", "claim", "question", "hypothesis", "refuted_by"), "x"),
        "metrics": ["top1"],
        "margin": {"top1": 0.5},
        "by": "ema_scope",
        "baseline": "none",
        "arms": [{"method": "simclr", "ema_scope": ["none", "full"]}],
        "budgets": {"smoke": {"preset": "smoke", "seeds": 0, "looks": [2, 3]}},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(fields), "utf-8")
    return ["mine.yaml", "--budget", "smoke", *TINY]


def test_a_plan_says_what_each_look_takes_and_may_tell(mine, emabench, folder):
    result = emabench(["studies", "plan", *mine, "--spread", "2", "--json"])
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert [(look["pairs"], look["runs"], look["open_runs"]) for look in answer["looks"]] == [
        *((2, 4, 4), (3, 6, 6)),
    ]
    assert tuple(look["level"] for look in answer["looks"]) == plan_looks((2, 3)).levels
    (question,) = answer["questions"]
    assert question["label"] == "full"
    assert question["is_hopeless"]
    (line,) = csv.DictReader(
        emabench(["studies", "plan", *mine, "--spread", "2", "--csv"]).out.splitlines()
    )
    assert [float(line[f"by {pairs} pairs"]) for pairs in (2, 3)] == question["chance"]
    assert float(line["lowest"]) == question["lowest"] == float(line["highest"])
    text = emabench(["studies", "plan", *mine, "--spread", "2"])
    assert "up to 3 pairs" in text.out
    assert "full is hopeless: margin 0.5 at a spread of 2.00" in text.err
    assert not (folder / "results.db").exists()


def test_a_plan_without_any_spread_says_how_to_state_one(mine, emabench):
    result = emabench(["studies", "plan", *mine])
    assert (result.code, result.hint) == (3, "hint: state one: --spread 0.5")


def with_every_second_call_lost(whole):
    calls = itertools.count()

    def write(database):
        if next(calls) % 2:
            raise StoreUnreachableError("the store is gone")
        return whole(database)

    return write


def test_the_next_look_is_queued_for_workers_elsewhere(mine, emabench, monkeypatch):
    asked = ["studies", "run", *mine, "--until", "settled", "--queue-only", "--json"]
    monkeypatch.setattr("emabench.queue.patience._FIRST_PAUSE", 0.0)
    whole = Database.write
    for queued in (4, 0):
        monkeypatch.setattr(Database, "write", with_every_second_call_lost(whole))
        result = emabench(asked)
        assert result.code == 0, result.err
        assert "note: the store is back" in result.err
        (look,) = json.loads(result.out)["looks"]
        assert (look["pairs"], look["waiting"], look["queued"]) == (2, 4, queued)
        assert "workers are to run them" in result.err
    with RunStore.open("results.db", mode="read") as store:
        assert len(store.runs(RunQuery(smoke=True, study="mine"))) == 4
        kept = store.looks(["mine"]).plan("mine", smoke=True)
    assert (kept.pairs, kept.done_before) == ((2, 3), 0)
    assert kept.terms["margin"] == {"top1": 0.5}
    assert kept.terms["questions"] == 1


def test_runs_of_other_hardware_are_told_before_the_first_job(mine, emabench):
    arm = ["--preset", "smoke", "--method", "simclr", "--ema-scope", "none", "--seed", "0"]
    assert emabench(["queue", *arm, *TINY]).code == 0
    with RunStore.open("results.db", mode="write") as store:
        (run,) = store.runs(RunQuery(smoke=True))
        for job in run.jobs:
            claim = store.queue.claim(job.id, environment=ENVIRONMENT)
            store.queue.finish(claim, results={}, cost=CostReading(total_s=1.0))
    result = emabench(["studies", "run", *mine, "--until", "settled"])
    assert result.code == 1
    assert "do not mix kinds of hardware" in result.err
    assert ENVIRONMENT.device in result.err
    assert "--db" in result.hint
    with RunStore.open("results.db", mode="read") as store:
        assert [each.id for each in store.runs(RunQuery(smoke=True))] == [run.id]
        assert store.looks(["mine"]).plans == ()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--until", "settled", "--force"], "--until does not go with --force"),
        (["--until", "settled", "--dry-run"], "--until does not go with --dry-run"),
        (
            ["--until", "settled", "--seed", "0"],
            "look is at 2 pairs, too many for 1 seed",
        ),
        (["--until", "settled", "--jobs", "3"], "--jobs does not apply to the engine local"),
        (
            ["--until", "settled", "--set", "ema.teacher=@last"],
            "ema.teacher=@last is another run at every look",
        ),
        (["--jobs", "3"], "--jobs applies only with --until settled"),
        (["--keep", "nothing"], "--keep applies only with --until settled"),
        (["--queue-only"], "--queue-only applies only with --until settled"),
    ],
)
def test_what_does_not_go_together_is_refused(mine, emabench, folder, words, message):
    result = emabench(["studies", "run", *mine, *words])
    assert result.code == 2
    assert message in result.err
    assert not (folder / "results.db").exists()


@pytest.mark.parametrize("looks", ["[3, 2]", "[2, 2]", "[1, 2]", "[]"])
def test_looks_that_cannot_be_are_refused(mine, emabench, folder, looks):
    text = (folder / "mine.yaml").read_text("utf-8")
    fields = yaml.safe_load(text)
    fields["budgets"]["smoke"]["looks"] = yaml.safe_load(looks)
    (folder / "mine.yaml").write_text(yaml.safe_dump(fields), "utf-8")
    result = emabench(["studies", "show", "mine.yaml"])
    assert result.code == 2
    assert "looks" in result.err


def test_a_study_under_way_whose_baseline_is_to_come_can_be_planned(mine, emabench, folder):
    (folder / "mine.yaml").write_text(
        (folder / "mine.yaml").read_text().replace("baseline: none", "baseline: full")
    )
    assert emabench(["studies", "run", *mine]).code == 0
    with RunStore.open("results.db", mode="write") as store:
        (run, *_) = store.runs(RunQuery(where={"pretrain.ema.scope": "none"}, smoke=True))
        for job in run.jobs:
            claim = store.queue.claim(job.id, environment=ENVIRONMENT)
            store.queue.finish(claim, results={"top1": 50.0}, cost=CostReading(total_s=1.0))
    result = emabench(["studies", "plan", *mine, "--spread", "2"])
    assert result.code == 0, result.err


def test_what_a_study_must_be_given_is_asked_for_before_it_is_planned(emabench):
    result = emabench(["studies", "plan", "frozen-teacher", "--budget", "cpu", "--spread", "1"])
    assert result.code == 2
    assert "needs --set ema.teacher=" in result.err


def test_seeds_in_brackets_are_no_seeds(mine, emabench):
    for command in ("plan", "run"):
        more = ["--spread", "1"] if command == "plan" else ["--until", "settled"]
        result = emabench(["studies", command, *mine, *more, "--seed", "[0,1,2]"])
        assert result.code == 2
        assert "--seed" in result.err
        assert "internal error" not in result.err
