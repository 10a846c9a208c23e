import pytest
from pydantic import ValidationError

from emabench.errors import SpecError
from emabench.spec import AugmentationSpec, BackboneSpec, ExperimentSpec, MethodSpec, PretrainSpec


@pytest.mark.parametrize(
    ("fields", "message", "hint"),
    [
        ({"pretrain": {"epoch": 3}}, "unknown field 'pretrain.epoch'", "did you mean epochs?"),
        ({"pretrian": {}}, "unknown field 'pretrian'", "did you mean pretrain?"),
        ({"pretrain": {"epochs": -1}}, "pretrain.epochs=-1", "spec schema"),
        ({"pretrain": {"seed": -1}}, "pretrain.seed=-1", "spec schema"),
        ({"pretrain": {"batch_size": 1}}, "pretrain.batch_size=1", "spec schema"),
        ({"pretrain": {"epochs": 1.5}}, "pretrain.epochs=1.5", "spec schema"),
        ({"pretrain": 3}, "pretrain=3", "spec schema"),
        ({"pretrain": {"data": None}}, "pretrain.data=None", "spec schema"),
        ({"pretrain": {"precision": "fp23"}}, "precision='fp23'", "did you mean fp32"),
        ({"pretrain": {"data": {"crop": "centre"}}}, "crop='centre'", "did you mean center?"),
        ({"pretrain": {"ema": {"decay": 1.1}}}, "ema.decay=1.1", "spec schema"),
        ({"pretrain": {"ema": {"decay": float("nan")}}}, "ema.decay=nan", "spec schema"),
        (
            {"pretrain": {"ema": {"decay": 0.9, "final_decay": 0.8}}},
            "final_decay 0.8 is below",
            "spec schema",
        ),
        ({1: 2}, "Keys should be strings", "spec schema"),
    ],
)
def test_wrong_fields_are_named_with_a_hint(fields, message, hint):
    with pytest.raises(SpecError) as caught:
        ExperimentSpec.parse(fields)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


def test_the_source_is_named():
    with pytest.raises(SpecError, match=r"^moco\.yaml: unknown field"):
        ExperimentSpec.parse({"x": 1}, what="moco.yaml")


def test_specs_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        PretrainSpec().epochs = 3


@pytest.mark.parametrize("spec", [MethodSpec, BackboneSpec])
@pytest.mark.parametrize(
    "options",
    [{"a": float("inf")}, {"a": [float("nan")]}, {"a": {1: 2}}, {"a": object()}, {1: 2}],
)
def test_options_hold_plain_values_only(spec, options):
    with pytest.raises(SpecError):
        spec.parse({"name": "x", "options": options})


def test_options_keep_plain_values():
    options = {"layers": [1, 1], "flag": False, "nested": {"x": None, "y": 0.5}}
    assert BackboneSpec.parse({"options": options}).options == options


@pytest.mark.parametrize(
    "fields",
    [
        {"crop_scale": (0.5, 0.1)},
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.5, 1.1)},
        {"crop_ratio": (2.0, 1.0)},
        {"blur_sigma": (0.0, 1.0)},
        {"hue": 0.6},
        {"grey_probability": 1.1},
        {"second_view": {"crop_scale": (0.5, 0.1)}},
        {"second_view": {"second_view": {}}},
    ],
)
def test_impossible_augmentations_are_refused(fields):
    with pytest.raises(SpecError):
        AugmentationSpec.parse(fields)


def test_the_second_view_differs_only_where_it_says_so():
    spec = AugmentationSpec.parse({"hue": 0.2, "second_view": {"solarize_probability": 0.2}})
    first, second = spec.views()
    assert first.solarize_probability == 0.0
    assert second.solarize_probability == 0.2
    assert second.model_copy(update={"solarize_probability": 0.0}) == first
    assert second.hue == 0.2


def test_every_field_of_the_schema_is_described_or_plain():
    schema = PretrainSpec.model_json_schema()
    assert "untrained network" in schema["properties"]["epochs"]["description"]
    assert schema["additionalProperties"] is False
