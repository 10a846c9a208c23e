"""How Sphinx builds these pages: Markdown through MyST, every warning counts.

sphinx-build -W --keep-going -n -b html docs build/docs        the site
sphinx-build -b linkcheck docs build/links                     every external link, over the net
"""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.directives.code import CodeBlock

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))

project = _PROJECT["project"]["name"]
author = _PROJECT["project"]["authors"][0]["name"]
copyright = author
html_title = project

extensions = ["myst_parser"]
exclude_patterns = ["generators"]
nitpicky = True
# A page of the docs may link to any heading of another one, as GitHub names it.
myst_heading_anchors = 4
# Indented blocks are commands and what they print, in no single language.
highlight_language = "none"
# Two dashes begin an option, and must stay two.
smartquotes = False

html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
# The servers of papers answer slowly.
linkcheck_timeout = 20
linkcheck_retries = 2


class CodeCell(CodeBlock):
    """A cell of a MyST notebook, shown as its code; a test executes it."""


def setup(app: Sphinx) -> None:
    """Teach Sphinx the cells of notebooks."""
    app.add_directive("code-cell", CodeCell)
