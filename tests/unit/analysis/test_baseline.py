"""The baseline of an arm is the arm that differs in nothing but the scope."""

import pytest
from seeding import complete, plan

from emabench.analysis.comparison import compare
from emabench.analysis.factor import Factor
from emabench.analysis.metrics import parse_metrics
from emabench.errors import UnknownNameError
from emabench.store import RunStore

METRICS = parse_metrics("top1,throughput")


@pytest.fixture
def store(tmp_path):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as opened:
        yield opened


def unpaired(comparison):
    return [each.message for each in comparison.cautions if each.code == "no-baseline"]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("device_kind", "device"),
        ("precision", "precision"),
        ("threads", "threads"),
        ("data", "data"),
    ],
)
def test_an_arm_of_another_identity_has_no_partner_and_a_warning_says_why(store, name, word):
    complete(store, plan(ema_scope="full"))
    complete(store, plan(ema_scope="none"))
    complete(store, plan(ema_scope="none", identity={name: "other"}))
    found = compare(store.runs(), METRICS)
    assert [list(row.differing) for row in found.rows] == [[name]] * 3
    partners = {
        row.differing[name]: row.metrics["throughput"].baseline
        for row in found.rows
        if row.ema_scope == "none"
    }
    assert partners.pop("other") is None
    assert [partner.value for partner in partners.values()] == [1.0]
    (message,) = unpaired(found)
    assert word in message


def test_the_partner_has_the_same_decay_where_there_are_several(store):
    for scope, decay, top1 in (
        ("full", 0.9, 60.0),
        ("full", 0.99, 64.0),
        ("projector", 0.9, 61.0),
        ("projector", 0.99, 66.0),
    ):
        complete(store, plan(ema_scope=scope, pretrain__ema__decay=decay), top1=top1)
    found = compare(store.runs(), METRICS)
    differences = {
        row.differing["pretrain.ema.decay"]: row.metrics["top1"].baseline.value
        for row in found.rows
        if row.ema_scope == "projector"
    }
    assert differences == {0.9: 1.0, 0.99: 2.0}
    assert unpaired(found) == []


def test_another_decay_is_no_partner_where_it_has_a_meaning(store):
    complete(store, plan(ema_scope="full", pretrain__ema__decay=0.9))
    complete(store, plan(ema_scope="projector", pretrain__ema__decay=0.99))
    found = compare(store.runs(), METRICS)
    assert [row.metrics["top1"].baseline for row in found.rows] == [None, None]


def test_of_several_possible_baselines_the_nearest_counts(store):
    # The decay means nothing in none; the baseline that has the same one is still the better.
    for scope, decay, top1 in (("full", 0.9, 60.0), ("full", 0.99, 64.0), ("none", 0.9, 61.0)):
        complete(store, plan(ema_scope=scope, pretrain__ema__decay=decay), top1=top1)
    found = compare(store.runs(), METRICS)
    (none,) = (row for row in found.rows if row.ema_scope == "none")
    assert none.metrics["top1"].baseline.value == 1.0
    assert unpaired(found) == []


def test_a_scope_that_no_run_has_is_refused_and_encoder_is_full(store):
    complete(store, plan(ema_scope="full"))
    assert compare(store.runs(), METRICS, baseline="encoder").baseline == "full"
    with pytest.raises(UnknownNameError) as caught:
        compare(store.runs(), METRICS, baseline="fall")
    assert caught.value.exit_code == 2
    assert "did you mean full" in caught.value.hint


def test_a_baseline_may_be_written_without_its_point(store):
    for factor in (1.0, 10.0):
        complete(store, plan(ema_scope="none", pretrain__optimizer__predictor_lr=factor))
    by = Factor.parse("optimizer.predictor_lr")
    found = compare(store.runs(), METRICS, by=by, baseline="1")
    assert found.baseline == 1.0
    with pytest.raises(UnknownNameError):
        compare(store.runs(), METRICS, by=by, baseline="true")


def test_local_views_are_compared_by_their_number_with_none(store):
    complete(store, plan(ema_scope="full"))
    local = {"count": 4, "size": 16}
    complete(store, plan(ema_scope="full", pretrain__augmentation__local_views=local))
    by = Factor.parse("augmentation.local_views.count")
    found = compare(store.runs(), METRICS, by=by, baseline="0")
    assert not unpaired(found)
    assert found.baseline == 0
