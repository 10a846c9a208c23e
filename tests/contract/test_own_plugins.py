"""The method, the data set and the backbone of the how-tos: files outside the package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugged import example_files, write_examples

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "own-method.md").read_text("utf-8")
CONTRACTS = """
from emabench.testing import BackboneContract, DatasetContract


class TestDots(DatasetContract):
    name = "dots"
    plugin = "dots.py"


class TestTwoConvs(BackboneContract):
    name = "twoconvs"
    plugin = "twoconvs.py"
    image_size = 16
"""


def start(folder, *words):
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True
    )


def failing_tests(folder, *options):
    """Run the tests of a folder, as their author would; return those that failed, and the words."""
    done = start(folder, "pytest", "-q", "-rf", "--rootdir", str(folder), *options)
    failed = re.findall(r"^FAILED \S+::\w+::(\w+)", done.stdout, re.M)
    return set(failed), done.stdout + done.stderr


@pytest.mark.slow
def test_the_method_of_the_how_to_runs_under_any_scope(tmp_path):
    write_examples(tmp_path)

    def call(*arguments):
        done = start(tmp_path, "emabench", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (listed,) = json.loads(call("methods", "simdist", "--plugin", "simdist.py", "--json"))
    assert listed["options"] == {
        "residual_weight": 0.0,
        "hidden_dim": 512,
        "output_dim": 128,
    }
    assert listed["origin"] == "simdist.py"
    (command,) = re.findall(r"^    emabench (run .*simdist.*)$", PAGE, re.M)
    arguments = command.replace("projector", "none,projector,from:layer3").split()
    runs = json.loads(call(*arguments, "--json"))["runs"]
    assert [run["ema_scope"] for run in runs] == ["none", "projector", "from:layer3"]
    assert {run["state"] for run in runs} == {"done"}


@pytest.mark.slow
def test_the_examples_pass_the_tests_for_plugins(tmp_path):
    write_examples(tmp_path, *example_files())
    assert (tmp_path / "test_simdist.py").exists()
    (tmp_path / "test_others.py").write_text(CONTRACTS)
    failed, words = failing_tests(tmp_path)
    assert failed == set(), words
    passed = int(re.findall(r"(\d+) passed", words)[0])
    assert passed == 3 + 2 * 5 + 3 + 3, "each of the method's in five scopes"


BROKEN = {
    "test_a_stopped_training_goes_on_exactly": (
        "        return (2 - first - second).mean()",
        "        self.count = getattr(self, 'count', 0) + 1  # in no checkpoint\n"
        "        return (2 - first - second).mean() * self.count",
    ),
    "test_all_scopes_start_alike": (
        "        return (2 - first - second).mean()",
        "        return (2 - first - second).mean() * (2 if target[0].requires_grad else 1)",
    ),
    "test_its_options_have_defaults_and_no_other_names": (
        "hidden_dim: Annotated[int, Field(ge=1)] = 512",
        "hidden_dim: Annotated[int, Field(ge=1)] = 512\n        no_such_option: int = 0",
    ),
    "test_it_says_once_what_it_learns_from": (
        "    stop_gradient: ClassVar[bool] = False",
        "    stop_gradient: ClassVar[bool] = False\n    labels = 'images'",
    ),
    "test_the_right_blocks_are_trained_and_copied": (
        "        return mlp(feature_dim, options.hidden_dim, options.output_dim)",
        "        head = mlp(feature_dim, options.hidden_dim, options.output_dim)\n"
        "        head.unused = nn.Parameter(head[0].bias.clone())\n"
        "        return head",
    ),
}
"""What each test of the contract notices, as a change of the example."""


@pytest.mark.slow
def test_the_tests_for_methods_notice_what_is_wrong(tmp_path):
    source = example_files()["simdist.py"]
    for name, (right, wrong) in BROKEN.items():
        assert right in source
        home = tmp_path / name
        home.mkdir()
        write_examples(home, "test_simdist.py")
        (home / "simdist.py").write_text(source.replace(right, wrong))
        failed, words = failing_tests(home, "-k", name)
        assert name in failed, words
