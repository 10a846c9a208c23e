import pytest

from emabench.errors import SpecError, UnknownNameError
from emabench.spec import BackboneSpec, ExperimentSpec
from emabench.spec.experiment import complete_yaml, parse_yaml
from emabench.spec.settings import (
    experiment_at,
    experiments,
    load_preset,
    overlay,
    parse_assignment,
    preset_names,
    without,
)

METHOD, SCOPE = "pretrain.method.name", "pretrain.ema.scope"


@pytest.mark.parametrize("method", ["simclr", "moco"])
@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_a_spec_that_survives_its_own_file(preset, method):
    spec = experiment_at({METHOD: method}, preset=preset)
    file_fields = parse_yaml(complete_yaml(spec.model_dump(mode="json")), what="file")
    assert spec.pretrain.method.name == method
    assert experiment_at({}, file_fields=file_fields) == spec


def test_the_presets():
    assert preset_names() == ["cifar10", "cifar100", "imagenet100", "quick", "smoke", "stl10"]
    assert all(load_preset(name)["description"] for name in preset_names())
    (quick,) = experiments()
    assert quick == experiment_at({}, preset="quick")
    assert not quick.smoke
    assert experiment_at({}, preset="smoke").smoke
    with pytest.raises(UnknownNameError, match="preset 'qick'") as caught:
        load_preset("qick")
    assert "quick" in caught.value.hint


def test_the_published_recipes_have_no_blur_and_differ_by_method():
    simclr, moco = experiments([(METHOD, ["simclr", "moco"])], preset="cifar10")
    for spec in (simclr, moco):
        assert all(view.blur_probability == 0 for view in spec.pretrain.augmentation.views())
        assert spec.pretrain.epochs == 1000
    assert (simclr.pretrain.optimizer.name, simclr.pretrain.optimizer.lr) == ("lars", 0.4)
    assert (moco.pretrain.optimizer.name, moco.pretrain.optimizer.lr) == ("sgd", 0.3)
    assert moco.pretrain.method.options["queue_size"] == 32768
    assert moco.pretrain.optimizer.options == {}


def test_no_preset_is_the_defaults_of_the_fields():
    assert experiment_at({}, preset="none") == ExperimentSpec()


def test_flags_win_over_the_file_and_the_file_over_the_preset():
    file_fields = {"pretrain": {"epochs": 7, "seed": 3}}
    spec = experiment_at({"pretrain.seed": 9}, file_fields=file_fields)
    assert (spec.pretrain.epochs, spec.pretrain.seed) == (7, 9)
    assert spec.pretrain.batch_size == load_preset("quick")["experiment"]["pretrain"]["batch_size"]


def test_a_file_may_name_its_preset_and_a_flag_wins_over_it():
    assert experiment_at({}, file_fields={"preset": "smoke"}).smoke
    assert not experiment_at({}, preset="quick", file_fields={"preset": "smoke"}).smoke
    with pytest.raises(UnknownNameError, match="preset '5'"):
        experiment_at({}, file_fields={"preset": 5})


def test_another_name_drops_the_options_of_the_old_one():
    spec = experiment_at({"pretrain.backbone.name": "vit_tiny_patch16_224"})
    assert spec.pretrain.backbone.options == {}
    assert spec.pretrain.backbone.stem == "auto"


def test_a_backbone_that_is_named_is_timms_model_of_that_name():
    quick = experiment_at({}).pretrain.backbone
    assert quick.name == "small-resnet"
    assert quick.as_timm().options["layers"] == [1, 1, 1, 1]
    named = experiment_at({"pretrain.backbone.name": "resnet18"}).pretrain.backbone
    assert named == named.as_timm() == BackboneSpec(name="resnet18")
    in_a_file = experiment_at({}, file_fields={"pretrain": {"backbone": {"name": "resnet18"}}})
    assert in_a_file.pretrain.backbone == named


def test_options_set_one_by_one_join_those_below_and_a_whole_set_replaces_them():
    path = "pretrain.backbone.options"
    joined = experiment_at({f"{path}.zero_init_last": True}).pretrain.backbone.as_timm().options
    assert joined["zero_init_last"] is True
    assert joined["layers"] == [1, 1, 1, 1]
    assert experiment_at({path: {}}).pretrain.backbone.options == {}
    file_fields = {"pretrain": {"backbone": {"options": {"drop_rate": 0.1}}}}
    assert experiment_at({path: {"a": 1}}, file_fields=file_fields).pretrain.backbone.options == {
        "a": 1
    }


def test_the_last_axis_runs_fastest():
    axes = [(SCOPE, ["none", "full"]), ("pretrain.seed", [0, 1])]
    found = [(s.pretrain.ema.scope, s.pretrain.seed) for s in experiments(axes)]
    assert found == [("none", 0), ("none", 1), ("full", 0), ("full", 1)]


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("ema.decay=0.9,0.99", "pretrain.ema.decay", [0.9, 0.99]),
        ("ema.scope=no,full", SCOPE, ["no", "full"]),
        ("data.data_dir=2020", "pretrain.data.data_dir", ["2020"]),
        ('data.data_dir="a,b"', "pretrain.data.data_dir", ["a,b"]),
        ("data.data_dir=null", "pretrain.data.data_dir", [None]),
        ("seed=0..2", "pretrain.seed", [0, 1, 2]),
        ("method.options.x=a=b", "pretrain.method.options.x", ["a=b"]),
    ],
)
def test_assignments(text, path, values):
    assert parse_assignment(text) == (path, values)


@pytest.mark.parametrize("text", ["seed", "seed=", "=3", "seed=0,,1", "seed=x..y", "seed=3..1"])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(SpecError) as caught:
        parse_assignment(text)
    assert caught.value.hint


@pytest.mark.parametrize("method", [None, 3, ["moco"], {"a": 1}])
def test_a_method_that_is_no_text_is_refused(method):
    with pytest.raises(SpecError, match=r"pretrain\.method\.name"):
        experiment_at({METHOD: method})


def test_overlay_leaves_its_arguments_alone():
    lower, upper = {"a": {"name": "x", "options": {"o": 1}}}, {"a": {"name": "y"}}
    assert overlay(lower, upper) == {"a": {"name": "y"}}
    assert lower == {"a": {"name": "x", "options": {"o": 1}}}


def test_without_leaves_its_argument_alone():
    fields = {"a": {"b": 1, "c": 2}, "d": 3}
    assert without(fields, ["a.b", "d.x", "e"]) == {"a": {"c": 2}, "d": 3}
    assert without(fields, ["d"]) == {"a": {"b": 1, "c": 2}}
    assert fields == {"a": {"b": 1, "c": 2}, "d": 3}
