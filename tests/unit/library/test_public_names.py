"""The names that ``import emabench`` offers: which they are, and what they load."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import emabench

ROOT = Path(__file__).parents[3]
PUBLIC = {
    "Comparison",
    "EmaScope",
    "Encoder",
    "Run",
    "Runs",
    "Store",
    "TargetNetwork",
    "__version__",
    "cut",
    "errors",
    "events",
    "open_store",
    "plugin",
    "run",
    "testing",
}
_LOADED = """
import json, sys
before = set(sys.modules)
import emabench
after = sorted(set(sys.modules) - before)
with emabench.open_store(sys.argv[1]) as store:
    runs = store.select(study="projector-vs-full")
runs.compare("top1,throughput", baseline="full", margin={"top1": 0.5}).to_json()
print(json.dumps([after, sorted(sys.modules)]))
"""


def test_the_public_names_are_these():
    assert set(emabench.__all__) == set(dir(emabench)) == PUBLIC
    for name in PUBLIC:
        assert getattr(emabench, name) is not None


def test_each_name_lives_where_it_is_said_to():
    for name, home in emabench._HOMES.items():
        module = importlib.import_module(home)
        assert getattr(emabench, name) in (module, getattr(module, name, None)), name


def test_a_type_checker_is_told_the_same_homes():
    source = (ROOT / "emabench" / "__init__.py").read_text("utf-8")
    told = re.findall(r"^    from (\S+) import (\w+) as (\w+)$", source, re.MULTILINE)
    assert {(name, alias) for _, name, alias in told} == {(n, n) for n in emabench._HOMES}
    for module, name, _ in told:
        whole = f"{module}.{name}" if module == "emabench" else module
        assert emabench._HOMES[name] == whole


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'open_stor'"):
        emabench.open_stor  # noqa: B018


def test_the_reference_lists_every_name():
    page = (ROOT / "docs" / "reference" / "library.md").read_text("utf-8")
    table = page.partition("| name | what it is |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `emabench\.(\w+)", table, re.MULTILINE)) == PUBLIC


@pytest.mark.skipif(not (ROOT / "results.db.example").exists(), reason="no example store")
def test_the_import_loads_nothing_and_a_comparison_little():
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, str(ROOT / "results.db.example")],
        capture_output=True,
        text=True,
        check=True,
    )
    after_import, after_comparison = json.loads(done.stdout)
    roots = {module.partition(".")[0] for module in after_import}
    assert roots - {"emabench"} <= sys.stdlib_module_names
    heavy = ("torch", "torchvision", "timm", "matplotlib", "pandas", "scipy.stats")
    assert set(heavy).isdisjoint(after_comparison)
    assert "scipy.special" in after_comparison
