"""The names of arms hold what tells them apart, and nothing twice."""

from __future__ import annotations

import pytest
from seeding import complete, plan

from emabench.analysis.factor import Factor
from emabench.analysis.selection import select
from emabench.store import RunStore


@pytest.fixture
def selected(folder):
    """Complete a run for each dict of fields, and select the arms."""

    def of(*points):
        with RunStore.open("results.db", mode="write") as store:
            for fields in points:
                complete(store, plan(**fields))
            return select(store.runs(), smoke=False)

    return of


def test_of_fields_that_change_together_one_is_named(selected):
    arms = selected(
        {"epochs": 10, "pretrain__data__train_subset": 1000, "ema_scope": "none"},
        {"epochs": 10, "pretrain__data__train_subset": 1000, "ema_scope": "full"},
        {"epochs": 30, "pretrain__data__train_subset": 2000, "ema_scope": "full"},
    )
    assert [arm.label for arm in arms.arms] == [
        "none epochs=10",
        "full epochs=10",
        "full epochs=30",
    ]
    assert arms.together == ("epochs=10 has train_subset=1000, epochs=30 has train_subset=2000",)
    assert {"pretrain.epochs", "pretrain.data.train_subset"} <= set(arms.differing)


def test_a_field_that_changes_by_itself_is_named_too(selected):
    arms = selected(
        {"epochs": 10, "pretrain__data__train_subset": 1000},
        {"epochs": 10, "pretrain__data__train_subset": 2000},
        {"epochs": 30, "pretrain__data__train_subset": 2000},
    )
    assert len({arm.label for arm in arms.arms}) == 3
    assert all("train_subset=" in arm.label and "epochs=" in arm.label for arm in arms.arms)
    assert arms.together == ()


def test_many_values_that_change_together_are_not_listed(selected):
    arms = selected(*({"epochs": k, "pretrain__data__train_subset": 100 * k} for k in range(1, 6)))
    assert arms.together == ("train_subset changes with epochs",)


def test_the_target_gradient_is_named_only_where_it_tells_arms_apart(selected):
    detached = {"pretrain__ema__target_gradient": "detach"}
    arms = selected(
        {"ema_scope": "none"},
        {"ema_scope": "none", **detached},
        {"ema_scope": "full", "epochs": 3},
        {"ema_scope": "full", "epochs": 2},
    )
    named = {arm.label for arm in arms.arms if "target_gradient" in arm.label}
    assert len(named) == 2
    assert all(label.startswith("none") for label in named)


def test_an_option_is_named_only_for_the_method_in_which_it_differs(selected):
    options = "pretrain__method__options"
    arms = selected(
        {"method": "simclr", options: {"temperature": 0.2}},
        {"method": "simclr", options: {"temperature": 0.5}},
        {"method": "moco", options: {"temperature": 0.1}},
    )
    assert [arm.label for arm in arms.arms] == [
        "moco none",
        "simclr none temperature=0.2",
        "simclr none temperature=0.5",
    ]


def test_a_field_that_is_not_set_is_not_named(selected):
    colours = "pretrain__augmentation__second_view__jitter_probability"
    arms = selected(
        {"method": "ressl", colours: 0.0}, {"method": "simclr"}, {"method": "moco", colours: None}
    )
    labels = [arm.label for arm in arms.arms]
    assert labels == ["moco none", "ressl none jitter_probability=0.0", "simclr none"]


@pytest.mark.parametrize(
    "points",
    [
        [
            {"pretrain__data__train_subset": 1000},
            {"pretrain__data__train_subset": None, "evaluation__data": {"train_subset": 1000}},
        ],
        [{"pretrain__method__options": {"a" * 40 + end: 1}} for end in "xy"],
        [{"pretrain__backbone__name": "resnet18.a_name_as_long_as_timms_" + end} for end in "xy"],
    ],
)
def test_no_two_arms_have_one_label(selected, points):
    labels = [arm.label for arm in selected(*points, {"ema_scope": "full"}).arms]
    assert len(set(labels)) == len(labels) == 3


def test_names_that_begin_alike_are_told_apart(folder):
    names = [f"resnet18-simclr-decay-0.99-{end}" for end in ("cosine", "const")]
    with RunStore.open("results.db", mode="write") as store:
        for name in names:
            for seed in range(2):
                complete(store, plan(name=name, seed=seed), force=True)
        arms = select(store.runs(), smoke=False, by=Factor.parse("name")).arms
    assert sorted(arm.label.rpartition("=")[2] for arm in arms) == sorted(names)
