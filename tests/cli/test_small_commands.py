"""The commands that only tell: spec, methods, backbones, datasets, doctor."""

import json

import numpy as np
import pytest
import yaml

from emabench.data.images import list_datasets
from emabench.methods import load_method, method_names
from emabench.spec import ExperimentSpec
from emabench.spec.settings import experiment_at, preset_names


def read(result):
    assert (result.code, result.err) == (0, "")
    return json.loads(result.out)


def test_spec_show_prints_files_that_read_back(emabench, folder):
    arguments = ["spec", "show", "--preset", "cifar10", "--method", "simclr,moco"]
    documents = list(yaml.safe_load_all(emabench(arguments).out))
    assert [d["preset"] for d in documents] == ["none", "none"]
    shown = read(emabench([*arguments, "--json"]))
    assert shown["schema_version"] == 1
    for document, spec, name in zip(documents, shown["specs"], ["simclr", "moco"], strict=True):
        assert ExperimentSpec.parse(spec) == experiment_at(
            {"pretrain.method.name": name}, preset="cifar10"
        )
        (folder / "file.yaml").write_text(yaml.safe_dump(document))
        assert read(emabench(["spec", "show", "file.yaml", "--json"]))["specs"] == [spec]


def test_spec_schema_describes_every_field(emabench):
    schema = read(emabench(["spec", "schema"]))
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {"preset", *ExperimentSpec.model_fields}
    assert "untrained" in json.dumps(schema["$defs"]["PretrainSpec"]["properties"]["epochs"])


def test_spec_presets(emabench):
    found = read(emabench(["spec", "presets", "--json"]))["presets"]
    assert [preset["name"] for preset in found] == preset_names()
    text = emabench(["spec", "presets"]).out
    assert all(preset["description"] in text for preset in found)
    assert "(the default)" in next(line for line in text.splitlines() if line.startswith("quick"))


def test_spec_validate(emabench, folder):
    (folder / "good.yaml").write_text("preset: smoke\npretrain: {method: {name: moco}}")
    assert emabench(["spec", "validate", "good.yaml"]).out == "good.yaml: ok\n"
    assert read(emabench(["spec", "validate", "good.yaml", "--json"]))["valid"] is True
    wrong = "pretrain: {method: {name: moco, options: {temprature: 1}}}"
    (folder / "wrong.yaml").write_text(wrong)
    result = emabench(["spec", "validate", "wrong.yaml"])
    assert result.code == 2
    assert "temprature" in result.err
    assert result.hint == "hint: did you mean temperature?"


def test_methods_as_json_have_name_summary_and_options(emabench):
    found = read(emabench(["methods", "--json"]))
    assert [method["name"] for method in found] == method_names()
    assert {"simclr", "moco"} <= set(method_names())
    for method in found:
        cls = load_method(method["name"])
        assert method["options"] == cls.Options().model_dump(mode="json")
        assert method["has_target"] is bool(cls.target_views)
        assert method["stop_gradient"] is (cls.stop_gradient if cls.target_views else None)
        assert method["summary"].endswith(".")
    assert read(emabench(["methods", "moco", "--json"])) == [
        method for method in found if method["name"] == "moco"
    ]


def test_methods_as_text(emabench):
    lines = emabench(["methods"]).out.splitlines()
    assert [line.split()[0] for line in lines] == method_names()
    text = emabench(["methods", "moco"]).out
    assert "--set method.options.queue_size=32768" in text
    assert "stops the gradient" in text
    assert "keeps the gradient" in emabench(["methods", "simclr"]).out


def test_a_backbone_is_shown_block_by_block(emabench):
    found = read(emabench(["backbones", "resnet18", "--json"]))
    assert [b["name"] for b in found["blocks"]] == ["stem", "layer1", "layer2", "layer3", "layer4"]
    assert (found["feature_dim"], found["cut"], found["image_size"]) == (512, True, 32)
    assert (found["family"], found["stem"]) == ("resnet", "3x3")
    # One convolution from 3 to 64 channels and one BatchNorm, at 32 by 32 positions.
    stem = found["blocks"][0]
    assert stem["parameters"] == 3 * 64 * 9 + 2 * 64
    assert stem["flops"] == 2 * 3 * 64 * 9 * 32 * 32
    text = emabench(["backbones", "resnet18"]).out
    assert f"{sum(b['parameters'] for b in found['blocks']):,}" in text
    halved = read(emabench(["backbones", "resnet18", "--stem", "3x3-stride2", "--json"]))
    assert halved["blocks"][0]["flops"] * 4 == stem["flops"]


def test_an_unknown_family_is_one_block(emabench):
    found = read(emabench(["backbones", "test_byobnet", "--json"]))
    assert [block["name"] for block in found["blocks"]] == ["backbone"]
    assert (found["cut"], found["family"], found["stem"]) == (False, None, "original")


@pytest.mark.parametrize(
    ("name", "family", "last"),
    [
        ("vit_tiny_patch16_224", "vit", "block12"),
        ("convnext_atto", "convnext", "stage4"),
        ("test_efficientnet", "efficientnet", "stage5"),
        ("mobilenetv3_small_050", "mobilenet", "stage6"),
        ("regnetx_002", "regnet", "stage4"),
        pytest.param("swin_tiny_patch4_window7_224", "swin", "stage4", marks=pytest.mark.slow),
    ],
)
def test_the_blocks_of_every_family_are_shown(emabench, name, family, last):
    found = read(emabench(["backbones", name, "--json"]))
    blocks = found["blocks"]
    assert (found["cut"], found["family"], found["stem"]) == (True, family, "3x3")
    assert (blocks[0]["name"], blocks[-1]["name"]) == ("stem", last)
    assert all(block["parameters"] > 0 and block["flops"] > 0 for block in blocks)


def test_backbones_are_searched_by_name(emabench):
    for text, family in [
        ("resnext50*", "resnet"), ("deit3", "vit"), ("convnextv2", "convnext"),
        ("tinynet", "efficientnet"), ("mobilenetv[1-4]*", "mobilenet"), ("regnety", "regnet"),
        ("swin_*", "swin"),
    ]:  # fmt: skip
        lines = emabench(["backbones", "--search", text]).out.splitlines()
        assert lines
        assert all(line.endswith(f" cut into blocks ({family})") for line in lines)
    assert emabench(["backbones", "--search", "vgg11"]).out.split() == [
        "vgg11", "one", "block", "vgg11_bn", "one", "block",
    ]  # fmt: skip
    assert emabench(["backbones", "--search", "pixels"]).out.split() == ["pixels", "one", "block"]
    found = read(emabench(["backbones", "--search", "resnet1", "--json"]))["backbones"]
    assert {"name": "resnet18", "family": "resnet", "origin": None} in found
    assert all("resnet1" in backbone["name"] for backbone in found)
    small = read(emabench(["backbones", "--search", "[st]*-resnet", "--json"]))["backbones"]
    assert [each["name"] for each in small] == ["small-resnet", "tiny-resnet"]
    assert {each["family"] for each in small} == {"resnet"}
    pattern = emabench(["backbones", "--search", "vit_tiny_patch16_*"]).out
    assert "cut into blocks (vit)" in pattern
    assert all(line.startswith("vit_tiny_patch16_") for line in pattern.splitlines())


def test_datasets(emabench):
    found = {each["name"]: each for each in read(emabench(["datasets", "--json"]))["datasets"]}
    assert set(found) == {info.name for info in list_datasets()}
    embedded = found["fashion-mini"]
    assert (embedded["train"], embedded["test"], embedded["classes"]) == (10_000, 2_000, 10)
    text = emabench(["datasets"]).out
    assert all(name in text for name in found)
    assert "10,000" in text


def test_datasets_looks_at_a_path(emabench, folder):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 8, 8), dtype=np.uint8)
    names = np.array(["ape", "[red]bee"])
    np.savez(
        folder / "some of.npz", x=images, y=np.arange(20) % 2, classes=names, ids=np.arange(20)
    )
    found = read(emabench(["datasets", "some of.npz", "--json"]))
    assert (found["dataset"], found["train"], found["test"]) == ("arrays", 16, 4)
    assert (found["smallest"], found["image_size"]) == ([8, 8], 8)
    assert found["command"] == "emabench run --dataset arrays --data-dir 'some of.npz'"
    text = emabench(["datasets", "some of.npz"]).out
    for words in (found["command"], "16 for training, 4 for testing", "[red]bee", "not used: ids"):
        assert words in text
    missing = emabench(["datasets", "nowhere"])
    assert (missing.code, missing.out) == (3, "")


def test_doctor_finds_this_machine_in_order_and_creates_no_store(emabench, folder):
    result = emabench(["doctor", "--json"])
    assert result.code == 0
    found = json.loads(result.out)
    checks = {check["name"]: check for check in found["checks"]}
    assert found["ok"] is True
    assert set(checks) == {"versions", "devices", "precision", "threads", "cache", "store"}
    assert "cpu" in checks["devices"]["found"]
    assert "none at results.db yet" in checks["store"]["found"]
    assert list(folder.iterdir()) == []


def test_doctor_fails_on_a_store_that_is_none(emabench, folder):
    (folder / "results.db").write_bytes(b"garbage " * 200)
    result = emabench(["doctor"])
    assert result.code == 1
    line = next(line for line in result.out.splitlines() if line.startswith("fail"))
    assert "results.db" in line
    assert json.loads(emabench(["doctor", "--json"]).out)["ok"] is False


def test_doctor_warns_of_a_cache_that_cannot_be_written(emabench, folder, monkeypatch):
    (folder / "taken").write_text("a file")
    monkeypatch.setenv("EMABENCH_CACHE", str(folder / "taken"))
    result = emabench(["doctor"])
    assert result.code == 0
    assert any(line.startswith("warn  cache") for line in result.out.splitlines())


@pytest.mark.parametrize("command", ["spec", "methods", "backbones", "datasets", "doctor"])
def test_data_goes_to_stdout_only(emabench, command):
    extra = {"spec": ["presets"], "backbones": ["resnet18"]}.get(command, [])
    result = emabench([command, *extra])
    assert result.code == 0
    assert result.out
    assert result.err == ""
