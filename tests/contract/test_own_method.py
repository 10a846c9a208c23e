"""The method of the how-to is one new file, and nothing else is touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "own-method.md").read_text("utf-8")


@pytest.mark.slow
def test_the_method_of_the_how_to_runs_under_any_scope(tmp_path):
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    package = tmp_path / "emabench"
    shutil.copytree(ROOT / "emabench", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "methods" / "simdist.py").write_text(source)

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "emabench", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        ).stdout

    (listed,) = json.loads(call("methods", "simdist", "--json"))
    assert listed["options"] == {
        "residual_weight": 0.0,
        "hidden_dim": 512,
        "output_dim": 128,
    }
    (command,) = re.findall(r"^    emabench (run .*simdist.*)$", PAGE, re.M)
    arguments = command.replace("projector", "none,projector,from:layer3").split()
    runs = json.loads(call(*arguments, "--json"))["runs"]
    assert [run["ema_scope"] for run in runs] == ["none", "projector", "from:layer3"]
    assert {run["state"] for run in runs} == {"done"}
