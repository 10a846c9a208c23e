"""Conditions on runs, and the names that lists are sorted by: their meaning, and their limits."""

import pickle
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from seeding import plan, recorded

from emabench.errors import SpecError, UsageError
from emabench.records import CostReading, JobState
from emabench.spec import BackboneSpec
from emabench.store.runs.condition import parse_condition
from emabench.store.runs.run_field import RunField, sorted_runs
from emabench.store.runs.run_query import run_query

RUN = replace(
    recorded(
        plan(method="moco", ema_scope="full", seed=3, backbone="resnet18", name="First try"),
        top1=61.5,
        few_shot_1=30.0,
    ),
    tags=("good", "paper"),
    note="Noisy after epoch 3",
    cost=CostReading(total_s=90.0),
)
BARE = recorded(plan(seed=1), top1=None, throughput=None, state=JobState.QUEUED)


@pytest.mark.parametrize(
    "condition",
    [
        "method=moco", "method!=simclr", "method~MOC", "backbone~net18", "seed=3", "seed>2",
        "seed>=3", "seed<=3", "seed<4", "seed!=2", "ema.decay>0.9", "top1=61.5", "top1>61",
        "top1<62", "top1!=60", "few_shot_1>=30", "total_s>60", "name=First try", "name~first",
        "tag=good", "tag=paper", "tag!=bad", "tag~pap", "note~noisy", "state=done",
        "state!=queued", "state~on", "created>2025-12-31", "created<2026-02-01", " top1 > 61 ",
        "precision=bf16", "precision!=fp32", "id~" + RUN.id[2:8], "note!=null", "backbone!=resnet8",
        "throughput=null", "study=null",
    ],
)  # fmt: skip
def test_a_condition_that_is_met(condition):
    assert parse_condition(condition)(RUN)


@pytest.mark.parametrize(
    "condition",
    [
        "method=simclr", "method!=moco", "method~x", "seed>3", "seed<3", "seed!=3", "top1>61.5",
        "top1!=61.5", "few_shot_10>0", "tag=pap", "tag!=good", "note~quiet", "state=queued",
        "created<2025-12-31", "precision!=bf16", "name=first try", "note=null", "throughput>0",
        "throughput<0", "total_s=null", "study=mine", "study~m", "backbone!=resnet18",
    ],
)  # fmt: skip
def test_a_condition_that_is_not_met(condition):
    assert not parse_condition(condition)(RUN)


def test_of_several_conditions_on_a_field_all_must_hold():
    query = run_query(["method=moco", "method=simclr", "method=moco", "backbone=small-resnet"])
    assert (query.where["pretrain.method.name"], len(query.tests)) == ("moco", 1)
    assert [met(RUN) for met in query.tests] == [False]
    network = BackboneSpec(name="small-resnet").as_timm().model_dump(mode="json")
    small = recorded(plan(pretrain__backbone=network))
    assert parse_condition("backbone=small-resnet")(small)


@pytest.mark.parametrize("sign", [">", "<", ">=", "<=", "~"])
def test_what_is_unknown_is_neither_more_nor_less(sign):
    assert not parse_condition(f"top1{sign}0")(BARE)
    assert not parse_condition("name~n")(BARE)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("seed", "has no '='", "ema_scope=full"),
        ("=3", "has no '='", "ema_scope=full"),
        ("topl>3", "unknown field 'topl'", "or top1?"),
        ("ema_scoop=full", "unknown field", "did you mean ema_scope"),
        ("ema_scoop>3", "unknown field", "did you mean ema_scope"),
        ("method>3", "method is text", "~ for a part"),
        ("tag>3", "tag is text", "~ for a part"),
        ("top1>high", "is no number", "top1>80"),
        ("top1=high", "is no number", "top1>80"),
        ("created>yesterday", "is no date", "created>2026-01-31"),
        ("state=don", "unknown state", "did you mean done"),
        ("seed=1,2", "names several values", "name one"),
    ],
)
def test_a_condition_that_means_nothing(text, words, hint):
    with pytest.raises(UsageError) as caught:
        parse_condition(text)
    assert words in caught.value.message
    assert hint in (caught.value.hint or "")


def test_the_first_sign_counts():
    condition = parse_condition("name=a>b")
    assert (condition.field.name, condition.sign, condition.value) == ("name", "=", "a>b")


def test_what_a_query_asks_for_goes_through_a_pickle():
    query = run_query(["method=moco", "top1>60", "tag=good"])
    assert dict(query.where) == {"pretrain.method.name": "moco"}
    again = pickle.loads(pickle.dumps(query))
    assert again == query
    assert [test(RUN) for test in again.tests] == [True, True]


def test_a_mapping_means_the_same():
    query = run_query({"tag": "good", "top1": 61.5, "seed": 3, "note": None})
    assert dict(query.where) == {"pretrain.seed": 3}
    assert [test(RUN) for test in query.tests] == [True, True, False]


def test_runs_are_sorted_and_what_is_unknown_is_last():
    known = ((0, "none", 61), (1, "full", 60), (2, "none", 62), (3, "full", None))
    runs = [recorded(plan(seed=seed, ema_scope=scope), top1=top1) for seed, scope, top1 in known]

    def seeds(text):
        return [RunField.parse("seed").value(run) for run in sorted_runs(runs, text)]

    assert seeds("top1") == [1, 0, 2, 3]
    assert seeds("-top1") == [2, 0, 1, 3]
    assert seeds("ema_scope,-top1") == [1, 3, 2, 0]
    assert seeds("-seed") == [3, 2, 1, 0]
    with pytest.raises(SpecError):
        sorted_runs(runs, "topl")


def test_of_several_tags_the_value_is_their_text():
    assert RunField.parse("tag").value(RUN) == "good paper"
    assert RunField.parse("tag").value(BARE) is None
    assert RunField.parse("created").value(RUN) == datetime(2026, 1, 1, tzinfo=UTC)
