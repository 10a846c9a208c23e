import pytest

from emabench.errors import SpecError
from emabench.spec.paths import SHORT_NAMES, all_paths, full_path, is_text, nest, value_at


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("ema_scope", "pretrain.ema.scope"),
        ("ema-scope", "pretrain.ema.scope"),
        ("ema.decay", "pretrain.ema.decay"),
        ("pretrain.ema.decay", "pretrain.ema.decay"),
        ("evaluation.knn.k", "evaluation.knn.k"),
        ("smoke", "smoke"),
        ("method", "pretrain.method.name"),
        ("method.options.temperature", "pretrain.method.options.temperature"),
        ("backbone.options", "pretrain.backbone.options"),
        ("ema", "pretrain.ema"),
    ],
)
def test_short_and_complete_paths(text, path):
    assert full_path(text) == path


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("ema.dekay", "ema.decay"),
        ("epoch", "epochs"),
        ("crop_scale", "augmentation.crop_scale"),
        ("optimizer.lrr", "optimizer.lr"),
        ("pretrain.ema..scope", "ema.scope"),
    ],
)
def test_an_unknown_path_gets_a_near_one(text, near):
    with pytest.raises(SpecError, match="unknown field") as caught:
        full_path(text)
    assert near in caught.value.hint


@pytest.mark.parametrize("text", ["", ".", "pretrain.", "epochs.x", "ema.scope.x", "options.x"])
def test_what_is_no_path_is_refused(text):
    with pytest.raises(SpecError, match="unknown field"):
        full_path(text)


def test_every_path_is_its_own_full_path():
    paths = list(all_paths())
    assert [full_path(path) for path in paths] == paths
    assert set(SHORT_NAMES.values()) <= set(paths)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pretrain.method.name", True),
        ("pretrain.data.data_dir", True),
        ("pretrain.data.crop", True),
        ("pretrain.precision", True),
        ("pretrain.ema.scope", True),
        ("pretrain.epochs", False),
        ("pretrain.data.train_subset", False),
        ("pretrain.augmentation.crop_scale", False),
        ("pretrain.method.options.x", False),
        ("pretrain.ema", False),
        ("smoke", False),
    ],
)
def test_which_fields_hold_text(path, text):
    assert is_text(path) is text


def test_nested_paths_do_not_change_the_values_they_were_given():
    group = {"decay": 0.9}
    fields = nest({"pretrain.ema": group, "pretrain.ema.scope": "full"})
    assert fields == {"pretrain": {"ema": {"decay": 0.9, "scope": "full"}}}
    assert group == {"decay": 0.9}


def test_a_path_below_a_plain_value_replaces_it():
    assert nest({"pretrain.ema": 5, "pretrain.ema.scope": "full"}) == {
        "pretrain": {"ema": {"scope": "full"}}
    }


def test_value_at_a_path_that_leads_nowhere_is_none():
    fields = {"pretrain": {"ema": {"scope": "full"}}}
    assert value_at(fields, "pretrain.ema.scope") == "full"
    assert value_at(fields, "pretrain.ema.scope.x") is None
    assert value_at(fields, "evaluation") is None
