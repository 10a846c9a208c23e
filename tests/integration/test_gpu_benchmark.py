"""The benchmark of a GPU with tiny numbers on a CPU: nothing is timed, all of it runs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
TINY = ("--all-small", "--batch-size", "8", "--threads", "1", "--windows", "2", "--profiled", "1")
pytestmark = pytest.mark.slow


def measured(*arguments, patience="10"):
    """Return the exit code, the table and the measurements by name."""
    command = [sys.executable, str(SCRIPT), *TINY, "--patience", patience, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.stdout, done.stderr
    *table, last = done.stdout.splitlines()
    return done.returncode, "\n".join(table), json.loads(last)["measurements"]


def test_every_measurement_says_what_it_found(tmp_path):
    file = tmp_path / "figures.json"
    code, table, found = measured("--images", "64", "--seconds", "0.5", "--json", str(file))
    assert code == 0, found
    assert json.loads(file.read_text())["measurements"] == found
    figures = {name: each["figures"] for name, each in found.items()}
    loops = ("loop-small", "loop-resnet18", "loop-held")
    assert set(figures) == {*loops, "bench", "resumed", "held"}
    for name in loops:
        assert figures[name]["busy ÷ step"] > 0.1
        assert figures[name]["kernels a step"] > 500
    assert 1 < figures["bench"]["projector ÷ none by FLOPs"] < 1.05
    assert 1.3 < figures["bench"]["full ÷ none by FLOPs"] < 1.4
    assert figures["resumed"]["epochs ended since"] == 2, "of 3 epochs of 4 steps, after step 6"
    for name in ("resumed", "held"):
        differences = {k: v for k, v in figures[name].items() if ", " in k}
        assert len(differences) >= 4
        assert set(differences.values()) == {0}, "on a CPU they are equal bit for bit"
    assert all(figure in table for each in figures.values() for figure in each)


def test_it_trains_until_its_neighbours_are_right(tmp_path):
    generator = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 4)):
        for shade, name in enumerate(("dark", "light")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 100, (32, 32, 3), np.uint8) + np.uint8(150 * shade)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    wanted = ("--only", "reach", "--reach", "1", "--epochs", "1")
    code, _, found = measured(*wanted, "--data-dir", str(tmp_path))
    assert code == 0, found
    figures = found["reach"]["figures"]
    assert figures["kNN top-1 %, best"] >= 1
    assert figures["minutes to 1 %"] == figures["minutes of training"] > 0


def test_one_that_fails_or_takes_too_long_leaves_the_others_alone(tmp_path):
    two = ("--only", "resumed,held")
    code, table, found = measured(*two, "--data-dir", str(tmp_path / "nowhere"))
    assert code == 1
    for name in ("resumed", "held"):
        assert "nowhere" in found[name]["error"]
        assert found[name]["error"] in table
    code, _, found = measured(*two, patience="0.001")
    assert code == 1
    assert set(found) == {"resumed", "held"}
    assert all("left out" in each["error"] for each in found.values())
    code, _, found = measured("--only", "held", patience="0.02")
    assert found["held"]["error"] == "took longer than 1 s"
