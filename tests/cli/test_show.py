"""``show``: everything of one run, and how a run is named."""

import json
import secrets
from dataclasses import fields

import pytest
import yaml
from seeding import ENVIRONMENT, complete, plan

from emabench.records import CostReading
from emabench.store import RunStore


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


def test_the_json_holds_all_that_is_known(store, emabench):
    run_id = complete(store, plan(method="moco", ema_scope="projector", name="mine"))
    answer = json.loads(emabench(["show", run_id, "--json"]).out)
    assert (list(answer), answer["schema_version"]) == (["schema_version", "run"], 1)
    run = answer["run"]
    assert (run["id"], run["name"], run["state"]) == (run_id, "mine", "done")
    assert run["spec"] == plan(method="moco", ema_scope="projector").spec
    assert run["command"] == "emabench run --seed 0"
    assert run["results"] == {"top1": 60.0, "knn_top1": 57.0, "online_top1": 55.0}
    assert set(run["cost"]) == {field.name for field in fields(CostReading)}
    assert (run["cost"]["train_s"], run["cost"]["eval_s"]) == (10.0, 2.0)
    assert run["cost"]["queue_s"] is None
    assert run["environment"] == {**vars(ENVIRONMENT)}
    assert [job["kind"] for job in run["jobs"]] == ["pretrain", "linear_eval"]
    assert [attempt["state"] for job in run["jobs"] for attempt in job["attempts"]] == ["done"] * 2
    assert run["jobs"][0]["attempts"][0]["cost"]["total_s"] == 12.0
    assert run["metrics"] == [{"step": 3, "epoch": 1, "name": "loss", "value": 2.0}]


def test_the_sheet_ends_with_the_spec_as_yaml(store, emabench):
    run_id = complete(store, plan(seed=5))
    result = emabench(["show", run_id])
    assert result.code == 0
    assert result.err == ""
    for word in ("emabench run --seed 0", "Test CPU", "1024 MiB", "15.0 s", "60.00"):
        assert word in result.out
    sheet, _, spec = result.out.rpartition("\nspec\n")
    assert yaml.safe_load(spec) == plan(seed=5).spec
    readings = [line.split() for line in sheet.splitlines()]
    for field in fields(CostReading):
        assert any(line and line[0] == field.name for line in readings), field.name
    assert ["energy_j", "-"] in readings


def test_a_failed_attempt_shows_its_reason(store, emabench):
    run = store.add_run(plan())
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    store.queue.fail(claim, reason="the loss is NaN at step 3", cost=None)
    out = emabench(["show", "@last"]).out
    assert "the loss is NaN at step 3" in out
    assert f"needs job {run.pretrain_job}, which failed" in out


def test_a_run_that_waits_can_be_shown(store, emabench):
    run = store.add_run(plan())
    answer = json.loads(emabench(["show", run.id, "--json"]).out)["run"]
    assert (answer["state"], answer["environment"], answer["results"]) == ("queued", None, {})
    assert emabench(["show", run.id]).code == 0


def test_a_run_is_named_by_a_unique_beginning_or_as_the_last(store, emabench, monkeypatch):
    numbers = iter(["abc000000001", "e00000000001", "abd000000002", "e00000000002"])
    with monkeypatch.context() as patch:
        patch.setattr(secrets, "token_hex", lambda size: next(numbers))
        store.add_run(plan(seed=0))
        store.add_run(plan(seed=1))
    for name, expected in (("abc", "abc000000001"), ("@last", "abd000000002")):
        answer = json.loads(emabench(["show", name, "--json"]).out)
        assert answer["run"]["id"] == expected
    result = emabench(["show", "ab"])
    assert (result.code, result.out) == (2, "")
    assert "several run ids begin with 'ab'" in result.err
    assert "abc000000001" in result.hint
    assert "abd000000002" in result.hint


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("ffff", "there is no run 'ffff'", "emabench list shows the runs"),
        ("@last", "has no runs", "emabench run makes one"),
    ],
)
def test_a_run_that_is_not_there(store, emabench, name, message, hint):
    result = emabench(["show", name])
    assert (result.code, result.out) == (3, "")
    assert message in result.err
    assert hint in result.hint
