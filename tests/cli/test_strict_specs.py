"""What a spec cannot mean ends before anything is made: one line, a hint, exit code 2."""

import json
import pickle
import socket

import pytest
import torch
from safetensors.torch import save_file

SMOKE = ["run", "--preset", "smoke", "--dry-run"]


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        (["--set", "ema.decay=true"], "ema.decay=True", "schema"),
        (["--seed", "true"], "pretrain.seed=True", "schema"),
        (["--epochs", "2.0"], "pretrain.epochs=2.0", "schema"),
        (["--set", "compile=yes"], "pretrain.compile='yes'", "schema"),
        (["--seed", "9" * 5000], "a number of 5000 characters", "shorter"),
        (["--set", "backbone.options.layers=" + "[" * 3000], "deeper than 50", "flatter"),
        (["--set", "backbone.options.checkpoint_path=x.pth"], "checkpoint_path", "fresh weights"),
        (["--set", "backbone.options.in_chans=1"], "in_chans", "three channels"),
        (["--set", "optimizer.name=adahessian"], "second derivatives", "adamw"),
        (["--set", "optimizer.name=lars", "--set", "optimizer.weight_decay=0"], "lars", "always"),
        (["--name", "b\udcff"], "not UTF-8", "UTF-8"),
        (["--name", "b\x1b[31m"], "the control character '\\x1b'", "leave it out"),
        (["--study", "b\nc"], "the control character '\\n'", "leave it out"),
        (["--set", "data.data_dir=a\x07"], "the control character '\\x07'", ""),
    ],
)
def test_what_a_spec_cannot_mean_is_refused(emabench, folder, arguments, words, hint):
    result = emabench([*SMOKE, *arguments])
    assert result.code == 2, result.err
    (error,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert words in error
    assert "internal error" not in result.err
    assert hint in result.hint
    assert list(folder.iterdir()) == []


def test_the_environment_is_read_as_flags_are(emabench, folder, monkeypatch):
    monkeypatch.setenv("EMABENCH_SEED", "true")
    result = emabench(SMOKE)
    assert result.code == 2
    assert "pretrain.seed=True" in result.err


def test_a_named_backbone_is_whole_and_what_a_run_should_know_is_said(emabench, folder):
    arguments = [*SMOKE, "--yaml", "--backbone", "resnet18", "--set", "schedule.warmup_epochs=2"]
    result = emabench(arguments)
    assert result.code == 0, result.err
    assert "as long as the run" in result.err
    assert "channels" not in result.out
    small = emabench([*SMOKE, "--yaml"])
    assert "channels" in small.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"checkpoint_path": "evil.pth"}, "'checkpoint_path' is not an option"),
        ({"pretrained": True}, "'pretrained' is not an option"),
        ({"pretrained_cfg": {"url": "http://127.0.0.1:9/w"}}, "'pretrained_cfg' is not an option"),
        ({"layers": [{"hf_hub_id": "a/b"}]}, "'hf_hub_id' is not an option"),
        ({"pretrained_cfg_overlay": {"file": "evil.pth"}}, "'pretrained_cfg_overlay' is no"),
    ],
)
def test_weights_of_somebody_else_load_nothing_more(emabench, folder, monkeypatch, options, words):
    def refuse(*args, **kwargs):
        raise AssertionError("reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    spec = {"backbone": {"name": "resnet18", "options": options}}
    metadata = {"spec": json.dumps(spec)}
    save_file({"conv1.weight": torch.zeros(1)}, folder / "w.safetensors", metadata)
    (folder / "evil.pth").write_bytes(pickle.dumps(_Payload()))
    result = emabench(["eval", "w.safetensors", "--queue"])
    assert result.code == 2, result.err
    assert words in result.err
    assert "fresh weights" in result.hint
    assert sorted(file.name for file in folder.iterdir()) == ["evil.pth", "w.safetensors"]


class _Payload:
    def __reduce__(self):
        return open, ("trace", "w")
