"""``compare``: its rows, its JSON, what it says beside them, and what it refuses."""

import json

import pytest
from seeding import ENVIRONMENT, complete, plan

from emabench.store import RunStore


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


def rows_of(result):
    assert result.code == 0, result.err
    return json.loads(result.out)["rows"]


def test_the_json_has_the_documented_keys_and_no_others(store, emabench):
    for seed in (1, 0):
        complete(store, plan(method="moco", ema_scope="none", seed=seed), top1=60.5 + seed)
        complete(store, plan(method="moco", ema_scope="full", seed=seed), top1=61.0 + seed)
    answer = json.loads(emabench(["compare", "--json"]).out)
    assert answer["schema_version"] == 1
    assert [each["code"] for each in answer["cautions"]] == ["few-pairs", "no-spread"]
    none, full = answer["rows"]
    assert (full["method"], full["ema_scope"], full["n"], full["seeds"]) == (
        *("moco", "full", 2, [0, 1]),
    )
    assert full["metrics"] == {
        "top1": {"mean": 61.5, "sd": pytest.approx(0.5**0.5), "values": [61.0, 62.0]},
        "throughput": {"mean": 1000.0, "sd": 0.0, "values": [1000.0, 1000.0]},
    }
    compared = none["metrics"]["top1"]["baseline"]
    assert {key: compared[key] for key in ("kind", "value", "low", "high", "n")} == {
        **{"kind": "difference", "value": -0.5, "low": -0.5, "high": -0.5, "n": 2},
    }


def test_only_fields_that_differ_are_columns(store, emabench):
    complete(store, plan(ema_scope="full", pretrain__ema__decay=0.9))
    complete(store, plan(ema_scope="full", pretrain__ema__decay=0.99))
    rows = rows_of(emabench(["compare", "--json"]))
    assert [row["pretrain.ema.decay"] for row in rows] == [0.9, 0.99]
    assert all("pretrain.ema.schedule" not in row for row in rows)
    heading = emabench(["compare", "--csv"]).out.splitlines()[0]
    assert heading.startswith("method,ema_scope,pretrain.ema.decay,n,seeds,top1_mean,top1_sd")
    assert emabench(["compare", "--markdown"]).out.startswith("| ema_scope | decay | n |")


def test_the_control_arm_is_a_row_of_its_own(store, emabench):
    detach = {"pretrain__ema__target_gradient": "detach"}
    complete(store, plan(method="simclr", ema_scope="none"), top1=60.0)
    complete(store, plan(method="simclr", ema_scope="none", **detach), top1=58.0)
    rows = rows_of(emabench(["compare", "--json"]))
    assert [row["ema_scope"] for row in rows] == ["none", "none"]
    control = next(row for row in rows if row["pretrain.ema.target_gradient"] == "detach")
    assert control["metrics"]["top1"]["values"] == [58.0]
    assert control["metrics"]["top1"]["baseline"]["value"] == pytest.approx(-2.0)


def test_notes_go_to_stderr_and_stdout_keeps_only_data(store, emabench):
    complete(store, plan(seed=0), top1=50.0)
    complete(store, plan(seed=0), top1=70.0, force=True)
    store.add_run(plan(seed=1))
    result = emabench(["compare", "--json", "--metric", "top1,peak_memory"])
    assert rows_of(result)[0]["metrics"]["top1"]["values"] == [70.0]
    assert "note: 1 queued left out" in result.err
    assert "of each seed the newest counts" in result.err
    assert "peak_memory: peak resident memory" in result.err


def test_ratios_of_two_machines_come_with_a_warning(store, emabench):
    other = ENVIRONMENT.__class__(**{**vars(ENVIRONMENT), "device": "Another CPU"})
    complete(store, plan(ema_scope="none"))
    complete(store, plan(ema_scope="full"), environment=other)
    result = emabench(["compare", "--json"])
    codes = [each["code"] for each in json.loads(result.out)["cautions"]]
    assert codes == ["few-pairs", "devices"]
    assert "warning: costs were measured on different devices: Another CPU, Test CPU" in result.err
    assert "different devices" not in emabench(["compare", "--metric", "top1"]).err


def test_unknown_values_are_null_in_json_and_a_dash_in_the_table(store, emabench):
    complete(store, plan(), throughput=None)
    cell = rows_of(emabench(["compare", "--json"]))[0]["metrics"]["throughput"]
    assert cell == {"mean": None, "sd": None, "values": [None]}
    line = emabench(["compare", "--markdown"]).out.splitlines()[-1]
    assert "| 60.00 | baseline | - | baseline |" in line


@pytest.mark.parametrize(
    ("options", "code", "message", "hint"),
    [
        (["--metric", "throughputt"], 2, "unknown metric 'throughputt'", "did you mean throughput"),
        (["--metric", "top1,"], 2, "empty part", "top1,throughput"),
        (["--baseline", "projectr"], 2, "unknown baseline 'projectr'", "choose one of: full, none"),
        (["--where", "seed"], 2, "has no '='", "--where ema_scope=full"),
        (["--json", "--csv"], 2, "exclude each other", "choose one of"),
        (["--where", "seed=77"], 3, "no run fits", "loosen --where"),
        (["--name", "nobody"], 3, "no run fits", "loosen --where"),
    ],
)
def test_a_wrong_request_is_one_line_with_a_hint(store, emabench, options, code, message, hint):
    complete(store, plan(ema_scope="none"))
    complete(store, plan(ema_scope="full"))
    result = emabench(["compare", *options])
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert hint in result.hint


def test_a_store_of_smoke_runs_says_how_to_compare_them(store, emabench):
    complete(store, plan(smoke=True))
    result = emabench(["compare"])
    assert (result.code, result.out) == (3, "")
    assert "only smoke runs left out" in result.err
    assert "--smoke" in result.hint
    assert rows_of(emabench(["compare", "--smoke", "--json"]))[0]["n"] == 1


def test_an_empty_store_has_nothing_to_compare(store, emabench):
    result = emabench(["compare"])
    assert (result.code, result.out) == (3, "")
    assert "nothing to compare" in result.err
    assert "emabench run makes one" in result.hint


def test_a_store_without_a_finished_run_says_what_it_holds(store, emabench):
    store.add_run(plan())
    result = emabench(["compare"])
    assert (result.code, result.out) == (3, "")
    assert "1 queued left out, no run is done" in result.err
