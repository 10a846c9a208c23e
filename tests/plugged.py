"""Plugins as tests use them: the files that the pages show, and packages with entry points."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PAGES = ("own-method", "own-data", "own-backbone")


def example_files() -> dict[str, str]:
    """Return the Python files that the how-tos tell to save, by their names."""
    found = {}
    for page in _PAGES:
        text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text("utf-8")
        blocks = re.findall(r"```python\n((?:(?!```).)*)```\s+Save it as `([^`]+)`", text, re.S)
        found |= {name: source for source, name in blocks}
    return found


def write_examples(folder: Path, *names: str) -> list[str]:
    """Write example files into a folder, and return their paths; without names, the plugins."""
    chosen = names or ("simdist.py", "dots.py", "twoconvs.py")
    for name in chosen:
        (folder / name).write_text(example_files()[name])
    return [str(folder / name) for name in chosen]


def install(
    folder: Path, package: str, modules: dict[str, str], points: dict[str, dict[str, str]]
) -> None:
    """Make a package as pip leaves it, in a folder that is to stand in ``sys.path``.

    Args:
        folder: the folder.
        package: its name.
        modules: source of its modules by their names.
        points: its entry points: by group without ``emabench.``, what leads where.
    """
    home = folder / package
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("")
    for name, source in modules.items():
        (home / f"{name}.py").write_text(source)
    about = folder / f"{package}-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    lines = []
    for group, names in points.items():
        lines += [f"[emabench.{group}]", *(f"{name} = {to}" for name, to in names.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
