import pytest
from hypothesis import given
from hypothesis import strategies as st

from emabench.spec import ExperimentSpec, fingerprint
from emabench.spec.settings import experiment_at

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES.filter(lambda v: v not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _reversed_keys(value):
    if isinstance(value, dict):
        return {key: _reversed_keys(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [_reversed_keys(inner) for inner in value]
    return value


@given(VALUES)
def test_the_order_of_keys_does_not_matter(value):
    assert fingerprint(value) == fingerprint(_reversed_keys(value))


@given(st.dictionaries(st.text(), VALUES, min_size=1), st.data())
def test_every_key_matters(value, data):
    key = data.draw(st.sampled_from(sorted(value)))
    assert fingerprint({k: v for k, v in value.items() if k != key}) != fingerprint(value)


@given(st.integers(), st.integers())
def test_different_values_have_different_fingerprints(one, other):
    assert (fingerprint({"a": one}) == fingerprint({"a": other})) is (one == other)


@pytest.mark.parametrize(
    "point",
    [
        {"pretrain.seed": 1},
        {"pretrain.ema.decay": 0.991},
        {"pretrain.ema.scope": "full"},
        {"pretrain.augmentation.hue": 0.05},
        {"evaluation.knn.k": 100},
        {"pretrain.method.options.temperature": 0.3},
    ],
)
def test_a_changed_field_changes_the_identity_of_a_spec(point):
    plain, changed = experiment_at({}), experiment_at(point)
    assert fingerprint(plain.model_dump(mode="json")) != fingerprint(
        changed.model_dump(mode="json")
    )


def test_defaults_count_and_stay_the_same_from_version_to_version():
    written_out = ExperimentSpec.from_yaml(ExperimentSpec().to_yaml())
    assert fingerprint(written_out.model_dump(mode="json")) == fingerprint(
        ExperimentSpec().model_dump(mode="json")
    )
    assert fingerprint({"b": [1, 0.5, None], "a": "x"}) == "ff25fa36b45e6cda07c9aaa80724f735"


def test_what_json_cannot_say_has_no_fingerprint():
    with pytest.raises(ValueError, match="JSON"):
        fingerprint(float("nan"))
