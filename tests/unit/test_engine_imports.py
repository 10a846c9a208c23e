"""An installation without the extras works, and says which one an engine needs."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from emabench.store import RunStore

ROOT = Path(__file__).parents[2]


def test_the_core_needs_neither_ray_nor_submitit():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    core = {re.match(r"[\w-]+", need)[0] for need in project["dependencies"]}
    assert not core & {"ray", "submitit"}
    extras = project["optional-dependencies"]
    assert extras["ray"][0].startswith("ray>=")
    assert extras["slurm"][0].startswith("submitit>=")


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_named(engine, package, emabench, monkeypatch):
    RunStore.open("results.db", mode="write").close()
    monkeypatch.setitem(sys.modules, package, None)  # an import of None fails
    done = emabench(["work", "--engine", engine])
    assert done.code == 1
    assert done.err == (
        f"error: the engine {engine} needs the package {package}\n"
        f"hint: pip install 'emabench[{engine}]'\n"
    )
