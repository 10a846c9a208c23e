"""Writes those parts of the pages that the program itself knows.

    python docs/generate.py            writes them
    python docs/generate.py --check    exits 1 where a page differs

A part lies between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->`` in its page, or,
if it is what a command prints, between ``<!-- printed: emabench … -->`` and ``<!-- end -->``; what
a cell of a notebook shows is below it, between ``<!-- shown -->`` and ``<!-- end -->``.
All around it is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from generators.cells import with_shown
from generators.fields import fields_table
from generators.methods import methods_table, presets_table
from generators.options import options_page
from generators.printed import ROOT, printed
from generators.tables import tables_page

PARTS = {
    "options": options_page,
    "presets": presets_table,
    "fields": fields_table,
    "methods": methods_table,
    "tables": tables_page,
}


def pages() -> Iterator[tuple[Path, str, str]]:
    """Yield each page: its path, its text, and what the text should be."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        text = path.read_text("utf-8")
        new = re.sub(
            r"(<!-- generated: (\w+) -->\n).*?(<!-- end of \2 -->)",
            lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}",
            text,
            flags=re.DOTALL,
        )
        new = re.sub(
            r"(<!-- printed: (emabench .*) -->\n)(?:.*\n)*?(<!-- end -->)",
            lambda found: f"{found[1]}\n{printed(found[2])}\n\n{found[3]}",
            new,
        )
        yield path, text, with_shown(new)


def main(words: list[str]) -> int:
    """Write the pages, or with ``--check`` only say which ones differ."""
    differing = [(path, new) for path, text, new in pages() if text != new]
    for path, new in differing:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        if "--check" not in words:
            path.write_text(new, "utf-8")
    return 1 if differing and "--check" in words else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
