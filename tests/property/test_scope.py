import pytest
from hypothesis import given
from hypothesis import strategies as st

from emabench.errors import SpecError, UnknownNameError
from emabench.spec.scope import PROJECTOR, EmaScope, every_scope

RESNET = ("stem", "layer1", "layer2", "layer3", "layer4", PROJECTOR)


@st.composite
def encoders(draw):
    count = draw(st.integers(1, 8))
    return (*(f"block{i}" for i in range(count)), PROJECTOR)


@st.composite
def encoders_with_scope(draw):
    blocks = draw(encoders())
    chosen = draw(st.lists(st.sampled_from(blocks), min_size=1, unique=True))
    return blocks, chosen


@given(encoders_with_scope())
def test_a_scope_is_the_set_of_its_blocks_however_it_is_written(example):
    blocks, chosen = example
    scope = EmaScope.parse("+".join(chosen), blocks)
    assert set(scope.averaged) == set(chosen)
    assert list(scope.averaged) == sorted(chosen, key=blocks.index)
    assert EmaScope.parse(" + ".join(reversed(chosen + chosen)), blocks) == scope


@given(encoders_with_scope())
def test_the_canonical_spelling_reads_back_as_the_same_scope(example):
    blocks, chosen = example
    scope = EmaScope.parse("+".join(chosen), blocks)
    again = EmaScope.parse(scope.canonical, blocks)
    assert again == scope
    assert again.canonical == scope.canonical


@given(encoders_with_scope(), encoders_with_scope())
def test_scopes_are_equal_exactly_if_their_spellings_are(one, other):
    blocks = one[0]
    other_chosen = [name for name in other[1] if name in blocks] or [PROJECTOR]
    first = EmaScope.parse("+".join(one[1]), blocks)
    second = EmaScope.parse("+".join(other_chosen), blocks)
    assert (first == second) is (first.canonical == second.canonical)


@given(encoders(), st.data())
def test_a_suffix_holds_its_block_and_all_after_it(blocks, data):
    start = data.draw(st.integers(0, len(blocks) - 1))
    scope = EmaScope.parse(f"from:{blocks[start]}", blocks)
    assert scope.averaged == blocks[start:]
    assert scope.first == start


@given(encoders())
def test_every_scope_of_a_study(blocks):
    scopes = [EmaScope.parse(text, blocks) for text in every_scope(blocks)]
    assert [scope.canonical for scope in scopes] == every_scope(blocks)
    assert len(set(scopes)) == len(scopes)
    sets = {scope.averaged for scope in scopes}
    assert {(), blocks, blocks[:-1], *((name,) for name in blocks)} <= sets
    assert {blocks[i:] for i in range(len(blocks))} <= sets


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("none", "none"),
        ("full", "full"),
        ("encoder", "full"),
        ("backbone", "backbone"),
        ("projector", "projector"),
        ("from:projector", "projector"),
        ("from:stem", "full"),
        ("backbone+projector", "full"),
        ("layer4+projector", "from:layer4"),
        ("projector+layer4", "from:layer4"),
        ("stem+layer1+layer2+layer3+layer4", "backbone"),
        ("layer1", "layer1"),
        ("layer3+layer1", "layer1+layer3"),
        ("layer4", "layer4"),
        ("from:layer4+stem", "stem+layer4+projector"),
    ],
)
def test_spellings_of_a_resnet(text, canonical):
    assert EmaScope.parse(text, RESNET).canonical == canonical


def test_the_empty_scope_has_no_first_block():
    assert EmaScope.parse("none", RESNET).first is None
    assert EmaScope.parse("layer2+projector", RESNET).first == 2


@pytest.mark.parametrize("text", ["", "+", "layer1+", "none+layer1", " "])
def test_a_malformed_scope_is_refused(text):
    with pytest.raises(SpecError) as caught:
        EmaScope.parse(text, RESNET)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "near"),
    [("layer5", "layer"), ("from:layer9", "layer"), ("projektor", "projector"), ("from:", "from:")],
)
def test_an_unknown_block_gets_near_names(text, near):
    with pytest.raises(UnknownNameError) as caught:
        EmaScope.parse(text, RESNET)
    assert near in caught.value.hint
