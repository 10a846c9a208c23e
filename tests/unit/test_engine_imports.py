"""An installation without the extras works, and says which one an engine needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(["ray", "submitit"]))  # an import of None fails
from emabench.cli.app.main import run
sys.exit(run(sys.argv[1:]))
"""


def test_the_core_needs_neither_ray_nor_submitit():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    core = {re.match(r"[\w-]+", need)[0] for need in project["dependencies"]}
    assert not core & {"ray", "submitit"}
    extras = project["optional-dependencies"]
    assert extras["ray"][0].startswith("ray>=")
    assert extras["slurm"][0].startswith("submitit>=")


@pytest.mark.parametrize("engine", ["ray", "slurm"])
def test_a_missing_extra_is_named(engine, tmp_path):
    from emabench.store import RunStore

    RunStore.open(str(tmp_path / "results.db"), mode="write").close()
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, "work", "--engine", engine],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    package = {"ray": "ray", "slurm": "submitit"}[engine]
    assert done.stderr == (
        f"error: the engine {engine} needs the package {package}\n"
        f"hint: pip install 'emabench[{engine}]'\n"
    )
