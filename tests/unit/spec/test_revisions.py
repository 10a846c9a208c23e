"""The table of changed numbers, and what it makes of identities."""

from pathlib import Path

import pytest

from emabench.spec.revisions import EVALUATION, REVISIONS, counted_identities, named

PAGE = Path(__file__).parents[3] / "docs/explanation/changed-numbers.md"


def test_the_page_lists_every_revision_as_the_table_has_it():
    text = " ".join(PAGE.read_text("utf-8").split())
    assert len({revision.name for revision in REVISIONS}) == len(REVISIONS)
    for revision in REVISIONS:
        for words in (f"`{revision.name}`", revision.concerns, revision.before, revision.now):
            assert words in text, (revision.name, words)
        assert all(f"`{metric}`" in text for metric in revision.metrics)


def test_revisions_are_named_in_the_order_of_the_table_and_never_made_up():
    assert named({"knn-votes": True, "drop-rates": True, "knn-top5": False}) == [
        "drop-rates",
        "knn-votes",
    ]
    with pytest.raises(ValueError, match="no revision"):
        named({"knn-vote": True})


def test_an_identity_counts_as_it_was_before_each_fix_of_the_evaluation():
    plain = {"data": "d", "revisions": ["drop-rates"]}
    assert list(counted_identities(plain)) == [plain]
    both = {**plain, EVALUATION: ["knn-votes", "knn-top5-few"]}
    assert list(counted_identities(both)) == [
        plain,
        {**plain, EVALUATION: ["knn-votes"]},
        both,
    ]
    # A fix that repeats nothing: the run counts as the one of before.
    assert list(counted_identities({**plain, EVALUATION: ["knn-top5"]})) == [plain]
