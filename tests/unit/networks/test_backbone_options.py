"""Options shape a model; nothing in them loads a file or reaches for the network."""

import pickle
import socket
from pathlib import Path

import pytest

from emabench.errors import SpecError
from emabench.networks.backbone import build_backbone
from emabench.networks.loading_code import loading_code
from emabench.spec import BackboneSpec
from emabench.spec.settings import experiment_at


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("reached for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


class _Payload:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.mark.parametrize("name", ["resnet18", "test_vit", "mambaout_femto", "densenet121"])
@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ({"pretrained": True}, "fresh weights"),
        ({"pretrained_cfg": {"url": "http://127.0.0.1:9/w.pth"}}, "fresh weights"),
        ({"pretrained_cfg_overlay": {"hf_hub_id": "timm/resnet18.a1_in1k"}}, "fresh weights"),
        ({"cache_dir": "elsewhere"}, "fresh weights"),
        ({"features_only": True}, "one vector"),
        ({"out_indices": [1]}, "one vector"),
        ({"num_classes": 10}, "classifier"),
        ({"in_chans": 1}, "images always have three channels"),
        ({"device": "meta"}, "device"),
        ({"act_layer": {"pretrained_cfg": {"file": "w.pth"}}}, "fresh weights"),
        ({"drop_rate": [{"url": "http://127.0.0.1:9"}]}, "fresh weights"),
        ({"scriptable": True}, ""),
        ({"pruned": True}, ""),
        ({"model_name": "resnet50"}, ""),
    ],
)
def test_what_shapes_no_architecture_is_refused(name, option, hint):
    with pytest.raises(SpecError, match=r"backbone\.options: ") as caught:
        build_backbone(BackboneSpec(name=name, options=option), 32)
    assert hint in caught.value.hint


def test_no_file_of_an_option_is_opened(tmp_path):
    evil, trace = tmp_path / "evil.pth", tmp_path / "trace"
    evil.write_bytes(pickle.dumps(_Payload(trace)))
    spec = BackboneSpec(name="resnet18", options={"checkpoint_path": str(evil)})
    with pytest.raises(SpecError, match="checkpoint_path"):
        build_backbone(spec, 32)
    fields = {"backbone": spec.model_dump(), "data": {"image_size": 32}}
    with pytest.raises(SpecError, match="checkpoint_path"):
        loading_code({"pretrain": fields}, evil)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64], "stem_type": "deep"}),
        ("test_vit", {"depth": 1, "global_pool": "avg", "qk_norm": True}),
        ("deit_tiny_distilled_patch16_224", {"depth": 1}),  # its constructor hands arguments on
        ("regnetx_002", {"depth": 10, "se_ratio": 0.25}),  # fields of a configuration
        ("mambaout_femto", {"depths": [1, 1, 1, 1]}),  # a function that names no class
    ],
)
def test_parameters_of_the_constructor_are_taken(name, options):
    assert build_backbone(BackboneSpec(name=name, options=options), 32).feature_dim > 0


@pytest.mark.parametrize(
    "options", [{"layers": "many"}, {"channels": [0, 0, 0, 0]}, {"layers": {}}, {"act_layer": 7}]
)
def test_values_that_a_constructor_cannot_take_are_explained(options):
    with pytest.raises(SpecError, match=r"cannot be built|does not take images"):
        build_backbone(BackboneSpec(name="resnet18", options=options), 32)


def test_the_raw_pixels_take_no_options():
    with pytest.raises(SpecError, match="takes no options"):
        build_backbone(BackboneSpec(name="pixels", options={"layers": [1]}), 32)


def test_the_raw_pixels_have_no_weights_to_load():
    spec = experiment_at({"pretrain.backbone.name": "pixels"}).model_dump(mode="json")
    with pytest.raises(SpecError, match="has no weights to load"):
        loading_code(spec, Path("x.safetensors"))
