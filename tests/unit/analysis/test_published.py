"""Published accuracies: every row has a source, and none is called equal to a run."""

import pytest
from seeding import plan, recorded

from emabench.analysis.comparison import compare
from emabench.analysis.metrics import parse_metrics
from emabench.analysis.published.nearest_published import nearest_published
from emabench.analysis.published.published_rows import (
    find_published,
    letters,
    published_rows,
)
from emabench.errors import UnknownNameError

AS_PUBLISHED = {
    "pretrain__data__dataset": "cifar10",
    "backbone": "resnet18",
    "epochs": 200,
    "batch_size": 512,
}

WITHOUT_EMA = {
    *("act", "barlowtwins", "beit", "dcl", "dclw", "deepclusterv2", "empssl200patches"),
    *("empssl20patches", "fastsiam", "igpt", "lejepa", "mae", "maskfeat", "nnclr", "pirl"),
    *("simclr", "simclrdcl", "simclrdclw", "simmim", "simsiam", "supcon", "swav", "swavqueue"),
    *("vibcreg", "vicreg", "vicregl", "wmse"),
}


def neighbours(metric, *, method="simclr", ema_scope="none", **fields):
    planned = plan(method=method, ema_scope=ema_scope, **{**AS_PUBLISHED, **fields})
    runs = [recorded(planned, knn_top1=84.0, online_top1=80.0)]
    return nearest_published(compare(runs, parse_metrics(metric)))


def test_every_row_has_a_source_and_an_accuracy():
    rows = published_rows()
    assert len(rows) == 374
    for row in rows:
        assert row.source.strip()
        assert 0 < row.top1 < 100
        assert row.epochs > 0
        assert row.classifier in ("linear", "kNN", "finetuned")


def test_of_every_method_it_is_known_whether_it_is_published_with_an_average():
    scopes = {letters(row.method): row.scope for row in published_rows()}
    without = {method for method, scope in scopes.items() if scope == "none"}
    assert without == WITHOUT_EMA
    assert scopes["ijepa"] == scopes["moco"] == scopes["dinov2"] == "full"


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("barlow_twins", "Barlow Twins"),
        ("moco", "MoCo V2+"),
        ("mocov3", "MoCo V3"),
        ("wmse", "W-MSE 4"),
        ("resnet18", "ResNet-18"),
        ("vit_small_patch16_224", "ViT-S/16"),
        ("cifar10", "CIFAR-10"),
    ],
)
def test_names_are_read_in_any_spelling(here, there):
    assert letters(here) == letters(there)
    assert letters("mocov3") != letters("moco")
    assert letters("simclr") != letters("SimCLR* + DCL")


def test_the_choice_narrows_and_an_unknown_name_is_said():
    some = find_published("byol", "cifar10", "resnet18")
    assert some
    assert {(row.method, row.dataset, row.backbone) for row in some} == {
        ("BYOL", "CIFAR-10", "ResNet-18")
    }
    with pytest.raises(UnknownNameError) as unknown:
        find_published(method="byoll")
    assert unknown.value.hint == "did you mean byol?"


def test_the_nearest_setting_comes_first_and_says_what_differs_still():
    first, *others = neighbours("knn_top1")
    assert (first.row.epochs, first.row.batch, first.row.classifier) == (200, "512", "kNN")
    # The k is the same; even so it is the best epoch there.
    assert first.differing == ("the last epoch, not the best one by the test images",)
    assert all(len(first.differing) <= len(other.differing) for other in others)
    assert (first.mean, first.n) == (84.0, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ema_scope": "projector"}, "EMA scope projector, not none"),
        ({"pretrain__data__dataset": "synthetic"}, "data synthetic, not CIFAR-10"),
        ({"pretrain__data__train_subset": 15000}, "trained on 15,000 images, not all"),
        ({"backbone": "resnet50"}, "backbone resnet50, not ResNet-18"),
        ({"epochs": 199}, "199 epochs, not 200"),
        ({"batch_size": 511}, "batch 511, not 512"),
        ({"evaluation__knn__k": 19}, "kNN k=19, not 200"),
        ({"evaluation__network": "target"}, "network target"),
    ],
)
def test_each_field_that_differs_is_named(change, words):
    assert any(words in each.differing for each in neighbours("knn_top1", **change))
    assert not any(words in each.differing for each in neighbours("knn_top1"))


def test_probes_stand_beside_probes_of_their_kind():
    (*linear,) = neighbours("top1")
    assert {each.row.classifier for each in linear} == {"linear"}
    online = [each for each in neighbours("online_top1") if each.row.is_online]
    assert online
    assert not any("online" in words for each in online for words in each.differing)
    offline = [each for each in linear if each.row.is_online]
    assert all("not an online probe" in each.differing for each in offline)


def test_what_nobody_publishes_has_nothing_beside_it():
    assert neighbours("top1", method="diet") == ()
    assert neighbours("throughput") == ()
