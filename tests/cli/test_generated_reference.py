"""The generated parts of the reference are what the code says today, and nothing lacks a word."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = DOCS / "generate.py"


@pytest.fixture
def generators(monkeypatch):
    """The modules that write the parts, which belong to the pages and to no package."""
    monkeypatch.syspath_prepend(str(DOCS))
    return lambda name: importlib.import_module(f"generators.{name}")


def test_the_pages_are_what_the_code_says():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--check"], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, ""), (
        f"run 'python docs/generate.py' and commit what it writes:\n{done.stdout}{done.stderr}"
    )


def test_every_part_is_on_a_page():
    text = "".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
    for name in ("options", "presets", "fields", "methods", "tables"):
        assert text.count(f"<!-- generated: {name} -->\n") == 1, name
        assert text.count(f"\n<!-- end of {name} -->") == 1, name


def test_every_field_option_and_column_says_what_it_is(generators):
    fields = generators("fields").described()
    assert [path for path, field in fields if not field.description] == []
    assert generators("options").without_help() == []
    assert generators("tables").undescribed() == []


def test_what_a_browser_would_take_for_an_element_is_escaped(generators):
    markdown = generators("markdown")
    assert markdown.prose("from:<block>, ``from:<block>``; None") == (
        "from:\\<block>, `from:<block>`; `null`"
    )
    assert markdown.table(("a",), [("x|y",)]).endswith("| x\\|y |")
