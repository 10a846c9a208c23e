"""Warnings of one kind are said once, with their number."""

from __future__ import annotations

from emabench.analysis.cautions import Caution
from emabench.analysis.grouped_notes import grouped_cautions


def test_each_kind_is_one_group_in_the_order_of_its_first_warning():
    found = grouped_cautions(
        [
            Caution("unpaired", "a lacks seed 1", hint="run it"),
            Caution("busy", "3 runs trained beside other work", hint="wait"),
            Caution("unpaired", "b lacks seed 2", hint="run it"),
            Caution("new", "one thing"),
            Caution("new", "another thing", hint="do that"),
        ]
    )
    assert [group.code for group in found] == ["unpaired", "busy", "new"]
    unpaired, busy, new = found
    assert unpaired.heading == "2 arms do not pair up with their baselines"
    assert unpaired.messages == ("a lacks seed 1", "b lacks seed 2")
    assert unpaired.hints == ("run it",)
    assert busy.heading == busy.messages[0]
    assert new.heading == "one thing; and 1 more of this kind"
    assert new.hints == ("do that",)
