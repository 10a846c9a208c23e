"""The cells of notebook pages are executed, and the examples of the library from a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import place
import pytest

NOTEBOOKS = ("docs/tutorials/notebook.md", "docs/reference/library.md")
EXAMPLE = place.ROOT / "results.db.example"
_CELLS = """
import sys
from pathlib import Path
from generators.cells import cells, run

shown = list(run(cells(Path(sys.argv[1]).read_text("utf-8"))))
print(len(shown), "cells")
"""
_TYPED = '''
"""Uses every public name."""

import emabench
from emabench.events import EpochProgress


def listen(event: emabench.events.Event) -> None:
    if isinstance(event, EpochProgress):
        print(event.epoch, event.loss)


def accuracy(run: emabench.Run) -> float:
    return run.results["top1"]


def read(path: str) -> list[float]:
    store: emabench.Store = emabench.open_store(path)
    with store:
        runs: emabench.Runs = store.select(study="s", where={"method": "moco"}, smoke=False)
    some: emabench.Runs = runs[:3]
    one: emabench.Run = runs[0]
    print(emabench.__version__, one, emabench.cut, emabench.Encoder, emabench.TargetNetwork)
    print(emabench.plugin.mlp, emabench.testing.__doc__)
    print(emabench.EmaScope.parse("full", ["stem", "projector"]).canonical)
    runs.to_frame("ema.decay").head()
    runs.curves("loss").head()
    table: emabench.Comparison = some.compare(["top1"], margin={"top1": 0.5, "throughput": "2%"})
    table.to_frame().head()
    print(table.to_json()["rows"], table.baseline, table.notes, table.warnings)
    print([gate.passed for gate in table.gate])
    runs.plot("pareto", metric="top1").savefig("pareto.png")
    return [accuracy(run) for run in runs]


try:
    emabench.run(method="simclr", seed=0, epochs=3, lr=0.1, set={"ema.decay": 0.9}, on_event=listen)
except emabench.errors.NotFoundError as error:
    print(error.message, error.hint)
'''
_MISSPELT = """
import emabench

emabench.open_stor("results.db")
emabench.run(ema_scop="full")
emabench.open_store("results.db").selekt()
"""


@pytest.mark.docs
@pytest.mark.parametrize("page", NOTEBOOKS)
def test_the_cells_of_a_page_run_in_order(page, tmp_path):
    for name in ("results.db", "results.db.example"):
        shutil.copy(EXAMPLE, tmp_path / name)
    paths = [place.ROOT, place.ROOT / "docs"]
    done = _python(_CELLS, place.ROOT / page, folder=tmp_path, paths=paths)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-2]) > 0


@pytest.mark.docs
def test_a_type_checker_knows_every_name_and_catches_misspelt_ones(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "typed.py").write_text(_TYPED)
    (tmp_path / "misspelt.py").write_text(_MISSPELT)
    for name in _public_names() - {"Runs"}:
        assert f"emabench.{name}" in _TYPED, name
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "typed.py", "misspelt.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(place.ROOT)},
        capture_output=True,
        text=True,
    )
    wrong = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [line.partition(":")[0] for line in wrong] == ["misspelt.py"] * 3, done.stdout
    for line, name in zip(wrong, ("open_stor", "ema_scop", "selekt"), strict=True):
        assert name in line


@pytest.mark.slow
def test_the_examples_run_from_a_wheel(tmp_path):
    wheels, installed, folder = (tmp_path / name for name in ("wheels", "installed", "folder"))
    pip = [sys.executable, "-m", "pip", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "-w", str(wheels), str(place.ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = wheels.iterdir()
    install = [*pip, "install", "--no-deps", "--target", str(installed), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    folder.mkdir()
    shutil.copy(EXAMPLE, folder / "results.db")
    page = (place.ROOT / "docs" / "reference" / "library.md").read_text("utf-8")
    example = page.partition("```python\n")[2].partition("```")[0]
    check = (
        "\nimport emabench, pathlib\n"
        f"assert pathlib.Path(emabench.__file__).is_relative_to({str(installed)!r})\n"
        "assert run.state == 'done' and table.rows\n"
    )
    # As a script without a guard, whose folder is no checkout.
    (folder / "script.py").write_text(example + check)
    done = _python(None, "script.py", folder=folder, paths=[installed])
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "pareto.png").stat().st_size > 1000


def _python(code, argument, *, folder, paths):
    program = [str(argument)] if code is None else ["-c", code, str(argument)]
    env = {**os.environ, **place.SMALL, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.run(
        [sys.executable, *program], cwd=folder, env=env, capture_output=True, text=True
    )


def _public_names():
    import emabench

    return set(emabench.__all__)
