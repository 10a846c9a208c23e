"""When the next checkpoint is due, and what a checkpoint file is."""

from __future__ import annotations

import pytest
import torch

from emabench.errors import CheckpointError
from emabench.spec import PretrainSpec
from emabench.training.checkpoint import (
    CheckpointClock,
    load_checkpoint,
    replaced,
    save_checkpoint,
    saved_states,
)


def clock(now=lambda: 0.0, **fields):
    return CheckpointClock(PretrainSpec.parse(fields), now)


def test_by_epochs():
    every_second = clock(checkpoint_epochs=2)
    assert [every_second.is_due(10 * e, epochs=e) for e in (1, 2, 3, 4)] == [
        False, True, False, True,
    ]  # fmt: skip
    assert not every_second.is_due(20), "inside an epoch only steps and minutes count"
    assert not clock(checkpoint_epochs=None).is_due(10, epochs=1)


def test_by_steps():
    every_third = clock(checkpoint_epochs=None, checkpoint_steps=3)
    assert [step for step in range(1, 10) if every_third.is_due(step)] == [3, 6, 9]
    assert [every_third.steps_left(step) for step in (0, 1, 2, 3)] == [3, 2, 1, 3]
    assert clock().steps_left(5) is None


def test_by_minutes_since_the_last_one():
    time = [0.0]
    minutes = clock(lambda: time[0], checkpoint_epochs=None, checkpoint_minutes=2)
    time[0] = 119.0
    assert not minutes.is_due(7)
    time[0] = 120.0
    assert minutes.is_due(7)
    minutes.saved()
    assert not minutes.is_due(8)


def test_two_checkpoints_stay(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, {"step": step, "weight": torch.full((3,), float(step))}, owner="")
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "checkpoint-previous.pt"}
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 3
    assert load_checkpoint(tmp_path / "checkpoint-previous.pt")["step"] == 2


def test_a_checkpoint_of_another_form_is_refused(tmp_path):
    told = []
    torch.save({"step": 1}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of this version"):
        load_checkpoint(tmp_path / "checkpoint.pt")
    assert list(saved_states([tmp_path], owner="", on_note=told.append)) == []
    assert len(told) == 1


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replaced(path) as file:
            file.write(b"new")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
