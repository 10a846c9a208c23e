"""Numbers and times are rounded for people, and never to something that is no number of theirs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emabench.table import duration, significant, sparkline


@given(value=st.floats(1e-6, 1e6))
def test_four_significant_digits_are_within_half_of_the_last(value):
    assert float(significant(value)) == pytest.approx(value, rel=5.1e-4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (119.6, "2 min 00 s"),
        (3599.7, "1 h 00 min"),
    ],
)
def test_a_time_is_never_rounded_up_to_sixty(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([3.0], "▁"),
        ([1.0, 1.0], "▁▁"),
        ([0.0, 7.0, 3.0], "▁█▄"),
        ([1.0, math.nan, 2.0], "▁ █"),
        ([math.inf, 1.0], " ▁"),
        ([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0], "▁▃▆█"),
    ],
)
def test_a_curve_goes_from_its_smallest_to_its_largest_value(values, drawn):
    assert sparkline(values, width=4) == drawn
