"""Warnings by their kind, so that a store with many arms says each thing once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from emabench.analysis.cautions import Caution

_IN_COMMON = {
    "no-baseline": "arms have nothing to be compared with",
    "revisions": "warnings are about figures from before and after a fix",
    "run": "warnings come from the runs themselves",
    "unpaired": "arms do not pair up with their baselines",
}
"""What several warnings of a kind say together, behind their number."""


@dataclass(frozen=True)
class CautionGroup:
    """The warnings of one kind.

    Attributes:
        code: of the kind.
        heading: what they say together, in one line; the message itself where there is one.
        messages: of each.
        hints: what to do about it, each once.
    """

    code: str
    heading: str
    messages: tuple[str, ...]
    hints: tuple[str, ...]


def grouped_cautions(cautions: Iterable[Caution]) -> list[CautionGroup]:
    """Return the warnings by kind, in the order of the first of each."""
    kinds: dict[str, list[Caution]] = defaultdict(list)
    for caution in cautions:
        kinds[caution.code].append(caution)
    return [
        CautionGroup(
            code,
            _heading(code, [each.message for each in found]),
            tuple(each.message for each in found),
            tuple(dict.fromkeys(each.hint for each in found if each.hint is not None)),
        )
        for code, found in kinds.items()
    ]


def _heading(code: str, messages: list[str]) -> str:
    count = len(messages)
    if count == 1:
        return messages[0]
    if code in _IN_COMMON:
        return f"{count} {_IN_COMMON[code]}"
    return f"{messages[0]}; and {count - 1} more of this kind"
