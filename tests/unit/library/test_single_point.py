"""One point of the library is the one that the command line makes of the same words."""

from pathlib import Path

import numpy as np
import pytest

from emabench.plans.grids import grid, single_point


@pytest.mark.parametrize(
    ("fields", "more", "flags"),
    [
        (
            {"method": "moco", "ema_scope": "from:layer3", "epochs": 3, "lr": 0.1},
            {"ema.decay": 0.99, "augmentation.crop_scale": [0.2, 1.0]},
            {
                "method": "moco",
                "ema_scope": "from:layer3",
                "epochs": "3",
                "lr": "0.1",
                "set_": ["ema.decay=0.99", "augmentation.crop_scale=[0.2,1.0]"],
            },
        ),
        (
            {"seed": np.int64(4), "lr": np.float32(0.5), "train_subset": None},
            {"schedule.warmup_epochs": np.float64(0.25), "compile": False},
            {
                "seed": "4",
                "lr": "0.5",
                "train_subset": "null",
                "set_": ["schedule.warmup_epochs=0.25", "compile=false"],
            },
        ),
        ({"epochs": "3", "seed": " 1"}, {"seed": "2"}, {"epochs": "3", "set_": ["seed=2"]}),
        (
            {"dataset": "folder", "data_dir": Path("a,b")},
            {"augmentation.crop_scale": (0.2, 1)},
            {
                "dataset": "folder",
                "data_dir": "a,b",
                "set_": ["augmentation.crop_scale=[0.2,1]"],
            },
        ),
    ],
)
@pytest.mark.parametrize("preset", [None, "smoke"])
def test_values_mean_what_their_words_mean(fields, more, flags, preset):
    (typed,) = grid({**flags, "preset": preset})
    made = single_point(fields, more, preset=preset)
    assert made.spec == typed.spec
    (again,) = grid({"preset": preset, **_flags(made.command)})
    assert again.spec == made.spec


def test_a_spec_file_lies_underneath(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("preset: smoke\npretrain: {epochs: 7, seed: 3}\n")
    made = single_point({"seed": 5}, {}, file=file)
    (typed,) = grid({"specs": [file], "seed": "5"})
    assert made.spec == typed.spec
    assert made.spec.pretrain.epochs == 7
    assert made.command == typed.command


def _flags(command):
    """Return the flags of a command line by name."""
    import shlex

    words = shlex.split(command)[2:]
    found = {"set_": []}
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name == "--set":
            found["set_"].append(value)
        elif name != "--preset":
            found[name.removeprefix("--").replace("-", "_")] = value
    return found
