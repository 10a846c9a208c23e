"""The presets hold what the reference says of every method."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emabench.methods import load_method, method_names
from emabench.spec.settings import experiment_at

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "methods.md").read_text("utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) → ([\d.]+) \|$", re.M)
LARGE_ROW = re.compile(
    r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| ([\w=, ]*?) ?\| ([\d.]+), ([\d.]+) \|$", re.M
)
RECIPES = {row[0]: row[1:] for row in ROW.findall(PAGE)}
LARGE_RECIPES = {row[0]: row[1:] for row in LARGE_ROW.findall(PAGE)}
EPOCHS = {"mae_ct": 100}
"""Of a method that tunes given weights; all others have the epochs of the preset."""
TRAINED = [name for name in method_names() if load_method(name).trains]


def pretraining(name, preset):
    return experiment_at({"pretrain.method.name": name}, preset=preset).pretrain


def test_every_method_has_a_recipe_and_a_row():
    assert sorted(RECIPES) == sorted(LARGE_RECIPES) == TRAINED
    described = re.findall(r"^\| `(\w+)` \| (attached|detached|none) \|", PAGE, re.M)
    assert sorted(name for name, _ in described) == method_names()
    for name, target in described:
        method = load_method(name)
        stops = "detached" if method.stop_gradient else "attached"
        assert target == (stops if method.target_views else "none"), name


@pytest.mark.parametrize("preset", ["cifar10", "cifar100"])
@pytest.mark.parametrize("name", TRAINED)
def test_the_published_recipe(name, preset):
    optimizer, *numbers = RECIPES[name]
    pretrain = pretraining(name, preset)
    assert pretrain.optimizer.name == optimizer
    found = [pretrain.optimizer.lr, pretrain.optimizer.weight_decay]
    assert [*found, pretrain.ema.decay, pretrain.ema.final_decay] == [float(n) for n in numbers]
    assert (pretrain.batch_size, pretrain.epochs) == (256, EPOCHS.get(name, 1000))
    assert pretrain.data.dataset == preset
    views = pretrain.augmentation.views()
    assert {view.blur_probability for view in views} == {0.0}


@pytest.mark.parametrize(("preset", "size"), [("imagenet100", 224), ("stl10", 96)])
@pytest.mark.parametrize("name", TRAINED)
def test_the_recipe_for_larger_images(name, preset, size):
    lr, weight_decay, options, *blur = LARGE_RECIPES[name]
    pretrain = pretraining(name, preset)
    assert [pretrain.optimizer.lr, pretrain.optimizer.weight_decay] == [
        float(lr),
        float(weight_decay),
    ]
    assert (pretrain.batch_size, pretrain.data.image_size) == (128, size)
    assert pretrain.epochs == EPOCHS.get(name, 400)
    small = pretraining(name, "cifar10")
    differing = {
        f"{option}={value}"
        for option, value in pretrain.method.options.items()
        if value != small.method.options[option]
    }
    assert differing == set(filter(None, options.split(", ")))
    assert pretrain.optimizer.name == small.optimizer.name
    views = pretrain.augmentation.views()
    assert [view.blur_probability for view in views] == [float(share) for share in blur]


@pytest.mark.parametrize(
    "preset", ["quick", "smoke", "cifar10", "cifar100", "stl10", "imagenet100"]
)
@pytest.mark.parametrize("name", method_names())
def test_a_preset_has_valid_options_for_every_method(name, preset):
    given = pretraining(name, preset).method
    options = load_method(name).parse_options(name, given.options)
    assert given.options.items() <= options.model_dump().items()


@pytest.mark.parametrize("preset", ["cifar100", "imagenet100", "stl10"])
@pytest.mark.parametrize("name", ["lejepa", "ijepa"])
def test_absolute_rates_follow_the_peak_of_the_batch(name, preset):
    shares = []
    for each in ("cifar10", preset):
        pretrain = pretraining(name, each)
        peak = pretrain.optimizer.lr * pretrain.batch_size / pretrain.optimizer.lr_batch
        shares.append([pretrain.schedule.warmup_lr / peak, pretrain.schedule.final_lr / peak])
    assert shares[1] == pytest.approx(shares[0])
