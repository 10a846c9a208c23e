"""``diff``: what two runs do not have in common."""

import json

import pytest
from seeding import ENVIRONMENT, complete, plan

from emabench.store import RunStore


@pytest.fixture
def runs(folder):
    with RunStore.open("results.db", mode="write") as store:
        first = complete(store, plan(ema_scope="none"), top1=60.0, throughput=1000.0)
        environment = ENVIRONMENT.__class__(
            **{**vars(ENVIRONMENT), "versions": {"python": "3.11.0", "torch": "2.7.1"}}
        )
        second = complete(
            store,
            plan(ema_scope="full", lr=0.1, identity={"threads": 4}),
            top1=61.0,
            throughput=800.0,
            environment=environment,
        )
    return first, second


def test_only_what_differs_is_shown(runs, emabench):
    answer = json.loads(emabench(["diff", *runs, "--json"]).out)
    assert list(answer) == [
        *("schema_version", "first", "second"),
        *("spec", "environment", "results", "cost", "images"),
    ]
    assert {each["name"]: (each["first"], each["second"]) for each in answer["spec"]} == {
        "pretrain.ema.scope": ("none", "full"),
        "pretrain.optimizer.lr": (0.3, 0.1),
        "threads": (2, 4),
    }
    assert answer["environment"] == [
        {"name": "torch", "first": "2.6.0", "second": "2.7.1", "change": None}
    ]
    changes = {each["name"]: each["change"] for each in answer["results"]}
    assert changes == {"top1": 1.0, "knn_top1": 1.0, "online_top1": 1.0}
    costs = {each["name"]: each["change"] for each in answer["cost"]}
    assert costs == {"throughput": 0.8, "step_ms": 1.25}
    assert answer["images"] == []


def test_the_tables_have_a_part_for_each_kind(runs, emabench):
    text = emabench(["diff", *runs]).out
    for words in ("spec and identity", "environment", "results", "cost of all attempts"):
        assert words in text
    assert "pretrain.ema.scope" in text
    assert "decay" not in text


def test_images_that_only_one_run_classified_rightly_are_counted(folder, emabench):
    with RunStore.open("results.db", mode="write") as store:
        ids = []
        for scope, right in (("none", [1, 1, 0, 0]), ("full", [1, 0, 0, 0])):
            run = store.add_run(plan(ema_scope=scope))
            claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
            store.queue.finish(claim, results={}, cost=None)
            claim = store.queue.claim(run.eval_job, environment=ENVIRONMENT)
            top1 = 100 * sum(right) / 4
            store.queue.finish(
                claim, results={"top1": top1}, cost=None, correct={"top1": bytes(right)}
            )
            ids.append(run.id)
    (images,) = json.loads(emabench(["diff", *ids, "--json"]).out)["images"]
    assert (images["images"], images["only_first"], images["only_second"]) == (4, 1, 0)
    assert images["se"] == pytest.approx(100 * (3 / 16) ** 0.5 / 2)


def test_a_run_does_not_differ_from_itself(runs, emabench):
    result = emabench(["diff", runs[0], runs[0]])
    assert (result.code, result.out, result.err) == (0, "", "nothing differs\n")


def test_an_unknown_run_is_not_found(runs, emabench):
    result = emabench(["diff", runs[0], "zzz"])
    assert result.code == 3
    assert "emabench list" in result.hint
