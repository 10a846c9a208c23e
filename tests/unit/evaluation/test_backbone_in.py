"""Where in a file a backbone stands, and of which network it is."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from emabench.errors import EmabenchError, SpecError, WeightsError
from emabench.evaluation.weights_file import load_weights

SMALL = {"layers": [1, 1, 1, 1], "channels": [4, 4, 4, 4]}


def resnet(**options):
    return timm.create_model("resnet18", num_classes=0, **SMALL | options)


def vit(depth=2, **options):
    options = {"embed_dim": 8, "num_heads": 2, "depth": depth, "img_size": 32} | options
    return timm.create_model("vit_tiny_patch16_224", num_classes=0, **options)


@pytest.fixture
def trained():
    """A backbone whose every tensor differs from that of a fresh one."""
    model = resnet()
    for tensor in model.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape) + 1 if tensor.is_floating_point() else 7)
    return model


def under(model, start):
    return {f"{start}{name}": value for name, value in model.state_dict().items()}


def numbered(model):
    return torch.nn.Sequential(*model.children())


def loaded(content, tmp_path, network="online", model=None):
    """Load a file into a fresh backbone; return it and what was said."""
    model = resnet() if model is None else model
    torch.save(content, tmp_path / "w.pth")
    said = load_weights(tmp_path / "w.pth", model, backbone="resnet18", network=network)
    return model, said


def same(model, other):
    state = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


PLACES = [
    ([], "", None),
    (["model"], "backbone.", None),
    (["checkpoint", "model", "deep"], "net.0.", None),
    (["student"], "module.backbone.", "online"),
    (["teacher"], "backbone.", "target"),
    (["state_dict"], "module.encoder_k.", "target"),
    (["state_dict"], "backbone_momentum.", "target"),
    (["state_dict_ema"], "", "average"),
]
WORDS = [
    (["monkey"], "encoder_kq.", None),
    (["state_dict"], "module.encoder_q.", "online"),
    (["state_dict"], "query_encoder.", "online"),
    (["state_dict"], "module.base_encoder.", "online"),
    (["online"], "", "online"),
    (["state_dict"], "Key_encoder.", "target"),
    (["state_dict"], "module.momentum_encoder.", "target"),
    (["target"], "base_model.", "target"),
    (["average"], "", "average"),
    (["averaged_model"], "module.", "average"),
    (["swa"], "", "average"),
]


@pytest.mark.parametrize(
    ("keys", "start", "network", "with_numbers"),
    [*((*each, False) for each in PLACES + WORDS), *((*each, True) for each in PLACES)],
)
def test_a_backbone_is_found_wherever_it_stands(
    trained, tmp_path, keys, start, network, with_numbers
):
    content = under(numbered(trained) if with_numbers else trained, start)
    content |= {"head.0.weight": torch.ones(2)}
    for key in reversed(keys):
        content = {key: content, "epoch": 3}
    place = ".".join([*keys, start]).removesuffix(".")
    found = f"78 tensors {f'under {place}' if place else 'under its own names'}"
    found += f", of the {network} network; left" if network else "; left"
    for asked in ("online", "target", "average"):
        if network in (None, asked):
            model, said = loaded(content, tmp_path, asked)
            assert same(model, trained)
            assert found in said
            assert f"left: {'.'.join([*keys, 'head.0.weight'])}" in said
            continue
        with pytest.raises(SpecError, match=f"no backbone of the {asked} network") as caught:
            loaded(content, tmp_path, asked)
        assert caught.value.hint == f"--network {network} takes that"


def test_the_network_chooses_among_several(trained, tmp_path):
    other = resnet()
    both = under(trained, "teacher_backbone.") | under(other, "student_backbone.")
    assert same(loaded(both, tmp_path, "target")[0], trained)
    model, said = loaded(both, tmp_path, "online")
    assert same(model, other)
    assert "under student_backbone, of the online network" in said
    assert "left: teacher_backbone.conv1.weight, teacher_backbone.bn1.weight" in said
    half = under(trained, "backbone_momentum.") | under(other, "backbone.")
    assert same(loaded(half, tmp_path, "target")[0], trained)
    assert same(loaded(half, tmp_path, "online")[0], other)


def test_several_that_nothing_tells_apart_are_refused_unless_they_are_the_same(trained, tmp_path):
    twice = under(trained, "model.") | under(trained, "backbone.")
    assert same(loaded(twice, tmp_path)[0], trained)
    two = under(trained, "model.") | under(resnet(), "backbone.")
    with pytest.raises(SpecError, match="has 2 backbones resnet18: under model, under backbone"):
        loaded(two, tmp_path)


@pytest.mark.parametrize("start", ["", "state_dict.encoder."])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, p: s.pop(f"{p}layer4.0.bn2.bias"), "layer4.0.bn2.bias is missing"),
        (lambda s, p: s.update({f"{p}conv1.weight": torch.zeros(4, 3, 3, 3)}),
         "conv1.weight is 4×3×3×3, not 64×3×7×7"),  # noqa: RUF001
        (lambda s, p: s.update({f"{p}layer4.1.conv1.weight": torch.zeros(4, 4, 3, 3)}),
         "layer4.1.conv1.weight is not part of it"),
        (lambda s, p: s.update({f"{p}reg_token": torch.zeros(1)}), "reg_token is not part of it"),
        (lambda s, p: s.update({f"{p}fc.weight": torch.zeros(1), f"{p}queue_ptr": torch.zeros(1)}),
         None),
        (lambda s, p: [s.pop(n) for n in list(s) if "num_batches_tracked" in n], None),
    ],
)  # fmt: skip
def test_less_or_other_than_the_whole_backbone_is_refused(trained, tmp_path, start, change, words):
    state = under(trained, start)
    change(state, start)
    model = resnet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    if words is None:
        model, said = loaded(state, tmp_path)
        assert torch.equal(model.layer4[0].conv2.weight, trained.layer4[0].conv2.weight)
        assert "left" in said or "missing: bn1.num_batches_tracked" in said
        return
    with pytest.raises(WeightsError, match="does not fit the backbone resnet18") as caught:
        loaded(state, tmp_path, model=model)
    assert caught.value.message.endswith(words)
    assert ("under state_dict.encoder" in caught.value.message) is bool(start)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_part_of_a_deeper_network_is_no_backbone(tmp_path):
    assert same(loaded(under(vit(), "vit."), tmp_path, model=vit())[0], vit()) is False
    with pytest.raises(WeightsError, match=r"blocks\.2.* more are not part of it"):
        loaded(under(vit(depth=3), "vit."), tmp_path, model=vit())


def test_numbers_stand_for_children_in_their_places_alone(trained, tmp_path):
    state = under(numbered(trained), "backbone.")
    kept = [child for child in trained.children() if not isinstance(child, torch.nn.ReLU)]
    with pytest.raises(WeightsError):
        loaded(under(torch.nn.Sequential(*kept), "backbone."), tmp_path)
    other = {
        f"backbone.00.{name.rpartition('.')[2]}": value + 1
        for name, value in state.items()
        if name.startswith("backbone.0.")
    }
    model, said = loaded(state | other, tmp_path)
    assert same(model, trained)
    assert "left: backbone.00.weight" in said
    spare = state | {"backbone.7.0.se.weight": torch.ones(1)}
    with pytest.raises(WeightsError, match=r"layer4\.0\.se\.weight is not part of it"):
        loaded(spare, tmp_path)


def test_safetensors_are_searched_too(trained, tmp_path):
    save_file(under(trained, "module.backbone."), tmp_path / "w")
    model = resnet()
    assert "under module.backbone" in load_weights(tmp_path / "w", model, backbone="resnet18")
    assert same(model, trained)


@pytest.mark.parametrize("name", ["a\x1b[31m", "a" * 500])
def test_names_of_others_are_shown_as_a_terminal_may(trained, tmp_path, name):
    save_file(under(trained, f"{name}.") | {f"{name}.layer1.x": torch.ones(1)}, tmp_path / "w")
    with pytest.raises(EmabenchError) as caught:
        load_weights(tmp_path / "w", resnet(), backbone="resnet18")
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 500
