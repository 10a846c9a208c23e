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
    assert [each["code"] for each in answer["cautions"]] == ["few-pairs"]
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
        **{"kind": "difference", "value": -0.5, "n": 2},
        # Nine test images: one is the least spread of differences that happen to be equal.
        "low": pytest.approx(-0.5 - 12.706 * (100 / 9) / 2**0.5, abs=0.01),
        "high": pytest.approx(-0.5 + 12.706 * (100 / 9) / 2**0.5, abs=0.01),
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
    assert "the newest of each seed counts" in result.err
    assert "peak_memory: peak resident memory" in result.err


def test_ratios_of_two_machines_come_with_a_warning(store, emabench):
    other = ENVIRONMENT.__class__(**{**vars(ENVIRONMENT), "device": "Another CPU"})
    complete(store, plan(ema_scope="none"))
    complete(store, plan(ema_scope="full"), environment=other)
    result = emabench(["compare", "--json"])
    codes = [each["code"] for each in json.loads(result.out)["cautions"]]
    assert codes == ["few-pairs", "devices"]
    assert "warning: costs were measured on different devices: 2 x Another CPU" in result.err
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
        (["--where", "seed=77"], 3, "no run matches", "loosen --where"),
        (["--name", "nobody"], 3, "no run matches", "loosen --where"),
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


@pytest.fixture
def arms(store):
    """Three seeds of two arms; the projector's accuracy is 0.4 lower and its speed 1.4 times."""
    for seed in range(3):
        complete(
            store,
            plan(ema_scope="full", seed=seed),
            top1=61.0 + seed,
            throughput=700.0,
            images=9000,
        )
        complete(
            store,
            plan(ema_scope="projector", seed=seed, smoke=False),
            top1=60.6 + seed + (seed - 1) / 20,
            throughput=980.0 + seed,
            images=9000,
        )
    return store


def test_the_answer_stands_below_the_tables(arms, emabench):
    result = emabench(["compare", "--margin", "top1=0.6"])
    assert "projector: cheaper and not worse than full: yes (throughput 1.401" in result.out
    assert "equivalent within ±0.6" in result.out
    assert "0.25 (0.25)" in result.out
    plain = emabench(["compare"])
    assert "--margin top1=0.5, before the runs" in plain.err
    assert "cheaper and not worse than full: no" in plain.out


def test_a_gate_that_fails_exits_with_5_and_still_prints(arms, emabench):
    passed = emabench(["compare", "--fail-if", "top1:-0.5", "--fail-if", "throughput:-5%"])
    assert passed.code == 0
    assert "gate passed: top1:-0.5: projector -0.40" in passed.err
    failed = emabench(["compare", "--json", "--metric", "throughput", "--fail-if", "top1:-0.1"])
    assert failed.code == 5
    assert "1 of 1 gates failed" in failed.err
    answer = json.loads(failed.out)
    assert [each["name"] for each in answer["metrics"]] == ["throughput", "top1"]
    (gate,) = answer["gate"]
    assert (gate["rule"], gate["label"], gate["passed"]) == ("top1:-0.1", "projector", False)
    assert gate["change"] == pytest.approx(-0.4)


def test_other_factors_runs_columns_and_forms(arms, emabench):
    table = emabench(["compare", "--latex", "--columns", "ema_scope,n,top1:change"]).out
    assert table.splitlines()[3] == r"ema\_scope & n & top1 $-$ full \\"
    runs = emabench(["compare", "--csv", "--runs"]).out.splitlines()
    assert len(runs) == 7
    assert runs[0].startswith("label,method,ema_scope,seed,run,top1,top1_difference,throughput,")
    assert "seed" in emabench(["compare", "--runs"]).out
    other = json.loads(emabench(["compare", "--by", "epochs", "--json"]).out)
    assert (other["by"], other["baseline"]) == ("epochs", None)
    refused = emabench(["compare", "--json", "--columns", "n"])
    assert (refused.code, refused.out) == (2, "")
    bootstrap = json.loads(emabench(["compare", "--interval", "bca", "--json"]).out)
    assert bootstrap["interval"] == "bca"


def test_a_study_of_the_package_brings_its_margin_and_baseline(store, emabench):
    from dataclasses import replace

    for seed in range(2):
        for scope in ("none", "full"):
            planned = replace(plan(ema_scope=scope, seed=seed), study="momentum-free-boost")
            complete(store, planned)
    answer = json.loads(emabench(["compare", "--study", "momentum-free-boost", "--json"]).out)
    assert answer["baseline"] == "none"
    assert {each["name"]: each["margin"] for each in answer["metrics"]} == {
        **{"top1": 0.5, "throughput": None},
    }
    early = emabench(["compare", "--study", "momentum-free-boost", "--where", "ema_scope=full"])
    assert early.code == 3
    assert "no finished run has ema_scope none, the baseline of study" in early.err
    other = ["compare", "--study", "momentum-free-boost", "--baseline", "full", "--json"]
    assert json.loads(emabench([*other, "--margin", "top1=0.2"]).out)["metrics"][0]["margin"] == 0.2


@pytest.mark.parametrize(
    ("options", "code", "message", "hint"),
    [
        (["--metric", "energy"], 3, "no run has energy", "the runs have knn_top1"),
        (["--metric", "grad_cv:layer9"], 3, "no run has grad_cv:layer9", "the runs have"),
        (["--by", "seed"], 2, "paired by their seeds", "--runs"),
        (["--margin", "top1"], 2, "has no '='", "top1=0.5"),
        (["--fail-if", "top1:0.5"], 2, "needs a sign", "--fail-if"),
        (["--columns", "nope"], 2, "unknown column 'nope'", "for example answer"),
        (["--latex", "--csv"], 2, "exclude each other", "choose one"),
    ],
)
def test_more_wrong_requests_are_one_line_with_a_hint(
    store, emabench, options, code, message, hint
):
    complete(store, plan(ema_scope="none"))
    result = emabench(["compare", *options])
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert hint in result.err


def test_only_failed_runs_say_where_the_reason_is(store, emabench):
    claim = store.queue.claim(store.add_run(plan()).pretrain_job, environment=ENVIRONMENT)
    store.queue.fail(claim, reason="the loss is not finite", cost=None)
    while (claim := store.queue.claim_next("cpu")) is not None:
        store.queue.fail(claim, reason="the loss is not finite", cost=None)
    result = emabench(["compare"])
    assert (result.code, result.out) == (3, "")
    assert "nothing to compare: 1 failed left out, no run is done" in result.err
    assert "emabench logs" in result.hint


def test_a_report_of_means_is_a_table_to_paste(emabench, store):
    for scope in ("none", "full"):
        complete(store, plan(ema_scope=scope))
    markdown = emabench(["compare", "--report", "mean-sd", "--markdown"]).out.splitlines()
    assert markdown[0].startswith("| ")
    assert markdown[-1].startswith("mean ± sd over n seeds")
    assert " * " not in markdown[-1]
    latex = emabench(["compare", "--report", "mean-sd", "--latex"]).out.splitlines()
    assert latex[-2] == r"\end{tabular}"
    assert latex[-1].startswith("% mean ± sd")
    assert "cheaper" not in emabench(["compare", "--report", "mean-sd"]).out
    for option in (["--json"], ["--csv"], ["--runs"], ["--columns", "n"], ["--bench"]):
        result = emabench(["compare", "--report", "mean-sd", *option])
        assert (result.code, result.out) == (2, "")
        assert result.hint
