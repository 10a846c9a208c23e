"""What a comparison warns of, and whom it names."""

from dataclasses import replace

import pytest
from seeding import ENVIRONMENT, plan, recorded

from emabench.analysis.cautions import Caution, grouped_cautions
from emabench.analysis.comparison import compare
from emabench.analysis.factor import Factor
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import parse_metrics
from emabench.analysis.verdicts import Verdict
from emabench.errors import NotFoundError
from emabench.records import JobState

METRICS = parse_metrics("top1,throughput")
SCOPES = {"none": 60.0, "full": 61.0}


def study(seeds=(0, 1, 2), scopes=SCOPES, **settings):
    return [
        recorded(plan(ema_scope=scope, seed=seed), top1=SCOPES[scope] + seed**2 / 9, **settings)
        if scope == "full"
        else recorded(plan(ema_scope=scope, seed=seed), top1=SCOPES[scope] - seed / 9, **settings)
        for scope in scopes
        for seed in seeds
    ]


def cautions(runs, **settings):
    return {each.code: each for each in compare(runs, METRICS, **settings).cautions}


def changed(**values):
    return replace(ENVIRONMENT, **values)


def test_a_clean_study_has_nothing_to_warn_of():
    assert cautions(study()) == {}


def test_too_few_pairs_are_named():
    found = cautions(study(seeds=(0, 1)))
    assert list(found) == ["few-pairs"]
    assert found["few-pairs"].message.endswith("none (n=2)")
    assert "--seed" in found["few-pairs"].hint


@pytest.mark.parametrize(
    ("code", "values", "words"),
    [
        ("devices", {"device": "Other CPU"}, "2 x Other CPU, 2 x Test CPU"),
        ("devices", {"compiled": True}, "2 x Test CPU, 2 x Test CPU, compiled"),
        ("threads", {"threads": 8}, "2, 8"),
        ("precisions", {"precision": "fp32"}, "bf16, fp32"),
        ("versions", {"versions": {"python": "3.11.0", "torch": "2.7.1"}}, "2.6.0, torch 2.7.1"),
    ],
)
def test_unlike_environments_in_a_pair_are_warned_of(code, values, words):
    runs = [*study(scopes=["full"]), *study(scopes=["none"], environment=changed(**values))]
    found = cautions(runs)
    assert list(found) == [code]
    assert words in found[code].message


def test_two_versions_in_one_mean_are_warned_of_without_a_baseline():
    runs = study(scopes=["full"])
    runs[0] = replace(runs[0], environment=changed(versions={"torch": "2.7.1"}))
    assert "versions" in cautions(runs)


def test_commits_differ_only_where_they_are_known_and_not_the_factor():
    old, new = changed(commit="a" * 40), changed(commit="b" * 40)
    runs = [*study(scopes=["full"], environment=old), *study(scopes=["none"], environment=new)]
    assert "aaaaaaaaaaaa, bbbbbbbbbbbb" in cautions(runs)["commits"].message
    unknown = [*study(scopes=["full"], environment=old), *study(scopes=["none"])]
    assert "commits" not in cautions(unknown)
    by_commit = [
        recorded(replace(plan(seed=s), fingerprint=f"{s}{e.commit}"), top1=60 + s, environment=e)
        for s in range(3)
        for e in (old, new)
    ]
    comparison = compare(by_commit, METRICS, by=Factor.parse("commit"), baseline="a" * 40)
    assert "commits" not in [each.code for each in comparison.cautions]
    assert [row.value for row in comparison.rows] == ["a" * 40, "b" * 40]
    assert comparison.rows[1].metrics["top1"].baseline.n == 3


def test_runs_of_a_dirty_tree_are_named():
    runs = study()
    runs[1] = replace(runs[1], environment=changed(dirty=True))
    assert cautions(runs)["dirty"].runs == (runs[1].id,)


def test_disturbed_costs_are_named_only_where_costs_are_compared():
    runs = study()
    runs[2] = recorded(plan(ema_scope="none", seed=2), top1=59.0, attempts=3)
    busy = MetricValues(neighbours={runs[0].id: ("something",)})
    found = cautions(runs, measured=busy)
    assert found["busy"].runs == (runs[0].id,)
    assert found["interrupted"].runs == (runs[2].id,)
    accuracy = compare(runs, parse_metrics("top1"), measured=busy)
    assert {each.code for each in accuracy.cautions} & {"busy", "interrupted"} == set()


def test_failed_and_collapsed_runs_are_named_with_the_reason():
    runs = study()
    runs += [
        recorded(
            plan(ema_scope="full", seed=9), state=JobState.FAILED, reason="the loss is not finite"
        ),
        recorded(plan(ema_scope="none", seed=3), top1=10.0, embedding_std=0.01),
        recorded(plan(ema_scope="full", seed=3), top1=63.0, embedding_std=0.9),
    ]
    found = cautions(runs)
    assert found["failed"].runs == (runs[-3].id,)
    assert found["failed"].message.endswith("(the loss is not finite)")
    assert found["collapsed"].runs == (runs[-2].id,)


def test_seeds_without_a_partner_are_named_on_both_sides():
    runs = [
        *study(seeds=(0, 1, 2, 4), scopes=["full"]),
        *study(seeds=(0, 1, 2, 3), scopes=["none"]),
    ]
    comparison = compare(runs, METRICS)
    none, _ = comparison.rows
    assert (none.unpaired, none.missing) == ((3,), (4,))
    assert none.metrics["top1"].baseline.seeds == (0, 1, 2)
    message = next(each.message for each in comparison.cautions if each.code == "unpaired")
    assert message == "none and full do not pair up: full lacks seed 3, none lacks seed 4"


def test_no_seed_in_common_is_no_pair_and_no_verdict():
    runs = [*study(seeds=(0, 1), scopes=["full"]), *study(seeds=(2, 3), scopes=["none"])]
    comparison = compare(runs, METRICS, margins={"top1": 0.5})
    none, _ = comparison.rows
    assert none.metrics["top1"].baseline is None
    assert none.headline.answer == "undecided"
    assert "no pair" in none.headline.words
    assert [each.code for each in comparison.cautions] == ["unpaired"]


def test_equal_differences_are_warned_of():
    runs = [recorded(plan(ema_scope=s, seed=n)) for s in SCOPES for n in range(3)]
    assert "none top1" in cautions(runs)["no-spread"].message


def test_runs_that_agree_on_every_image_are_equal_and_no_reason_to_warn():
    runs = [recorded(plan(ema_scope=s, seed=n)) for s in SCOPES for n in range(3)]
    same = MetricValues(correct={(run.id, "top1"): (b"\xa0", 4) for run in runs})
    comparison = compare(runs, parse_metrics("top1"), measured=same)
    cell = comparison.rows[0].metrics["top1"]
    assert (cell.words, comparison.cautions) == ("equal", ())
    # Nor does it matter how many such questions there are.
    three = [recorded(plan(ema_scope=s, seed=n)) for s in (*SCOPES, "stem") for n in range(3)]
    all_same = MetricValues(correct={(run.id, "top1"): (b"\xa0", 4) for run in three})
    comparison = compare(three, parse_metrics("top1"), measured=all_same)
    cells = [row.metrics["top1"] for row in comparison.rows if row.reference is not None]
    assert [cell.corrected for cell in cells] == [cell.verdict for cell in cells]
    assert {cell.verdict for cell in cells} == {Verdict.EQUIVALENT}
    partly = MetricValues(correct=dict(list(same.correct.items())[1:]))
    comparison = compare(runs, parse_metrics("top1"), measured=partly)
    assert comparison.rows[0].metrics["top1"].image_error is None
    same.correct[runs[0].id, "top1"] = (b"\xc0", 4)
    comparison = compare(runs, parse_metrics("top1"), measured=same)
    # One image of four is the spread that equal differences are taken to have at least.
    found = comparison.rows[0].metrics["top1"]
    assert (found.words, found.baseline.resolution) == ("inconclusive", 25.0)
    assert comparison.cautions == ()
    unknown = compare(runs, parse_metrics("top1"))
    assert unknown.rows[0].metrics["top1"].words == "inconclusive"
    assert [each.code for each in unknown.cautions] == ["no-spread"]


def test_own_warnings_of_runs_are_passed_on_once():
    runs = [replace(run, warnings=("it saves nothing",)) for run in study()]
    assert cautions(runs)["run"].message == "it saves nothing (6 runs)"


def test_one_arm_alone_says_that_nothing_is_compared():
    comparison = compare(study(scopes=["none"]), METRICS, by=Factor.parse("epochs"))
    (found,) = [each for each in comparison.cautions if each.code == "no-baseline"]
    assert found.message == "nothing to compare: all runs have epochs 100"
    assert "--by" in found.hint


def test_nan_is_unknown_and_a_metric_that_nobody_has_is_an_error():
    nan = float("nan")
    runs = [recorded(plan(ema_scope=s, seed=n), top1=nan) for s in SCOPES for n in range(3)]
    comparison = compare(runs, METRICS)
    assert comparison.rows[0].metrics["top1"].values == (None, None, None)
    found = next(each for each in comparison.cautions if each.code == "no-values")
    assert found.message == "no run has top1"
    assert comparison.to_json()["rows"][0]["metrics"]["top1"]["mean"] is None
    with pytest.raises(NotFoundError, match="no run has energy or nothing"):
        compare(runs, parse_metrics("energy,max:nothing"))


def test_smoke_runs_are_counted_when_left_out():
    runs = [*study(), recorded(plan(smoke=True))]
    comparison = compare(runs, METRICS)
    assert comparison.notes[0] == "1 smoke run left out, see --smoke"
    assert [each.why for each in comparison.left_out] == ["smoke"]
    assert "smoke" not in [each.code for each in comparison.cautions]
    asked = {each.code: each for each in compare(runs, METRICS, smoke=True).cautions}
    assert asked["smoke"].runs == (runs[-1].id,)
    assert asked["smoke"].message.startswith("1 run is a smoke test")


def test_each_kind_is_one_group_in_the_order_of_its_first_warning():
    found = grouped_cautions(
        [
            Caution("unpaired", "a lacks seed 1", hint="run it"),
            Caution("busy", "3 runs trained beside other work", hint="wait"),
            Caution("unpaired", "b lacks seed 2", hint="run it"),
            Caution("new", "one thing"),
            Caution("new", "another thing", hint="do that"),
        ]
    )
    assert [group.code for group in found] == ["unpaired", "busy", "new"]
    unpaired, busy, new = found
    assert unpaired.heading == "2 arms do not pair up with their baselines"
    assert unpaired.messages == ("a lacks seed 1", "b lacks seed 2")
    assert unpaired.hints == ("run it",)
    assert busy.heading == busy.messages[0]
    assert new.heading == "one thing; and 1 more of this kind"
    assert new.hints == ("do that",)
