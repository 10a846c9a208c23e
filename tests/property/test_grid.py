import pytest
from hypothesis import given
from hypothesis import strategies as st

from emabench.errors import SpecError
from emabench.spec.grid import expand_values, product, typed

SHOWN = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]))
SPECIAL = st.text("ab \\,[]{}()\"'")
WORDS = SHOWN.filter(
    lambda word: word and word == word.strip() and not set(word) & set(",[]{}()\"'")
)
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.lists(WORDS.filter(lambda word: word != "null"), min_size=1))
def test_text_is_kept_as_it_was_typed(words):
    assert expand_values(",".join(words), what="x", as_text=True) == words


@given(st.lists(PLAIN, min_size=1))
def test_plain_values_are_read_back_as_they_were_written(values):
    assert expand_values(",".join(map(typed, values)), what="x") == values


@given(st.lists(st.none() | st.just("null") | SHOWN | SPECIAL, min_size=1))
def test_texts_are_read_back_as_they_were_written(texts):
    text = ",".join(typed(each, as_text=True) for each in texts)
    assert expand_values(text, what="x", as_text=True) == texts


@given(st.lists(st.lists(st.integers(0, 9), min_size=1), min_size=1))
def test_commas_in_brackets_belong_to_one_value(values):
    assert expand_values(",".join(map(str, values)), what="x") == values


@given(st.integers(-1000, 1000), st.integers(0, 50))
def test_ranges_include_both_ends(first, length):
    text = f"{first}..{first + length}"
    assert expand_values(text, what="x") == list(range(first, first + length + 1))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(), max_size=3)), max_size=4))
def test_a_grid_is_the_product_of_the_latest_value_lists(axes):
    points = list(product(axes))
    size = 1
    for values in dict(axes).values():
        size *= len(values)
    assert len(points) == size
    assert all(set(point) == {name for name, _ in axes} for point in points)


@given(st.text(max_size=20))
def test_any_text_gives_values_or_an_error_with_a_hint(text):
    for as_text in (False, True):
        values, hint = [], None
        try:
            values = expand_values(text, what="x", as_text=as_text)
        except SpecError as error:
            hint = error.hint
        assert bool(values) is (hint is None)


@pytest.mark.parametrize(
    ("text", "as_text", "values"),
    [
        ("0..2,5", False, [0, 1, 2, 5]),
        ("none, full", True, ["none", "full"]),
        ("no,2020,1e3", True, ["no", "2020", "1e3"]),
        ("'a,b',c", True, ["a,b", "c"]),
        ("it's,that", True, ["it's", "that"]),
        ("../x,a..b", True, ["../x", "a..b"]),
        ("null,'null'", True, [None, "null"]),
        ("{a: 1, b: 2},{}", False, [{"a": 1, "b": 2}, {}]),
        ("a],b", True, ["a]", "b"]),
    ],
)
def test_examples(text, as_text, values):
    assert expand_values(text, what="x", as_text=as_text) == values


@pytest.mark.parametrize(
    "text", ["", ",", "0,", "x..y", "1..", "..2", "3..1", "0..99999999", "1..2..3"]
)
def test_what_is_no_list_is_refused(text):
    with pytest.raises(SpecError, match="x=") as caught:
        expand_values(text, what="x")
    assert caught.value.hint
