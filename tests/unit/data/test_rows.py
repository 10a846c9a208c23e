from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest_images import tinted

from emabench.data.cache.image_rows import ChosenRows, FileImages, HeldImages, take
from emabench.data.decode import decode
from emabench.data.images import Dataset, ImageSet, load_dataset
from emabench.spec.data import DataSpec

MakeTree = Callable[..., Path]
KEYS = [3, -1, slice(2, 9), slice(0, 0), np.array([7, 7, 0]), np.arange(18) % 5 == 0]


@pytest.fixture
def files(make_tree: MakeTree) -> list[Path]:
    return sorted(make_tree(size=20).rglob("*.*"))


@pytest.fixture
def whole(files: list[Path]) -> np.ndarray:
    return np.stack([decode(file, 12, "center") for file in files])


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_rows_of_files_are_those_of_the_array(
    key: object, files: list[Path], whole: np.ndarray
) -> None:
    images = FileImages(files, 12, "center")
    assert images.shape == whole.shape
    assert images.nbytes == whole.nbytes
    assert len(images) == len(whole)
    assert np.array_equal(images[key], whole[key])
    assert images[key].dtype == np.uint8


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_held_images_are_made_once_and_late(key: object, whole: np.ndarray) -> None:
    made = []

    def pieces() -> Iterator[np.ndarray]:
        made.append(True)
        yield whole[:5]
        yield whole[5:]

    images = HeldImages(whole.shape, pieces)
    assert (images.shape, images.nbytes, len(images)) == (whole.shape, whole.nbytes, len(whole))
    assert not made
    assert np.array_equal(images[key], whole[key])
    assert np.array_equal(images[:], whole)
    assert made == [True]


def test_some_rows_of_some_rows(files: list[Path], whole: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", whole)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    first, second = np.array([9, 3, 4, 17]), np.array([3, 1])
    sources = (
        whole,
        mapped,
        FileImages(files, 12, "center"),
        HeldImages(whole.shape, [whole].copy),
    )
    for images in sources:
        part = take(take(images, first), second)
        assert part.shape == (2, 12, 12, 3)
        assert np.array_equal(part[:], whole[[17, 3]])
    assert isinstance(take(mapped, first), ChosenRows)
    assert isinstance(take(sources[2], first), FileImages)


MODES = ("disk", "ram", "none")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Dataset]:
    def loaded(mode: str, cache: str, spec: DataSpec) -> Dataset:
        monkeypatch.setenv("EMABENCH_CACHE_MODE", mode)
        return load_dataset(spec, cache_dir=tmp_path / cache)

    return loaded


def test_every_mode_gives_the_same_images(
    make_tree: MakeTree, load: Callable[..., Dataset]
) -> None:
    root = make_tree("train", "test", size=20)
    for fields in ({}, {"train_subset": 7, "test_subset": 5}, {"crop": "stretch"}):
        spec = DataSpec.parse(
            {"dataset": "folder", "data_dir": str(root), "image_size": 9, **fields}
        )
        expected = load("disk", "disk", spec)
        for mode in MODES:
            for cache in ("disk", mode, mode):  # beside entries; first; with known statistics
                found = load(mode, cache, spec)
                assert (found.mean, found.std) == (expected.mean, expected.std)
                assert found.content_hash == expected.content_hash
                for a, b in ((found.train, expected.train), (found.test, expected.test)):
                    assert np.array_equal(a.images[:], b.images[:])
                    assert np.array_equal(a.labels, b.labels)


def test_arrays_of_another_size_are_the_same_in_every_mode(load: Callable[..., Dataset]) -> None:
    spec = DataSpec(image_size=10, train_subset=40, test_subset=30)
    expected = load("disk", "disk", spec)
    for mode in ("ram", "none"):
        found = load(mode, mode, spec)
        assert (found.mean, found.std) == (expected.mean, expected.std)
        assert np.array_equal(found.train.images[:], expected.train.images[:])


def test_only_the_statistics_are_kept_of_images_that_are_not(
    make_tree: MakeTree, load: Callable[..., Dataset], tmp_path: Path
) -> None:
    spec = DataSpec(dataset="folder", data_dir=str(make_tree("train", "test")), image_size=9)
    data = load("none", "kept", spec)
    assert isinstance(data.train.images, FileImages)
    assert not list((tmp_path / "kept").glob("*.npy"))
    records = list((tmp_path / "kept").glob("*.statistics.json"))
    assert len(records) == 2
    for record in records:
        record.write_text("{")
    assert load("none", "kept", spec).mean == data.mean


def test_taking_images_takes_their_labels() -> None:
    images = ImageSet(tinted(4, 8), np.array([3, 2, 1, 0]))
    part = images.take(np.array([2, 0]))
    assert part.labels.tolist() == [1, 3]
    assert np.array_equal(part.images[:], images.images[[2, 0]])
