"""Every method learns something: it beats the untrained network, and supervision beats them all.

Nearly two hours on one thread. ``EMABENCH_CONTROL_DB`` may name a store for the runs, so that what
is done already is not done again.
"""

from __future__ import annotations

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
MASKED = {name for name in method_names() if issubclass(load_method(name), MaskedMethod)}
"""They learn in hundreds of epochs on a ViT, not in ten."""
LEARNERS = [name for name in method_names() if name not in BOUNDS | MASKED]


@pytest.fixture(scope="module")
def top1(tmp_path_factory):
    """Gives the linear top-1 of a method by seed; trains what the store does not hold."""
    folder = tmp_path_factory.mktemp("controls")
    store = os.environ.get("EMABENCH_CONTROL_DB", str(folder / "results.db"))
    found = {}

    def results(method):
        if method not in found:
            command = [sys.executable, "-m", "emabench", "run", "--method", method, "--json"]
            command += ["--seed", "0..2", "--set", "threads=1", "--db", store]
            command += ["--ema-scope", "full" if method in FULL else "none"]
            if method in EPOCHS:
                command += ["--epochs", EPOCHS[method]]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs = json.loads(done.stdout)["runs"]
            found[method] = {run["seed"]: run["results"]["top1"] for run in runs}
        return found[method]

    return results


def difference(first, second):
    seeds = sorted(first)
    return paired_difference([first[seed] for seed in seeds], [second[seed] for seed in seeds])


@pytest.mark.parametrize("method", [*LEARNERS, "supcon"])
def test_a_method_beats_the_untrained_network(top1, method):
    assert difference(top1(method), top1("random")).low > 0


@pytest.mark.parametrize("method", LEARNERS)
def test_supervision_beats_every_method(top1, method):
    supervised, found = top1("supervised"), top1(method)
    assert sum(supervised.values()) > sum(found.values())
