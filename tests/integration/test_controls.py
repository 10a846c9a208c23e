"""Every method learns something: it beats the untrained network, and supervision beats them all.

Nearly two hours on one thread. ``EMABENCH_CONTROL_DB`` may name a store for the runs, so that what
is done already is not done again. ``EMABENCH_CONTROL_IMAGES`` names a folder of images of CIFAR-10,
which have no licence to come with the tests, for methods with views of two sizes: an hour and a
half more.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

import pytest

from emabench.analysis.statistics import paired_difference
from emabench.methods import load_method, method_names
from emabench.methods._masked import MaskedMethod

pytestmark = pytest.mark.slow

FULL = {"byol", "dino", "moco", "mocov3", "ressl"}
"""Methods that are published with an average of the whole encoder; the others run without one."""
EPOCHS = {"byol": "20", "diet": "100", "dino": "40", "ressl": "20"}
"""Methods that need longer than the 10 epochs of the preset."""
BOUNDS = {"random", "supervised", "supcon"}
"""Untrained, or trained with labels."""
MASKED = {name for name in method_names() if issubclass(load_method(name), MaskedMethod)} | {
    "mae_ct"
}
"""They learn in hundreds of epochs on a ViT, not in ten, and mae_ct from the encoder of an MAE."""
IMAGES = os.environ.get("EMABENCH_CONTROL_IMAGES")
COLOURS = {
    "saturation": "0.4",
    "hue": "0.1",
    "grey_probability": "0.2",
    "crop_scale": "[0.2,1.0]",
}
LOCAL = {"local_views.count": "4", "local_views.size": "16"}
ON_PHOTOS = {"lejepa": {}, "supcon": {}, "dino": LOCAL, "swav": LOCAL}
"""Fields of the augmentation beside those of the colours, by method."""
LEARNERS = [name for name in method_names() if name not in BOUNDS | MASKED]


@pytest.fixture(scope="module")
def top1(tmp_path_factory):
    """Gives the linear top-1 of a method by seed; trains what the store does not hold."""
    folder = tmp_path_factory.mktemp("controls")
    store = os.environ.get("EMABENCH_CONTROL_DB", str(folder / "results.db"))

    @functools.cache
    def results(method, images=None):
        command = [sys.executable, "-m", "emabench", "run", "--method", method, "--json"]
        command += ["--seed", "0..2", "--set", "threads=1", "--db", store]
        command += ["--ema-scope", "full" if method in FULL else "none"]
        if images is not None:
            command += ["--dataset", "folder", "--data-dir", images, "--train-subset", "15000"]
            for name, value in (COLOURS | ON_PHOTOS.get(method, {})).items():
                command += ["--set", f"augmentation.{name}={value}"]
        elif method in EPOCHS:
            command += ["--epochs", EPOCHS[method]]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs = json.loads(done.stdout)["runs"]
        return {run["seed"]: run["results"]["top1"] for run in runs}

    return results


def difference(first, second):
    seeds = sorted(first)
    return paired_difference([first[seed] for seed in seeds], [second[seed] for seed in seeds])


@pytest.mark.parametrize("method", [*LEARNERS, "supcon"])
def test_a_method_beats_the_untrained_network(top1, method):
    assert difference(top1(method), top1("random")).low > 0


@pytest.mark.skipif(IMAGES is None, reason="EMABENCH_CONTROL_IMAGES names no folder of CIFAR-10")
@pytest.mark.parametrize("method", ON_PHOTOS)
def test_a_method_learns_from_photos_and_local_views(top1, method):
    assert difference(top1(method, IMAGES), top1("random", IMAGES)).low > 0


@pytest.mark.parametrize("method", LEARNERS)
def test_supervision_beats_every_method(top1, method):
    supervised, found = top1("supervised"), top1(method)
    assert sum(supervised.values()) > sum(found.values())
