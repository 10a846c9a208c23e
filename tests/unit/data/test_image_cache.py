from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from emabench.data.cache import image_cache as cache_module
from emabench.data.cache.channels import channel_statistics
from emabench.data.cache.image_cache import ImageCache, cache_folder, write_atomically

SHAPE = (10, 4, 4, 3)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


class Counted:
    """Makes the pieces and counts how often it was asked to."""

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.calls = images, 0

    def __call__(self) -> Iterator[np.ndarray]:
        self.calls += 1
        yield self.images[:7]
        yield self.images[7:]


def test_entry_is_made_once_and_mapped(images: np.ndarray, tmp_path: Path) -> None:
    make = Counted(images)
    for _ in range(2):
        loaded, statistics = ImageCache(tmp_path).load("key", SHAPE, make)
        assert isinstance(loaded, np.memmap)
        assert not loaded.flags.writeable
        assert (loaded == images).all()
        assert statistics == channel_statistics(images)
    assert make.calls == 1
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".lock", ".npy"]


def truncate(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-5])


def flip_a_bit(entry: Path) -> None:
    content = bytearray(entry.read_bytes())
    content[-50] ^= 1
    entry.write_bytes(content)
    os.utime(entry, ns=(0, 0))


def empty(entry: Path) -> None:
    entry.write_bytes(b"")


def remove(entry: Path) -> None:
    entry.unlink()


def lose_the_record(entry: Path) -> None:
    entry.with_suffix(".json").unlink()


def garble_the_record(entry: Path) -> None:
    entry.with_suffix(".json").write_text("[1, 2")


def replace_by_another_shape(entry: Path) -> None:
    np.save(entry, np.zeros((10, 4, 12), np.uint8))
    record = json.loads(entry.with_suffix(".json").read_bytes())
    status = entry.stat()
    record |= {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
    entry.with_suffix(".json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_a_bit,
        empty,
        remove,
        lose_the_record,
        garble_the_record,
        replace_by_another_shape,
    ],
)
def test_damaged_entry_is_made_again(
    damage: Callable[[Path], None], images: np.ndarray, tmp_path: Path
) -> None:
    make = Counted(images)
    ImageCache(tmp_path).load("key", SHAPE, make)
    damage(tmp_path / "key.npy")
    for _ in range(2):
        loaded, _ = ImageCache(tmp_path).load("key", SHAPE, make)
        assert (loaded == images).all()
    assert make.calls == 2


def test_copied_entry_is_checked_and_kept(images: np.ndarray, tmp_path: Path) -> None:
    make = Counted(images)
    ImageCache(tmp_path).load("key", SHAPE, make)
    os.utime(tmp_path / "key.npy", ns=(0, 0))
    loaded, _ = ImageCache(tmp_path).load("key", SHAPE, make)
    assert (loaded == images).all()
    assert make.calls == 1


def test_folder_that_cannot_be_written_warns_and_works(images: np.ndarray, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    make = Counted(images)
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        loaded, statistics = ImageCache(blocked).load("key", SHAPE, make)
    assert (loaded == images).all()
    assert not loaded.flags.writeable
    assert statistics == channel_statistics(images)


def test_full_disk_leaves_nothing_behind(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module.os, "fsync", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        loaded, _ = ImageCache(tmp_path).load("key", SHAPE, Counted(images))
    assert (loaded == images).all()
    assert [p.suffix for p in tmp_path.iterdir()] == [".lock"]


def test_an_error_while_making_is_raised_and_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield np.zeros((1, 4, 4, 3), np.uint8)
        raise KeyError("file")

    with pytest.raises(KeyError):
        ImageCache(tmp_path).load("key", SHAPE, broken)
    assert [p.suffix for p in tmp_path.iterdir()] == [".lock"]


def test_leftovers_of_a_killed_process_are_removed(images: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "key.npy.abc.tmp").write_bytes(b"half")
    other = tmp_path / "other.npy.abc.tmp"
    other.write_bytes(b"somebody is writing this")
    ImageCache(tmp_path).load("key", SHAPE, Counted(images))
    assert list(tmp_path.glob("*.tmp")) == [other]


def test_atomic_write_keeps_the_old_file_on_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, [b"old"])

    def half() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, half())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_place_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMABENCH_CACHE", str(tmp_path / "named"))
    assert cache_folder(tmp_path) == tmp_path
    assert cache_folder() == tmp_path / "named"
    monkeypatch.delenv("EMABENCH_CACHE")
    assert "emabench" in str(cache_folder())


def test_statistics_are_those_of_numpy(images: np.ndarray) -> None:
    flat = images.reshape(-1, 3) / 255
    statistics = channel_statistics(images)
    np.testing.assert_allclose(statistics.mean, flat.mean(0))
    np.testing.assert_allclose(statistics.std, flat.std(0))
    constant = channel_statistics(np.full((2, 3, 3, 3), 7, np.uint8))
    assert constant.std == (1.0, 1.0, 1.0)
