"""Made-up specs and values at their readers: a value or one line with a hint, and soon."""

from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emabench.errors import UsageError
from emabench.spec import ExperimentSpec
from emabench.spec.experiment import parse_yaml, to_yaml
from emabench.spec.paths import SHORT_NAMES, all_paths, read_condition
from emabench.spec.settings import experiment_at, parse_assignment
from emabench.spec.study import StudySpec

FILES, VALUES = 200, 1000
SOON = timedelta(seconds=2)

PATHS = st.sampled_from([*SHORT_NAMES, *all_paths()]) | st.sampled_from(
    [
        "backbone.options",
        "method.options.x",
        "backbone.options.layers",
        "pretrain",
        "evaluation.data",
    ]
)
WORDS = st.sampled_from(
    [
        "true", "no", "null", "~", "1", "01", "1e-3", "2.0", "-1", "1_0", ".inf", ".nan", "1e999",
        "9" * 400, "0x1F", "'1'", '"', "'", "[", "]", "{", "}", "[1, 2]", "{a: 1}", "{a: 1, a: 2}",
        "&a [*a]", "*a", "<<", "<<: *a", "!!int '1'", "!x", "0..4", "0..99999", "..", ",", ":", "#",
        "|", ">", "- ", "? ", "---", "...", "%YAML 1.1", "\t", "\n", "\x1b[31m", "\x00", "\udcff",
        "\u202e", "é", "日本", "full", "resnet18", "from:layer3", "auto", "none",
    ]
)  # fmt: skip
TEXT = st.lists(WORDS | st.text(max_size=6), max_size=8).map("".join)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | WORDS
    | st.text(max_size=8)
    | st.binary(max_size=3)
)
NAMES = st.sampled_from(
    sorted({part for path in all_paths() for part in path.split(".")} | {"preset", "spec_version"})
)
FIELDS = st.recursive(
    st.dictionaries(NAMES | st.text(max_size=4), LEAVES, max_size=4),
    lambda inner: st.dictionaries(NAMES, LEAVES | inner | st.lists(inner | LEAVES), max_size=5),
    max_leaves=12,
)


def _refused_at_most(read):
    """Call a reader; it may refuse with one line and a hint, nothing else."""
    refused = None
    try:
        return read()
    except UsageError as error:
        refused = error
    assert refused.hint
    assert len(refused.message.splitlines()) == 1
    assert len(refused.message) < 600
    return None


def _read_text(text):
    fields = _refused_at_most(lambda: parse_yaml(text, what="spec"))
    if fields is not None:
        _refused_at_most(lambda: experiment_at({}, file_fields=fields))
        _refused_at_most(lambda: StudySpec.parse(fields))


def _read_fields(fields):
    spec = _refused_at_most(lambda: ExperimentSpec.parse(fields))
    if spec is not None:
        assert ExperimentSpec.from_yaml(spec.to_yaml()) == spec
    _refused_at_most(lambda: experiment_at({}, file_fields=fields))


def _read_value(path, text):
    def assigned():
        field, (value, *others) = parse_assignment(f"{path}={text}")
        return None if others else experiment_at({field: value})

    spec = _refused_at_most(assigned)
    condition = _refused_at_most(lambda: read_condition(f"{path}={text}"))
    if spec is not None and condition is not None:
        found = spec.model_dump(mode="json")
        for key in condition[0].split("."):
            found = found[key] if isinstance(found, dict) and key in found else ...
        if found is not ... and not isinstance(found, dict):
            assert found == condition[1]


def _check(examples):
    return settings(max_examples=examples, deadline=SOON, suppress_health_check=list(HealthCheck))


@_check(FILES)
@given(TEXT | FIELDS.filter(lambda f: "b'" not in str(f)).map(lambda f: _written(f)))
def test_any_spec_file_is_read_or_refused(text):
    _read_text(text)


def _written(fields):
    try:
        return to_yaml(fields)
    except Exception:  # not everything can be written
        return str(fields)


@_check(FILES)
@given(FIELDS)
def test_any_fields_are_read_or_refused(fields):
    _read_fields(fields)


@_check(VALUES)
@given(PATHS, TEXT)
def test_any_value_is_read_or_refused_and_means_the_same_in_a_condition(path, text):
    _read_value(path, text)
