"""What to know of the arms of a picture: how to choose fewer, and what their names leave out."""

from __future__ import annotations

import shlex
from collections import Counter

from emabench.analysis.arms import METHOD, SCOPE
from emabench.analysis.selection import Arms
from emabench.report.figures._sheet import MANY
from emabench.spec.grid import typed
from emabench.spec.paths import SHORT_NAMES, all_paths, is_text

_FIELDS = {path: path.removeprefix("pretrain.") for path in all_paths()}
_FIELDS |= {path: name for name, path in SHORT_NAMES.items()}
"""As ``--where`` takes them; what else tells arms apart cannot be asked for."""


def fewer_arms(arms: Arms) -> str:
    """Return the ``--where`` that leaves fewer arms, quoted for a shell; empty for none."""
    conditions = Counter(
        f"{_FIELDS[path]}={typed(arm.fields[path], as_text=is_text(path))}"
        for path in (METHOD, *arms.differing, SCOPE)
        for arm in arms.arms
        if path in _FIELDS and arm.fields.get(path) is not None
    )
    fewer = (each for each, count in conditions.items() if 2 <= count <= MANY)
    return next((f"--where {shlex.quote(each)}" for each in fewer), "")


def about_arms(arms: Arms) -> list[str]:
    """Return what the reader of a picture must know of its arms, a line each."""
    lines = list(arms.together)
    if len(arms.arms) > MANY:
        fewer = fewer_arms(arms)
        ways = [*([fewer] if fewer else []), "--study NAME", "ids of runs"]
        ways = [", ".join(ways[:-1]), ways[-1]]
        lines.append(
            f"{len(arms.arms)} arms are many for one picture: {' or '.join(ways)} show fewer"
        )
    return lines
