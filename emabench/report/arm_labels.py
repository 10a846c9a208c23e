"""Short labels that tell the arms of a table or picture apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from emabench.report.arms import TARGET_GRADIENT, Arm
from emabench.report.tables import show_value


def arm_label(arm: Arm, arms: Sequence[Arm], differing: Sequence[str]) -> str:
    """Return method and scope, as far as needed, and the other fields in which arms differ.

    Args:
        arm: one of ``arms``.
        arms: all that are shown beside it.
        differing: the fields in which they differ, see ``arms.differing_fields``.
    """
    alike = sum((each.method, each.scope) == (arm.method, arm.scope) for each in arms)
    with_method = len({each.method for each in arms}) > 1
    return _label(arm, differing, with_method=with_method, is_alone=alike == 1)


def arm_labels(arms: Sequence[Arm], differing: Sequence[str]) -> list[str]:
    """Return what ``arm_label`` returns for every arm, in time that grows with their number."""
    alike = Counter((arm.method, arm.scope) for arm in arms)
    with_method = len({method for method, _ in alike}) > 1
    return [
        _label(arm, differing, with_method=with_method, is_alone=alike[arm.method, arm.scope] == 1)
        for arm in arms
    ]


def _label(arm: Arm, differing: Sequence[str], *, with_method: bool, is_alone: bool) -> str:
    parts = [arm.method] if with_method else []
    parts.append(arm.scope)
    for path in differing:
        told_otherwise = path == TARGET_GRADIENT and is_alone
        if path in arm.fields and not told_otherwise:
            parts.append(f"{path.rpartition('.')[2]}={_shortened(show_value(arm.fields[path]))}")
    return " ".join(parts)


def _shortened(text: str, most: int = 24) -> str:
    """Cut what no label has room for, such as the hash of the images."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
