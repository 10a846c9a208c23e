import pytest

from emabench.errors import NotFoundError, SpecError
from emabench.spec import ExperimentSpec, load_fields
from emabench.spec.experiment import parse_scalar, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-1", -1),
        (".5", 0.5),
        ("1.", 1.0),
        ("1.5e3", 1500.0),
        ("1_000", 1000),
        ("null", None),
        ("true", True),
        ("[0.2, 1]", [0.2, 1]),
        ("{a: 1}", {"a": 1}),
        ("no", "no"),
        ("on", "on"),
        ("010", 10),
        ("01", 1),
        ("0x1F", "0x1F"),
        ('"2"', "2"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        (".inf", ".inf"),
    ],
)
def test_values_are_read_as_people_write_them(text, value):
    read = parse_scalar(text, what="x")
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["a: b: c", "[1, 2", "!!python/object:os.system x", "<<"])
def test_what_is_no_value_is_refused(text):
    with pytest.raises(SpecError, match="x="):
        parse_scalar(text, what="x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pretrain:\n  a: b: c\n", "spec is not valid YAML in line 2"),
        ("- a\n- b\n", "holds a list"),
        ("just text", "holds a str"),
    ],
)
def test_a_text_that_is_no_mapping_is_refused(text, message):
    with pytest.raises(SpecError, match=message) as caught:
        parse_yaml(text, what="spec")
    assert caught.value.hint


def test_an_empty_file_has_no_fields():
    assert parse_yaml("", what="spec") == {}


def test_merge_keys_work():
    text = "common: &c {epochs: 3}\nother:\n  <<: *c\n  seed: 1\n"
    assert parse_yaml(text, what="spec")["other"] == {"epochs": 3, "seed": 1}


def test_yaml_round_trip():
    spec = ExperimentSpec.parse({"pretrain": {"epochs": 7, "data": {"data_dir": "2020"}}})
    assert ExperimentSpec.from_yaml(spec.to_yaml()) == spec


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFoundError) as caught:
        load_fields(tmp_path / "none.yaml")
    assert "spec show" in caught.value.hint


def test_files_that_cannot_be_read_say_so(tmp_path):
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path in (binary, tmp_path):
        with pytest.raises(SpecError, match="cannot read the spec file"):
            load_fields(path)
