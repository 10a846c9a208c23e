"""A spec means one thing: no key twice, no kind for another, nothing that never ends."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from emabench.errors import SpecError, UnknownNameError
from emabench.spec import BackboneSpec, ExperimentSpec, load_fields
from emabench.spec.experiment import parse_scalar, parse_yaml
from emabench.spec.grid import expand_values, product
from emabench.spec.paths import read_condition
from emabench.spec.settings import experiment_at, parse_assignment
from emabench.spec.study import StudySpec

SHIPPED = Path(__file__).parents[3] / "results.db.example"
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))
MERGED = "a0: &a0 {k: v}\n" + "".join(
    f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 30)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "pretrain: {epochs: 1}\nseed: 2\npretrain: {epochs: 3}",
            "the key 'pretrain' twice in line 3",
        ),
        ("pretrain:\n  ema: {scope: full}\n  ema: {decay: 1}", "the key 'ema' twice in line 3"),
        ('a: {x: 1, "x": 2}', "the key 'x' twice in line 1"),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a", "the key '<<' twice in line 4"),
        ("<<: 3", "merges what is not a mapping"),
        ("? [a]\n: b", "a list or a mapping as a key"),
        (BOMB, "more than 10000 values"),
        (MERGED, "more than 10000 values"),
        ("a: &a [*a]", "nested deeper than 50"),
        ("a: &a {b: *a}", "nested deeper than 50"),
        ("a: &a {<<: *a}", "nested deeper than 50"),
        ("a: *b", "not valid YAML in line 1"),
        ("a: " + "[" * 3000, "nested deeper than 50"),
        ("- " * 3000, "nested deeper than 50"),
        ("a: " + "9" * 5000, "a number of 5000 characters in line 1"),
        ("a: 0." + "9" * 5000, "a number of 5002 characters in line 1"),
        ("a: [" + "1," * 40000 + "]", "more than 10000 values"),
        ("a: " + "x" * 200_000, "more than 100000 characters"),
        ("a: !!int '5'", "the tag"),
        ("a: !!set {x}", "the tag"),
        ("a: !!python/object/apply:os.system [ls]", "the tag"),
        ("a: \x1b[31m", "a character that YAML does not allow"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
    ],
)
def test_what_says_no_one_thing_is_refused_at_once(text, words, tmp_path):
    start = time.monotonic()
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, what="spec")
    assert words in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.hint
    assert time.monotonic() - start < 10  # by far: minutes, without the bounds
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(SpecError, match=r"spec\.yaml"):
        load_fields(tmp_path / "spec.yaml")


def test_aliases_and_merges_that_say_one_thing_stay():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [{x: 5}, *a]}\nd: *a"
    assert parse_yaml(text, what="spec") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 5, "y": 2},
        "d": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize(
    "value", ["[" * 3000, "9" * 5000, "{a: 1, a: 2}", "&a [*a]", "!!int '5'", "1e" + "9" * 90]
)
def test_values_of_flags_and_conditions_are_bounded_too(value):
    for read in (
        lambda: parse_scalar(value, what="x"),
        lambda: parse_assignment(f"backbone.options.layers={value}"),
        lambda: read_condition(f"backbone.options.layers={value}"),
    ):
        with pytest.raises(SpecError) as caught:
            read()
        assert len(caught.value.message) < 300
        assert caught.value.hint


def test_options_from_elsewhere_are_bounded_too():
    inside_itself = []
    inside_itself.append(inside_itself)
    wide = ["x"]
    for _ in range(30):
        wide = [wide, wide]
    for value in (inside_itself, wide, 10**5000, {"a": {"b": b"bytes"}}, {1: 2}, {"\x1b": 1}):
        with pytest.raises(SpecError):
            BackboneSpec.parse({"options": {"x": value}})


def test_ranges_and_grids_are_bounded():
    with pytest.raises(SpecError, match="not a range"):
        expand_values("0.." + "9" * 5000, what="x")
    with pytest.raises(SpecError, match="10000000000 experiments"):
        list(product([("a", range(100_000)), ("b", range(100_000))]))


def test_a_spec_file_is_a_regular_file(tmp_path):
    for path in ("/dev/zero", tmp_path):
        with pytest.raises(SpecError, match="not a regular file"):
            load_fields(type(tmp_path)(path))


WRONG = [
    ("pretrain.ema.decay", "true"),
    ("pretrain.ema.decay", '"0.9"'),
    ("pretrain.seed", "true"),
    ("pretrain.seed", '"1"'),
    ("pretrain.seed", "1.0"),
    ("pretrain.seed", "1e3"),
    ("pretrain.epochs", "2.0"),
    ("pretrain.epochs", "[2]"),
    ("pretrain.compile", "yes"),
    ("pretrain.compile", "1"),
    ("pretrain.compile", '"true"'),
    ("pretrain.optimizer.lr_batch", "false"),
    ("pretrain.augmentation.crop_scale", "[true, true]"),
    ("pretrain.augmentation.crop_scale", "0.5"),
    ("evaluation.linear.weight_decays", '["0.1"]'),
]
RIGHT = [
    ("pretrain.ema.decay", "1e-3", 1e-3),
    ("pretrain.ema.decay", "0", 0.0),
    ("pretrain.seed", "01", 1),
    ("pretrain.compile", "true", True),
    ("pretrain.augmentation.crop_scale", "[0.2, 1]", [0.2, 1.0]),
    ("pretrain.threads", "null", None),
    ("pretrain.data.data_dir", "2020", "2020"),
    ("pretrain.data.data_dir", "010", "010"),
    ("pretrain.data.data_dir", "no", "no"),
    ("pretrain.data.data_dir", "true", "true"),
    ("pretrain.data.data_dir", "null", None),
    ("pretrain.method.name", "1e3", "1e3"),
]


def _through_a_file(path, value):
    keys = path.split(".")
    text = "".join(f"{'  ' * depth}{key}:\n" for depth, key in enumerate(keys))
    return experiment_at({}, file_fields=parse_yaml(f"{text[:-1]} {value}\n", what="spec"))


def _through_a_flag(path, value):
    path, (read,) = parse_assignment(f"{path}={value}")
    return experiment_at({path: read})


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_no_kind_stands_for_another(path, value):
    for read in (_through_a_file, _through_a_flag, lambda p, v: read_condition(f"{p}={v}")):
        with pytest.raises(SpecError) as caught:
            read(path, value)
        assert path.rpartition(".")[2] in caught.value.message
        assert caught.value.hint


@pytest.mark.parametrize(("path", "value", "meant"), RIGHT)
def test_files_flags_and_conditions_mean_the_same(path, value, meant):
    for read in (_through_a_file, _through_a_flag):
        found = read(path, value).model_dump(mode="json")
        for key in path.split("."):
            found = found[key]
        assert found == meant
        assert type(found) is type(meant)
    assert read_condition(f"{path}={value}") == (path, meant)


@pytest.mark.parametrize(
    "text", ["seed", "seed=", "sede=1", "seed=0,1", "seed=0..4", "seed=null", "precision=fp23"]
)
def test_a_condition_that_no_run_can_meet_is_refused(text):
    with pytest.raises(SpecError) as caught:
        read_condition(text)
    assert caught.value.hint


@pytest.mark.parametrize("version", [True, 1.0, "1", [], 2, 10**400])
def test_the_version_of_a_file_is_a_whole_number(version):
    with pytest.raises(SpecError, match="spec_version is") as caught:
        experiment_at({}, file_fields={"spec_version": version})
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("preset", ["", [], False, "x" * 5000])
def test_a_preset_is_none_or_a_name(preset):
    with pytest.raises(UnknownNameError, match="unknown preset") as caught:
        experiment_at({}, file_fields={"preset": preset})
    assert len(caught.value.message) < 200
    assert experiment_at({}, file_fields={"preset": None}) == experiment_at({})


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "b\udcff", "a\u202eb", "\x00"])
def test_a_terminal_shows_every_text_of_a_spec_as_it_is(name):
    with pytest.raises(SpecError, match=r"method\.name: .* has") as caught:
        ExperimentSpec.parse({"pretrain": {"method": {"name": name}}})
    assert caught.value.message.isprintable()
    with pytest.raises(SpecError):
        ExperimentSpec.parse({"pretrain": {name: 1}})


def test_what_a_study_says_may_have_several_lines():
    with pytest.raises(SpecError, match=r"title: .* has the control character"):
        StudySpec.parse({"claim": "one\ntwo\n", "title": "a\x07"})


def test_the_specs_of_the_shipped_store_are_read_as_they_are_and_keep_their_form():
    store = sqlite3.connect(f"file:{SHIPPED}?mode=ro&immutable=1", uri=True)
    with closing(store):
        specs = [json.loads(text) for (text,) in store.execute("SELECT spec FROM experiments")]
    backbones = []
    for spec in specs:
        read = ExperimentSpec.parse(spec).model_dump(mode="json")
        for name, value in spec["pretrain"].items():
            assert read["pretrain"][name] == value
        backbones.append(spec["pretrain"]["backbone"])
    assert BackboneSpec(name="small-resnet").as_timm().model_dump() in backbones
