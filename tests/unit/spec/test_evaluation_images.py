"""The images of an evaluation: what is left open comes from those of the pretraining."""

import pytest

from emabench.errors import SpecError
from emabench.spec import DataSpec, ExperimentSpec
from emabench.spec.paths import field_value
from emabench.spec.settings import experiment_at

TRAINED_ON = {"dataset": "cifar10", "train_subset": 500, "crop": "stretch"}


def images(data, trained_on=TRAINED_ON):
    fields = {"pretrain": {"data": trained_on}, "evaluation": {"data": data}}
    return ExperimentSpec.parse(fields).evaluation.data


def test_none_are_those_of_the_pretraining():
    assert images(None) is None
    assert ExperimentSpec().evaluation.data is None


def test_the_same_data_set_keeps_what_is_not_given():
    assert images({"train_subset": 90}) == DataSpec(**{**TRAINED_ON, "train_subset": 90})
    assert images({"train_subset": None}) == DataSpec(**{**TRAINED_ON, "train_subset": None})
    assert images({"dataset": "cifar10"}) == DataSpec(**TRAINED_ON)
    assert images({"test_subset": 9}, {}) == DataSpec(test_subset=9)


def test_another_data_set_takes_nothing():
    assert images({"dataset": "cifar100"}) == DataSpec(dataset="cifar100")


def test_a_complete_spec_means_the_same_again():
    spec = experiment_at({"evaluation.data.train_subset": 90}, preset="smoke")
    assert spec.evaluation.data == DataSpec(train_subset=90, test_subset=100)
    assert ExperimentSpec.parse(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    "fields",
    [
        {"evaluation": {"data": 3}},
        {"evaluation": {"data": {"crop": "round"}}},
        {"evaluation": 3},
        {"pretrain": {"data": 3}, "evaluation": {"data": {"crop": "center"}}},
        {"pretrain": 3, "evaluation": {"data": {}}},
    ],
)
def test_a_wrong_value_is_told_as_any_other(fields):
    with pytest.raises(SpecError):
        ExperimentSpec.parse(fields)


def test_names_stand_for_data_sets_in_a_single_field_too():
    field = "evaluation.also"
    found = field_value(field, ["cifar100", {"dataset": "folder", "data_dir": "x"}], what="set")
    assert [each["dataset"] for each in found] == ["cifar100", "folder"]
