"""The house: one name for one thing, no crowded room, and pages that show it as it is."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "emabench"
MOST_FILES = 16
"""Beside each other in a folder; methods and commands are as many as there are."""
GROWING = {"methods", "cli/commands"}


def modules():
    return [
        file
        for file in sorted(PACKAGE.rglob("*.py"))
        if file.name != "__init__.py" and "migrations" not in file.parts
    ]


def test_within_one_floor_no_two_modules_have_one_name():
    names = Counter(
        (file.relative_to(PACKAGE).parts[0], file.stem)
        for file in modules()
        if "commands" not in file.parts
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_classes_have_one_name():
    names = Counter(
        node.name
        for file in modules()
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_folder_is_crowded():
    folders = Counter(file.parent.relative_to(PACKAGE).as_posix() for file in modules())
    crowded = {folder: n for folder, n in folders.items() if n > MOST_FILES}
    assert set(crowded) <= GROWING


def test_nothing_imports_from_the_package_itself():
    for file in modules():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert all(alias.name != "emabench" for alias in node.names), file
            elif isinstance(node, ast.ImportFrom) and node.module == "emabench":
                assert all(
                    (PACKAGE / alias.name).exists() or (PACKAGE / f"{alias.name}.py").exists()
                    for alias in node.names
                ), file


@pytest.mark.parametrize("page", ["README.md", "docs/explanation/floors.md"])
def test_a_drawing_of_the_house_shows_every_floor(page):
    text = (ROOT / page).read_text("utf-8")
    drawing = text.partition("```\nemabench/\n")[2].partition("```")[0]
    floors = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    missing = [name for name in sorted(floors) if f"{name}/" not in drawing]
    assert missing == []


def test_a_version_of_the_changelog_has_each_heading_and_each_entry_once():
    for version in re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.M)[1:]:
        blocks = re.split(r"^(?=### |- )", version, flags=re.M)
        counts = Counter(" ".join(block.split("\n\n")[0].split()) for block in blocks)
        assert [block for block, count in counts.items() if count > 1] == []
