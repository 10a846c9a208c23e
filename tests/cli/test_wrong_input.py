"""Wrong input gives one readable line with a hint, the documented exit code, and no traceback."""

import os

import pytest
from PIL import Image
from plugged import example_files
from seeding import complete, plan

from emabench.artifacts.layout import attempt_folder
from emabench.store import RunStore

SMOKE = ["run", "--preset", "smoke"]


def write_images(root, *, splits=("train", "test"), classes=("cat", "dog"), count=4):
    for split in splits:
        for number, name in enumerate(classes):
            place = root / split / name
            place.mkdir(parents=True)
            for index in range(count):
                colour = (40 * index, 90 * number, 100)
                Image.new("RGB", (16, 16), colour).save(place / f"{index}.png")


def assert_one_line(result, code, words, hint=""):
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.err
    assert words in errors[0]
    assert result.hint, result.err
    assert hint in result.hint
    assert result.out == ""


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        (["--method", "simcrl"], "unknown method 'simcrl'", "did you mean simclr?"),
        (["--ema-scope", "projektor"], "projektor", "did you mean projector?"),
        (["--ema-scope", "from:layer9"], "unknown block 'layer9'", "did you mean layer"),
        (["--ema-scope", "stem+layer7"], "layer7", "did you mean layer"),
        (["--ema-scope", "none+stem"], "joins 'none' with blocks", "drop 'none'"),
        (["--ema-scope", ""], "empty value", "leave it out"),
        (["--backbone", "resnet81"], "unknown backbone 'resnet81'", "did you mean resnet"),
        (["--dataset", "cifar11"], "unknown data set 'cifar11'", "did you mean cifar10"),
        (["--preset", "smok"], "unknown preset 'smok'", "did you mean smoke?"),
        (["--set", "ema.dekay=0.9"], "unknown field 'ema.dekay'", "did you mean ema.decay"),
        (["--set", "deacy=0.9"], "unknown field 'deacy'", "did you mean ema.decay?"),
        (["--set", "zzzz=1"], "unknown field 'zzzz'", "spec show"),
        (["--set", "ema.decay"], "has no '='", "--set"),
        (["--set", "method.options.temprature=1"], "temprature", "did you mean temperature?"),
        (["--epochs", "-1"], "pretrain.epochs=-1", "schema"),
        (["--epochs", "many"], "pretrain.epochs='many'", "schema"),
        (["--batch-size", "1"], "pretrain.batch_size=1", "schema"),
        (["--batch-size", "201"], "batch of 201 is larger", "200 or less"),
        (["--seed", "x..y"], "'x..y' is not a range", "0..4"),
        (["--seed", "4..0"], "runs backwards", "0..4"),
        (["--seed", "0,,1"], "empty value", "comma"),
        (["--precision", "fp8"], "precision='fp8'", "fp32"),
        (["--device", "gpu"], "gpu", ""),
        (["--set", "optimizer.name=sdg"], "sdg", "did you mean"),
        (["--dataset", "folder"], "data_dir", ""),
    ],
)
def test_a_wrong_value_exits_2_and_creates_nothing(emabench, folder, arguments, words, hint):
    result = emabench([*SMOKE, *arguments])
    assert_one_line(result, 2, words, hint)
    assert list(folder.iterdir()) == []


def test_a_subset_larger_than_the_data_is_named(emabench):
    result = emabench([*SMOKE, "--train-subset", "10001"])
    assert_one_line(result, 1, "10001")


def test_missing_images_exit_with_the_name_of_the_folder(emabench):
    result = emabench([*SMOKE, "--dataset", "folder", "--data-dir", "nowhere"])
    assert result.code in (1, 3)
    assert_one_line(result, result.code, "nowhere")


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", "empty"), (b"\x89PNG\r\n\x1a\n broken", "broken"), (b"text", "text")],
)
def test_a_file_that_is_no_image_is_named(emabench, folder, content, kind):
    write_images(folder / "images")
    (folder / "images" / "train" / "dog" / "bad.png").write_bytes(content)
    result = emabench([*SMOKE, "--dataset", "folder", "--data-dir", "images"])
    assert_one_line(result, 1, "bad.png")


def test_a_missing_class_folder_is_named(emabench, folder):
    write_images(folder / "images", classes=("cat", "dog", "owl"))
    for file in (folder / "images" / "test" / "owl").iterdir():
        file.unlink()
    (folder / "images" / "test" / "owl").rmdir()
    result = emabench([*SMOKE, "--dataset", "folder", "--data-dir", "images"])
    assert_one_line(result, 1, "owl")


def test_a_spec_file_that_is_missing_or_malformed_is_named(emabench, folder):
    assert_one_line(emabench(["run", "none.yaml"]), 3, "no spec file none.yaml", "spec show")
    (folder / "bad.yaml").write_text("pretrain:\n  epochs: [\n")
    assert_one_line(emabench(["run", "bad.yaml"]), 2, "bad.yaml is not valid YAML in line")
    (folder / "field.yaml").write_text("pretrain: {epoch: 3}")
    words = "field.yaml: unknown field 'pretrain.epoch'"
    assert_one_line(emabench(["run", "field.yaml"]), 2, words, "did you mean epochs?")
    (folder / "good.yaml").write_text("preset: smoke")
    assert_one_line(emabench(["run", "good.yaml", "--epochs", "-1"]), 2, "spec: pretrain.epochs=-1")
    (folder / "binary.yaml").write_bytes(b"\xff\xfe")
    assert_one_line(emabench(["run", "binary.yaml"]), 2, "not UTF-8 text", "spec show")
    assert_one_line(emabench(["run", "."]), 2, "spec file .", "spec show")
    result = emabench(["spec", "validate", "field.yaml"])
    assert_one_line(result, 2, "field.yaml: unknown field", "did you mean epochs?")


@pytest.mark.parametrize("db", ["missing/results.db", "/proc/results.db", "."])
def test_a_store_that_cannot_be_created_exits_1(emabench, folder, db):
    result = emabench([*SMOKE, "--db", db])
    assert_one_line(result, 1, "")
    assert list(folder.iterdir()) == []


def test_a_folder_for_artifacts_that_cannot_be_written_is_named(emabench, folder):
    (folder / "taken").write_text("a file")
    for place in ("taken", "taken/below", "/proc/artifacts"):
        assert_one_line(emabench([*SMOKE, "--artifacts", place]), 1, place, "--artifacts")


def test_garbage_stays_as_it_is(emabench, folder):
    garbage = b"this is no store " * 100
    (folder / "results.db").write_bytes(garbage)
    for arguments in (SMOKE, ["list"], ["show", "@last"], ["compare"], ["weights", "x", "-o", "w"]):
        assert_one_line(emabench(arguments), 1, "results.db")
        assert (folder / "results.db").read_bytes() == garbage
    assert [file.name for file in folder.iterdir()] == ["results.db"]


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "@last"], ["compare"], ["weights", "@last", "-o", "w"]]
)
def test_reading_a_store_that_does_not_exist_exits_3_and_creates_none(emabench, folder, arguments):
    assert_one_line(emabench(arguments), 3, "results.db")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["methods", "mocco"], 2, "unknown method 'mocco'"),
        (["backbones", "resnet81"], 2, "unknown backbone 'resnet81'"),
        (["backbones", "--search", "nothing-like-it"], 3, "nothing-like-it"),
        (["backbones", "resnet18", "--stem", "3x4"], 2, "'3x4'"),
        (["backbones", "resnet18", "--image-size", "0"], 2, "--image-size"),
        (["compare", "--metric", "topp1"], 2, "unknown metric 'topp1'"),
        (["weights", "x", "-o", "w", "--network", "both"], 2, "unknown network 'both'"),
        (["weights", "x", "-o", "missing/w"], 3, "missing"),
        (["spec", "show", "--preset", "qick"], 2, "unknown preset 'qick'"),
        (["studies", "plan", "vit-or-resnet", "--budget", "cpu", "--spread", "inf"], 2, "inf"),
        (["studies", "plan", "vit-or-resnet", "--budget", "cpu", "--difference", "nan"], 2, "nan"),
    ],
)
def test_the_other_commands(emabench, arguments, code, words):
    assert_one_line(emabench(arguments), code, words)


@pytest.mark.parametrize(
    ("variables", "command"),
    [
        ({}, ["list", "--db", "~nobodyx/results.db"]),
        ({}, ["list", "--db", "sqlite:///~nobodyx/results.db"]),
        ({}, ["status", "--db", "~nobodyx/results.db"]),
        ({}, ["methods", "--plugin", "~nobodyx/mine.py"]),
        ({"EMABENCH_PLUGINS": "~nobodyx/mine.py"}, ["methods"]),
        ({"EMABENCH_CACHE": "~nobodyx/cache"}, ["run", "--preset", "smoke"]),
        ({}, ["run", "--preset", "smoke", "--db", "~nobodyx/results.db"]),
        ({}, ["du", "--db", "~nobodyx/results.db"]),
    ],
)
def test_a_home_that_nobody_has_is_told(emabench, monkeypatch, variables, command):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = emabench(command)
    assert result.code == 3
    assert "nobodyx" in result.err
    assert result.hint


def test_a_variable_for_plugins_may_have_empty_entries_as_path_has(emabench, monkeypatch, folder):
    (folder / "mine.py").write_text(example_files()["simdist.py"])
    monkeypatch.setenv("EMABENCH_PLUGINS", f"mine.py{os.pathsep}")
    result = emabench(["methods"])
    assert (result.code, result.err) == (0, "")
    assert any(line.split()[:1] == ["mine"] for line in result.out.splitlines())


def test_a_folder_is_no_plugin(emabench, folder):
    result = emabench(["methods", "--plugin", "."])
    assert_one_line(result, 3, "there is no module . for --plugin", "name a Python file")


LONG = "a" * 300


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["eval", LONG], 3),
        (["run", "--preset", "smoke", "--init", f"{LONG}.pth"], 3),
        (["studies", "show", f"{LONG}.yaml"], 3),
        (["queue", "--preset", "smoke", "--db", LONG], 1),
        (["db", "backup", "-o", LONG], 1),
        (["export", "-o", LONG], 1),
        (["report", "-o", f"{LONG}.html"], 1),
        (["weights", "@last", "-o", LONG], 1),
    ],
)
def test_a_name_that_is_too_long_is_one_line(emabench, folder, command, code):
    with RunStore.open("results.db", mode="write") as store:
        run = complete(store, plan())
    weights = attempt_folder(folder / "results-artifacts", run, 1)
    weights.mkdir(parents=True)
    (weights / "online.safetensors").write_bytes(b"")
    result = emabench(command)
    assert "internal error" not in result.err
    assert result.code == code, result.err
    assert result.hint
