import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emabench.errors import NotFoundError, SpecError, UnknownNameError
from emabench.plans.grids import axes, command_line, grid
from emabench.spec.paths import SHORT_NAMES
from emabench.spec.settings import experiment_at

FOLDER = SHORT_NAMES["data_dir"]


def flags_of(command):
    """Read a reproducing command back into flags, as the parser of ``run`` would."""
    words = iter(shlex.split(command)[2:])
    flags, files = {"set_": []}, []
    for word in words:
        if word == "--set":
            flags["set_"].append(next(words))
        elif word.startswith("--"):
            flags[word[2:].replace("-", "_")] = next(words)
        else:
            files.append(Path(word))
    return flags | {"specs": files}


def test_flags_become_axes_in_a_fixed_order():
    flags = {"seed": "0..1", "ema_scope": "none,full", "preset": "quick", "json": False}
    assert axes(flags) == [("pretrain.ema.scope", ["none", "full"]), ("pretrain.seed", [0, 1])]


def test_text_stays_text_and_numbers_become_numbers():
    flags = {
        "dataset": "2020,no",
        "device": "cuda:1",
        "lr": "1e-1,0.3",
        "epochs": "010",
        "precision": "fp32",
    }
    assert dict(axes(flags)) == {
        "pretrain.data.dataset": ["2020", "no"],
        "pretrain.device": ["cuda:1"],
        "pretrain.optimizer.lr": [0.1, 0.3],
        "pretrain.epochs": [10],
        "pretrain.precision": ["fp32"],
    }


@pytest.mark.parametrize("folder", ["2020", "a,b", "../x", "null", "1..3", "my images", "'q'"])
def test_a_data_folder_is_one_path_taken_literally(folder):
    (point,) = grid({"data_dir": folder, "dataset": "folder"})
    assert point.spec.pretrain.data.data_dir == folder
    assert "--data-dir" in point.command
    (again,) = grid(flags_of(point.command))
    assert again.spec == point.spec


def test_set_wins_over_a_flag():
    (point,) = grid({"seed": "1", "set_": ["seed=2"]})
    assert point.spec.pretrain.seed == 2


def test_files_span_the_whole_grid_each(tmp_path):
    files = [tmp_path / "a.yaml", tmp_path / "b c.yaml"]
    files[0].write_text("pretrain: {epochs: 1}")
    files[1].write_text("preset: smoke\npretrain: {epochs: 2}")
    points = list(grid({"seed": "0,1", "specs": files}))
    assert [(p.spec.pretrain.epochs, p.spec.pretrain.seed, p.spec.smoke) for p in points] == [
        (1, 0, False),
        (1, 1, False),
        (2, 0, True),
        (2, 1, True),
    ]
    for point in points:
        flags = flags_of(point.command)
        assert "preset" not in flags
        (again,) = grid(flags)
        assert again.spec == point.spec


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFoundError):
        list(grid({"specs": [tmp_path / "none.yaml"]}))


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ({"seed": "x..y"}, SpecError),
        ({"seed": ""}, SpecError),
        ({"epochs": "-1"}, SpecError),
        ({"batch_size": "many"}, SpecError),
        ({"set_": ["ema.dekay=1"]}, SpecError),
        ({"preset": "qick"}, UnknownNameError),
    ],
)
def test_wrong_flags_are_refused_with_a_hint(flags, error):
    with pytest.raises(error) as caught:
        list(grid(flags))
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_the_command_names_the_preset_and_only_the_values_of_its_own_point():
    commands = [p.command for p in grid({"ema_scope": "none,full", "set_": ["ema.decay=0.9"]})]
    assert commands == [
        "emabench run --preset quick --ema-scope none --set ema.decay=0.9",
        "emabench run --preset quick --ema-scope full --set ema.decay=0.9",
    ]


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
POINTS = st.fixed_dictionaries(
    {},
    optional={
        "pretrain.method.name": TEXTS,
        "pretrain.ema.scope": TEXTS,
        FOLDER: TEXTS | st.none(),
        "pretrain.seed": st.integers(0, 10**9),
        "pretrain.optimizer.lr": st.floats(0, 1e6),
        "pretrain.data.train_subset": st.integers(1, 99) | st.none(),
        "pretrain.augmentation.crop_scale": st.just([0.25, 1.0]),
        "pretrain.method.options": st.dictionaries(TEXTS, st.integers() | st.booleans() | TEXTS),
        "evaluation.network": st.sampled_from(["online", "target"]),
        "smoke": st.booleans(),
    },
)


@given(POINTS)
def test_the_command_reproduces_its_point(point):
    command = command_line(point, preset="quick", file=None)
    (again,) = grid(flags_of(command))
    assert again.spec == experiment_at(point, preset="quick")
