from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emabench.data.subset import balanced_subset, held_out

label_lists = st.lists(st.integers(0, 5), min_size=1, max_size=60)


@given(label_lists, st.data(), st.integers(0, 99))
def test_subset_is_sorted_balanced_and_nested(
    listed: list[int], data: st.DataObject, seed: int
) -> None:
    labels = np.array(listed)
    count = data.draw(st.integers(1, len(labels)))
    smaller = data.draw(st.integers(1, count))
    rows = balanced_subset(labels, count, seed)
    assert len(rows) == count
    assert (np.diff(rows) > 0).all()
    sizes = np.bincount(labels, minlength=6)
    taken = np.bincount(labels[rows], minlength=6)
    for some in np.flatnonzero(taken < sizes):
        # A class that could give more never has two fewer than another.
        assert taken.max() - taken[some] <= 1
    assert set(balanced_subset(labels, smaller, seed)) <= set(rows)


def test_seed_draws_the_subset() -> None:
    labels = np.arange(100) % 4
    first = balanced_subset(labels, 20, 0)
    assert (first == balanced_subset(labels, 20, 0)).all()
    assert (first != balanced_subset(labels, 20, 1)).any()


@given(
    st.lists(st.integers(0, 3), max_size=50),
    st.floats(0.01, 0.99),
    st.integers(0, 9),
)
def test_held_out_takes_the_share_of_every_class(
    listed: list[int], fraction: float, seed: int
) -> None:
    labels = np.array([0, 0, 1, 1, 2, 2, 3, 3, *listed])
    test = held_out(labels, fraction, seed)
    for label in range(4):
        total, taken = (labels == label).sum(), test[labels == label].sum()
        assert 1 <= taken <= total - 1
        assert abs(taken - total * fraction) <= 1
    assert (test == held_out(labels, fraction, seed)).all()
