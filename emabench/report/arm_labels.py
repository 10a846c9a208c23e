"""Short labels that tell the arms of a table or picture apart."""

from __future__ import annotations

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
    parts = [arm.method] if len({each.method for each in arms}) > 1 else []
    parts.append(arm.scope)
    alike = [each for each in arms if (each.method, each.scope) == (arm.method, arm.scope)]
    for path in differing:
        told_otherwise = path == TARGET_GRADIENT and len(alike) == 1
        if path in arm.fields and not told_otherwise:
            parts.append(f"{path.rpartition('.')[2]}={_shortened(show_value(arm.fields[path]))}")
    return " ".join(parts)


def _shortened(text: str, most: int = 24) -> str:
    """Cut what no label has room for, such as the hash of the images."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
