"""The presets hold what the reference says of every method."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emabench.methods import load_method, method_names
from emabench.spec.settings import experiment_at

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "methods.md").read_text("utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) → ([\d.]+) \|$", re.M)
RECIPES = {row[0]: row[1:] for row in ROW.findall(PAGE)}


def test_every_method_has_a_recipe_and_a_row():
    assert sorted(RECIPES) == method_names()
    assert set(re.findall(r"^\| `(\w+)` \| (?:at|de)tached \|", PAGE, re.M)) == set(RECIPES)


@pytest.mark.parametrize("name", method_names())
def test_the_published_recipe(name):
    optimizer, *numbers = RECIPES[name]
    pretrain = experiment_at({"pretrain.method.name": name}, preset="cifar10").pretrain
    assert pretrain.optimizer.name == optimizer
    found = [pretrain.optimizer.lr, pretrain.optimizer.weight_decay]
    assert [*found, pretrain.ema.decay, pretrain.ema.final_decay] == [float(n) for n in numbers]
    assert (pretrain.batch_size, pretrain.epochs) == (256, 1000)
    views = pretrain.augmentation.views()
    assert {view.blur_probability for view in views} == {0.0}


@pytest.mark.parametrize("preset", ["quick", "smoke", "cifar10"])
@pytest.mark.parametrize("name", method_names())
def test_a_preset_has_valid_options_for_every_method(name, preset):
    given = experiment_at({"pretrain.method.name": name}, preset=preset).pretrain.method
    options = load_method(name).parse_options(name, given.options)
    assert given.options.items() <= options.model_dump().items()
