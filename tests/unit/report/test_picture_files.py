"""A picture is one file: it is found by its name, and its help is read without importing it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields

import pytest

from emabench.report.figures import load_picture, picture_help, picture_names


@pytest.mark.parametrize("name", picture_names())
def test_the_help_says_what_the_class_declares(name):
    picture, shown = load_picture(name), picture_help(name)
    assert picture.name() == name
    assert shown.text == inspect.getdoc(picture)
    assert shown.places == picture.places
    assert shown.options == {
        option.name: (option.default, option.metadata["metavar"], option.metadata["help"])
        for option in fields(picture)
    }


def imported_by(code):
    """Run some code in a fresh interpreter, and return the names of all that it imported."""
    command = [sys.executable, "-c", f"{code}\nimport sys; print('IMPORTED', *sys.modules)"]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(process.stdout.rpartition("IMPORTED")[2].split())


def test_help_imports_no_picture_and_a_picture_no_matplotlib():
    help_ = "from emabench.cli.app.main import run\nassert run(['plot', 'pareto', '--help']) == 0"
    assert not {"numpy", "yaml", "emabench.report.figures.pareto"} & imported_by(help_)
    load = "from emabench.report import figures\n"
    load += "print(*map(figures.load_picture, figures.picture_names()))"
    assert "matplotlib" not in imported_by(load)
