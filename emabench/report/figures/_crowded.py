"""What to know of the arms of a picture: how to choose fewer, and what their names leave out."""

from __future__ import annotations

from collections import Counter

from emabench.analysis.arms import METHOD, SCOPE
from emabench.analysis.selection import Arms
from emabench.report.figures._sheet import MANY
from emabench.spec.paths import SHORT_NAMES, all_paths
from emabench.table import show_value

_FIELDS = {path: path.removeprefix("pretrain.") for path in all_paths()}
_FIELDS |= {path: name for name, path in SHORT_NAMES.items()}
"""As ``--where`` takes them; what else tells arms apart cannot be asked for."""


def fewer_arms(arms: Arms) -> str | None:
    """Return how to choose fewer arms, where there are more than a reader can tell apart."""
    if len(arms.arms) <= MANY:
        return None
    conditions = Counter(
        f"{_FIELDS[path]}={show_value(arm.fields[path])}"
        for path in (METHOD, *arms.differing, SCOPE)
        for arm in arms.arms
        if path in _FIELDS and arm.fields.get(path) is not None
    )
    fitting = [condition for condition, count in conditions.items() if 2 <= count <= MANY]
    example = f"--where {fitting[0]}, " if fitting else ""
    count = len(arms.arms)
    return f"{count} arms are many for one picture: {example}--study NAME or ids of runs show fewer"


def about_arms(arms: Arms) -> list[str]:
    """Return what the reader of a picture must know of its arms, a line each."""
    crowd = fewer_arms(arms)
    return [*arms.together, *([] if crowd is None else [crowd])]
