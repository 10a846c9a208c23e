"""Damaged checkpoints and weights: every one is noticed, whatever was done to the file."""

import os
import random
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

from emabench.artifacts.weights_digest import with_digest
from emabench.errors import CheckpointError, WeightsError
from emabench.evaluation.weights_file import check_origin, load_weights, read_header
from emabench.networks.backbone import build_backbone
from emabench.spec import BackboneSpec, PretrainSpec
from emabench.training.checkpoint import load_checkpoint, save_checkpoint, saved_states

SMALL = BackboneSpec(
    name="resnet18", stem="original", options={"layers": [1, 1, 1, 1], "channels": [8, 8, 8, 8]}
)


def flipped(content, rng):
    where, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
    return content[:where] + bytes([content[where] ^ bit]) + content[where + 1 :]


def garbage(content, rng):
    start = rng.randrange(len(content))
    length = rng.randint(1, 64)
    return content[:start] + rng.randbytes(length) + content[start + length :]


def truncated(content, rng):
    return content[: rng.randrange(len(content))]


def shortened_a_little(content, rng):
    return content[: -rng.randint(1, 64)]


def appended(content, rng):
    return content + rng.choice([b"\0", b"\n", rng.randbytes(rng.randint(1, 64)), content])


def blank(content, rng):
    start = rng.randrange(len(content))
    length = rng.randint(1, 4096)
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def moved(content, rng):
    middle = rng.randrange(1, len(content))
    return content[middle:] + content[:middle]


DAMAGES = [flipped, garbage, truncated, shortened_a_little, appended, blank, moved]


def damaged(content, count):
    """Yield the content, damaged in one way after the other, and always changed."""
    rng = random.Random(19)
    made = 0
    while made < count:
        changed = DAMAGES[made % len(DAMAGES)](content, rng)
        if changed != content:
            made += 1
            yield changed


def write_checkpoint(folder, step=1, owner="mine"):
    generator = torch.Generator().manual_seed(step)
    state = {
        "step": step,
        "learner": {"weight": torch.randn(60, 40, generator=generator), "names": ["a", "b"]},
        "losses": [0.5, 0.25],
    }
    return save_checkpoint(folder, state, owner=owner)


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_every_damaged_checkpoint_is_noticed_and_the_one_before_used(tmp_path, count):
    write_checkpoint(tmp_path, step=1)
    path = write_checkpoint(tmp_path, step=2)
    content = path.read_bytes()
    assert load_checkpoint(path, owner="mine")["step"] == 2
    for changed in damaged(content, count):
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
            load_checkpoint(path)
        notes = []
        found = saved_states([tmp_path], owner="mine", on_note=notes.append)
        assert [state["step"] for state in found] == [1]
        assert len(notes) == 1


def test_a_checkpoint_of_another_training_is_not_used(tmp_path):
    write_checkpoint(tmp_path / "mine", step=1)
    write_checkpoint(tmp_path / "mine", step=2)
    other = write_checkpoint(tmp_path / "other", step=7, owner="other")
    other.replace(tmp_path / "mine" / other.name)
    notes = []
    found = saved_states([tmp_path / "mine"], owner="mine", on_note=notes.append)
    assert [state["step"] for state in found] == [1]
    assert "another training" in notes[0]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_in_the_place_of_a_checkpoint_is_damage(tmp_path, make):
    make(tmp_path / "checkpoint.pt")
    notes = []
    assert list(saved_states([tmp_path], owner="mine", on_note=notes.append)) == []
    assert "cannot read the checkpoint" in notes[0]


def test_a_checkpoint_without_a_digest_loads_with_one_note(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 2, "state": {"step": 5}}, path)  # as version 0.1.0 wrote it
    notes = []
    states = list(saved_states([tmp_path], owner="mine", on_note=notes.append))
    assert states == [{"step": 5}]
    assert len(notes) == 1
    assert "without a digest" in notes[0]


def test_what_tells_trainings_apart_is_no_matter_of_the_machine():
    spec = PretrainSpec()
    same = {"device": "cuda:1", "threads": 3, "precision": "bf16", "checkpoint_steps": 7}
    moved_data = {"data": {"data_dir": "/elsewhere"}}
    assert PretrainSpec.parse(same | moved_data).training_key() == spec.training_key()
    for other in ({"seed": 1}, {"ema": {"scope": "full"}}, {"data": {"train_subset": 9}}):
        assert PretrainSpec.parse(other).training_key() != spec.training_key()


@pytest.fixture
def model():
    return build_backbone(SMALL, 28).model


def write_weights(path: Path, model, spec=None, network="online"):
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    metadata = {"spec": (spec or PretrainSpec()).model_dump_json(), "network": network}
    path.write_bytes(with_digest(save(state), metadata))
    return path


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_every_damaged_file_of_weights_is_noticed(tmp_path, model, count):
    path = write_weights(tmp_path / "w.safetensors", model)
    content = path.read_bytes()
    load_weights(path, model, backbone="resnet18")
    for changed in damaged(content, count):
        path.write_bytes(changed)
        for read in (read_header, lambda file: load_weights(file, model, backbone="resnet18")):
            with pytest.raises(WeightsError, match="cannot read the weights"):
                read(path)


def test_every_bit_of_the_digest_and_its_name_counts(tmp_path, model):
    path = write_weights(tmp_path / "w.safetensors", model)
    content = path.read_bytes()
    entry = re.search(rb'"emabench_sha256":"[0-9a-f]{64}"', content)
    for where in range(*entry.span()):
        for bit in (0, 5):
            changed = bytearray(content)
            changed[where] ^= 1 << bit
            path.write_bytes(changed)
            with pytest.raises(WeightsError, match="cannot read the weights"):
                read_header(path)


def test_a_digest_leaves_the_tensors_to_every_reader_of_safetensors(tmp_path, model):
    path = write_weights(tmp_path / "w.safetensors", model)
    for name, value in load_file(path).items():
        assert torch.equal(value, model.state_dict()[name])
    with safe_open(path, framework="pt") as opened:
        assert set(opened.metadata()) == {"spec", "network", "emabench_sha256"}


def test_swapped_weights_are_noticed(tmp_path, model):
    spec = PretrainSpec(seed=1)
    notes = []
    online = write_weights(tmp_path / "online.safetensors", model, spec)
    check_origin(online, PretrainSpec(seed=1, device="cpu", threads=2), notes.append)
    with pytest.raises(WeightsError, match="not those of the training"):
        check_origin(online, PretrainSpec(seed=2), notes.append)
    target = online.replace(tmp_path / "target.safetensors")
    with pytest.raises(WeightsError, match="not those of the target network"):
        check_origin(target, spec, notes.append)
    assert notes == []


def test_weights_without_a_digest_load_with_one_note(tmp_path, model):
    path, notes = tmp_path / "online.safetensors", []
    save_file(model.state_dict(), path, {"spec": PretrainSpec(seed=1).model_dump_json()})
    check_origin(path, PretrainSpec(seed=1), notes.append)
    load_weights(path, model, backbone="resnet18")
    assert len(notes) == 1
    assert "without a digest" in notes[0]


def test_a_pipe_is_no_file_of_weights(tmp_path):
    os.mkfifo(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="not a regular file"):
        read_header(tmp_path / "w.safetensors")


def test_metadata_that_others_add_is_no_damage(tmp_path, model):
    path = tmp_path / "w.safetensors"
    save_file(model.state_dict(), path, {"spec": "{}", "format": "pt", "note": "mine"})
    load_weights(path, model, backbone="resnet18")
