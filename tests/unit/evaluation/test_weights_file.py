import hashlib

import pytest
import timm
import torch
from safetensors.torch import save_file

from emabench.errors import WeightsError
from emabench.evaluation.backbone_fit import check_fit
from emabench.evaluation.weights_file import digest, load_weights, read_header
from emabench.networks.backbone import build_backbone
from emabench.spec import BackboneSpec

SMALL = {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64]}
BACKBONE = BackboneSpec(name="resnet18", stem="original", options=SMALL)


@pytest.fixture
def model():
    return build_backbone(BACKBONE, 28).model


def test_the_header_says_what_the_file_holds(tmp_path):
    file = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(())}, file, {"spec": '{"seed": 3}'})
    header = read_header(file)
    shapes = {name: tensor.shape for name, tensor in header.tensors.tensors.items()}
    assert shapes == {"a": (2, 3), "b": ()}
    assert header.pretrain == {"seed": 3}
    assert digest(file) == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"spec": "{"}, {"spec": "[1]"}])
def test_a_file_of_somebody_else_says_no_pretraining(tmp_path, metadata):
    save_file({"a": torch.zeros(1)}, tmp_path / "w", metadata)
    assert read_header(tmp_path / "w").pretrain is None


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ('{"seed": 1, "seed": 2}', "the key 'seed' twice"),
        ("[" * 100_000, "nested deeper than 50"),
        ('{"a": ' * 60 + "1" + "}" * 60, "nested deeper than 50"),
        ('{"seed": ' + "9" * 5000 + "}", "digits"),
        ('{"seed": ' + "9" * 400 + "}", "more than 64 bits"),
        ("[" + "0," * 20_000 + "0]", "more than 10000 values"),
        ('{"name": "a\\u001b[31m"}', "the control character"),
    ],
)
def test_a_spec_of_somebody_else_is_bounded_and_says_one_thing(tmp_path, spec, words):
    save_file({"a": torch.zeros(1)}, tmp_path / "w", {"spec": spec})
    with pytest.raises(WeightsError, match="the spec in the weights") as caught:
        read_header(tmp_path / "w")
    assert words in caught.value.message
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no safetensors", b"\x08" + bytes(7) + b"{}"])
def test_what_is_no_safetensors_file_is_refused(tmp_path, model, content):
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    for read in (read_header, lambda file: load_weights(file, model, backbone="resnet18")):
        with pytest.raises(WeightsError, match=r"w\.safetensors: this is not a complete") as caught:
            read(file)
        assert "save_file" in caught.value.hint


def test_a_file_that_is_gone_says_so(tmp_path, model):
    for read in (read_header, digest, lambda file: load_weights(file, model, backbone="x")):
        with pytest.raises(WeightsError, match="are gone"):
            read(tmp_path / "w.safetensors")


def test_weights_are_loaded_without_the_classifier_of_timm(tmp_path, model):
    whole = timm.create_model("resnet18", num_classes=7, **SMALL)
    save_file(whole.state_dict(), tmp_path / "w")
    load_weights(tmp_path / "w", model, backbone="resnet18")
    images = torch.randn(2, 3, 28, 28)
    whole.reset_classifier(0)
    assert torch.equal(model.eval()(images), whole.eval()(images))


def test_the_raw_pixels_have_no_weights(tmp_path):
    save_file({}, tmp_path / "w")
    pixels = build_backbone(BackboneSpec(name="pixels"), 8).model
    load_weights(tmp_path / "w", pixels, backbone="pixels")
    check_fit({}, pixels, what="w", backbone="pixels")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.update({"conv1.weight": torch.zeros(8, 3, 3, 3)}),
         "conv1.weight is 8×3×3×3, not 64×3×7×7"),  # noqa: RUF001
        (lambda state: state.pop("bn1.bias"), "bn1.bias is missing"),
        (lambda state: [state.pop(name) for name in list(state) if name.startswith("layer4")],
         "layer4.0.conv1.weight and 14 more are missing"),
        (lambda state: state.update({"blocks.0": torch.zeros(1)}), "blocks.0 is not part of it"),
        (lambda state: state.update({"fcx": torch.zeros(1)}), "fcx is not part of it"),
    ],
)  # fmt: skip
def test_weights_of_another_model_say_what_differs(tmp_path, model, change, words):
    state = dict(model.state_dict())
    change(state)
    save_file(state, tmp_path / "w")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match="does not fit the backbone resnet18: ") as caught:
        load_weights(tmp_path / "w", model, backbone="resnet18")
    assert caught.value.message.endswith(words)
    assert not caught.value.may_pass
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), "nothing of it was loaded"
