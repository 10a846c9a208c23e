from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest_images import tinted
from PIL import Image

from emabench.data.cache.image_rows import ChosenRows
from emabench.data.images import Dataset, load_dataset
from emabench.data.sources import array_files, arrays, manifest
from emabench.errors import DataError, EmabenchError, NotFoundError, SpecError
from emabench.spec.data import DataSpec

LABELS = np.arange(24) % 3


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return tinted(36, 12)


def load(place: Path, **fields: object) -> Dataset:
    spec = DataSpec.parse({"dataset": "arrays", "data_dir": str(place), **fields})
    return load_dataset(spec, cache_dir=place.parent / "cache")


def medmnist(images: np.ndarray, place: Path) -> Path:
    """Write 24 training, 6 validation and 6 test images as MedMNIST does; labels are [N, 1]."""
    labels = (np.arange(36) % 3).astype(np.uint8)[:, None]
    parts = {"train": slice(0, 24), "val": slice(24, 30), "test": slice(30, 36)}
    named = {f"{part}_images": images[rows] for part, rows in parts.items()}
    np.savez_compressed(place, **named, **{f"{p}_labels": labels[r] for p, r in parts.items()})
    return place


def test_medmnist_is_read_and_its_validation_part_is_said_to_be_unused(tmp_path, images):
    place = medmnist(images, tmp_path / "pathmnist.npz")
    with pytest.warns(RuntimeWarning, match="not used: val_images, val_labels"):
        data = load(place)
    assert (data.train.images == images[:24]).all()
    assert (data.test.images == images[30:]).all()
    assert data.train.labels.tolist() == LABELS.tolist()
    assert data.train.labels.dtype == np.int64
    assert (data.classes, data.image_size) == (("0", "1", "2"), 12)
    assert data.split == "test_images"


def test_pixels_and_labels_are_those_of_the_same_images_as_a_folder(tmp_path):
    pictures = np.ascontiguousarray(tinted(12, 30)[:, :20])
    names, labels = ["bee", "ape"], np.arange(12) % 2
    for number, picture in enumerate(pictures):
        folder = tmp_path / "tree" / "train" / names[labels[number]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{number:02}.png")
    (tmp_path / "tree" / "test").symlink_to("train")
    by_class = np.argsort(1 - labels, kind="stable")
    both = {"train_images": pictures[by_class], "train_labels": labels[by_class]}
    both |= {name.replace("train", "test"): each for name, each in both.items()}
    np.savez(tmp_path / "some.npz", class_names=np.array(names), **both)
    for fields in ({"image_size": 16}, {"image_size": 9, "crop": "stretch"}, {}):
        tree = load_dataset(
            DataSpec.parse({"dataset": "folder", "data_dir": str(tmp_path / "tree"), **fields}),
            cache_dir=tmp_path / "cache",
        )
        data = load(tmp_path / "some.npz", **fields)
        assert data.classes == tree.classes == ("ape", "bee")
        assert np.array_equal(data.train.images[:], tree.train.images[:])
        assert np.array_equal(data.train.labels, tree.train.labels)
        assert (data.mean, data.std) == (tree.mean, tree.std)


def test_a_folder_of_npy_is_mapped_and_has_the_same_content_as_the_archive(tmp_path, images):
    (tmp_path / "arrays").mkdir()
    np.savez(tmp_path / "some.npz", x=images[:24], y=LABELS)
    np.save(tmp_path / "arrays" / "images.npy", images[:24])
    np.save(tmp_path / "arrays" / "labels.npy", LABELS.astype(">i2"))
    archive, mapped = load(tmp_path / "some.npz"), load(tmp_path / "arrays")
    assert isinstance(mapped.train.images, ChosenRows)
    assert archive.split == mapped.split == "seeded 20 % split"
    assert archive.content_hash == mapped.content_hash
    for one, other in ((archive.train, mapped.train), (archive.test, mapped.test)):
        assert np.array_equal(one.images[:], other.images[:])
        assert np.array_equal(one.labels, other.labels)
    assert (archive.mean, archive.std) == (mapped.mean, mapped.std)
    assert len(mapped.test) == 6
    other = load(tmp_path / "arrays", subset_seed=1)
    assert other.content_hash == mapped.content_hash
    assert not np.array_equal(other.test.images[:], mapped.test.images[:])


def test_grey_images_become_rgb_whether_mapped_or_held(tmp_path, images):
    grey = images[:24, ..., 0]
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "x.npy", grey[..., None])
    np.save(tmp_path / "arrays" / "y.npy", LABELS)
    np.savez(tmp_path / "some.npz", X=grey, y=LABELS)
    for seed in (0, 1):  # the second split is another one, and cached apart
        mapped = load(tmp_path / "arrays", subset_seed=seed)
        held = load(tmp_path / "some.npz", subset_seed=seed)
        assert mapped.train.images.shape[1:] == (12, 12, 3)
        assert isinstance(held.train.images, np.memmap), "three times as large, they are cached"
        assert np.array_equal(mapped.train.images[:], held.train.images[:])
        assert mapped.mean == held.mean


def test_arrays_are_hashed_and_counted_once(tmp_path, images, monkeypatch):
    (tmp_path / "arrays").mkdir()
    np.savez(tmp_path / "some.npz", images=images[:24], labels=LABELS)
    np.save(tmp_path / "arrays" / "images.npy", images[:24])
    np.save(tmp_path / "arrays" / "labels.npy", LABELS)
    monkeypatch.setattr(manifest, "SETTLED_NS", -(10**10))
    first = [load(tmp_path / place) for place in ("some.npz", "arrays")]
    with monkeypatch.context() as patch:
        for name in ("content_hash", "_statistics"):
            patch.setattr(arrays, name, lambda *_: pytest.fail("all of it is read again"))
        again = [load(tmp_path / place) for place in ("some.npz", "arrays")]
    for one, other in zip(first, again, strict=True):
        facts = ("content_hash", "mean", "std", "split")
        assert [getattr(one, name) for name in facts] == [getattr(other, name) for name in facts]
    for record in tmp_path.rglob("*.values.json"):  # what it holds is not believed in any shape
        record.write_text(json.dumps({**json.loads(record.read_text()), "values": []}))
    assert load(tmp_path / "arrays").mean == first[1].mean
    assert load(tmp_path / "arrays", subset_seed=1).mean != first[1].mean
    np.save(tmp_path / "arrays" / "labels.npy", LABELS[::-1])
    assert load(tmp_path / "arrays").content_hash != first[1].content_hash


def test_images_alone_have_no_labels(tmp_path, images):
    np.save(tmp_path / "photos.npy", images)
    data = load(tmp_path / "photos.npy")
    assert data.classes == ()
    assert (len(data.train), len(data.test)) == (36, 0)
    assert data.split == "no labels: all for training"
    assert np.array_equal(np.asarray(data.train.images[:]), images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((24, 8, 8), np.float32)}, "values of type float32, not uint8"),
        ({"x": np.zeros((24, 3, 8, 8), np.uint8)}, "24 x 3 x 8 x 8: the channels come first"),
        ({"x": np.zeros((24, 8, 8, 8), np.uint8)}, "24 x 8 x 8 x 8: volumes, not images"),
        ({"x": np.zeros((24, 8, 8, 4), np.uint8)}, "a fourth channel"),
        ({"x": np.zeros((24, 64), np.uint8)}, "24 x 64: not images"),
        ({"x": np.zeros((0, 8, 8), np.uint8)}, "no images"),
        ({"x": np.full((24, 8, 8), 7, np.uint8)}, "has the same colour"),
        ({"y": np.zeros((24, 14), np.uint8)}, "14 labels per image"),
        ({"y": np.linspace(0, 1, 24)}, "labels of type float64, not whole numbers"),
        ({"y": LABELS[:20]}, "24 images, but 20 labels in y"),
        ({"y": LABELS - 1}, "-1 is no class"),
        ({"y": np.zeros(24, int)}, "only one class, '0'"),
        ({"y": np.arange(24)}, "one image cannot be split"),
        ({"classes": np.array(["ape", "bee"])}, "2 names, but a label is 2"),
        ({"classes": np.array(["ape", "ape", "bee"])}, "two classes are called 'ape'"),
        ({"classes": np.array(["ape", "\x1b", "bee"])}, "cannot be the name of a class"),
        ({"classes": np.arange(3)}, "not a list of names"),
        ({"images": np.zeros((24, 8, 8), np.uint8)}, "images and x could both be the images"),
        ({"X": np.zeros((24, 8, 8), np.uint8)}, "one name but for capitals"),
        ({"x_test": np.zeros((2, 8, 8), np.uint8)}, "x_test has no labels"),
        (
            {"x_test": np.zeros((2, 8, 8), np.uint8), "y_test": np.array([0, 3])},
            "no training image of class '3'",
        ),
    ],
)
def test_what_makes_no_data_set_is_refused_with_words(tmp_path, images, change, message):
    np.savez(tmp_path / "some.npz", **{"x": images[:24], "y": LABELS, **change})
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / "some.npz")
    assert str(tmp_path / "some.npz") in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


class Boom:
    def __reduce__(self):
        return os.mkdir, ("boom",)


def npy(header: str, values: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values


def archive(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in members.items():
            file.writestr(f"{name}.npy", value)
    return content.getvalue()


def objects() -> bytes:
    content = io.BytesIO()
    np.save(content, np.array([Boom()] * 4), allow_pickle=True)
    return content.getvalue()


def overlong() -> bytes:
    """An archive whose array says that it is smaller than it is."""
    shape = "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 8, 8)}"
    return archive(images=npy(shape, bytes(2**20)))


SHAPE = "{'descr': '|u1', 'fortran_order': False, 'shape': (%s)}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", archive(images=objects()), "Python objects, which are pickles and not read"),
        ("a.npy", objects(), "Python objects, which are pickles and not read"),
        ("a.npz", pickle.dumps(Boom()), "neither .npz nor .npy"),
        ("a.npy", npy(SHAPE % "4096, 1024, 1024", bytes(64)), "its header says 4,294,967,296"),
        ("a.npy", npy(SHAPE % f"{2**62}, 8, 8"), "its header says"),
        ("a.npy", npy(SHAPE % "-1, 8, 8"), "its header says"),
        ("a.npz", archive(images=npy(SHAPE % f"{2**40}, 8, 8")), "its header says"),
        ("a.npz", overlong(), "its header says 256 bytes of values, and there are 1,048,576"),
        ("a.npy", npy("__import__('os').mkdir('boom')"), "cannot be read"),
        ("a.npy", npy("(" * 100), "cannot be read"),
        ("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "version 2.0 of the format"),
        ("a.npz", archive(images=b""), "cannot be read"),
        ("a.npz", archive(images=npy(SHAPE % "4, 8, 8", bytes(256)))[:-30], "neither"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # archives hold the time
)
def test_hostile_files_are_refused_with_one_line(tmp_path, monkeypatch, name, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert not (tmp_path / "boom").exists()


def test_an_archive_larger_than_the_memory_is_refused_by_its_headers(tmp_path, images, monkeypatch):
    bomb = tmp_path / "bomb.npz"
    np.savez_compressed(bomb, images=np.zeros((2**12, 64, 64), np.uint8))
    assert bomb.stat().st_size < 2**16

    class Memory:
        available = 2**24

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    with pytest.raises(DataError, match=r"its arrays take 0\.0 GiB of memory") as caught:
        load(bomb)
    assert "mapped" in (caught.value.hint or "")
    np.savez(tmp_path / "some.npz", x=images[:24], y=LABELS)
    needed = images[:24].nbytes + LABELS.nbytes

    class Filling:
        """Half of it is what the arrays need; once they are read there is less."""

        def __init__(self) -> None:
            self.available = 2 * needed if not asked else needed
            asked.append(self.available)

    asked: list[int] = []
    monkeypatch.setattr("psutil.virtual_memory", Filling)
    assert array_files.read_array_files(tmp_path / "some.npz").classes == ("0", "1", "2")


def test_a_changed_byte_in_an_archive_is_noticed(tmp_path, images):
    np.savez(tmp_path / "some.npz", x=images[:24], y=LABELS)
    content = bytearray((tmp_path / "some.npz").read_bytes())
    content[5000] ^= 1
    (tmp_path / "some.npz").write_bytes(content)
    with pytest.raises(DataError, match="Bad CRC-32"):
        load(tmp_path / "some.npz")


def test_pipes_and_missing_places_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "arrays").mkdir()
    os.mkfifo(tmp_path / "arrays" / "images.npy")
    for place in ("pipe.npz", "arrays"):
        with pytest.raises(DataError, match="not a regular file"):
            load(tmp_path / place)
    with pytest.raises(NotFoundError):
        load(tmp_path / "nowhere.npz")
    with pytest.raises(SpecError, match="needs data_dir"):
        load_dataset(DataSpec(dataset="arrays"))


@pytest.mark.filterwarnings("ignore::emabench.data.sources.left_out.LeftOutWarning")
def test_any_bytes_are_an_array_or_a_line(tmp_path, monkeypatch):
    """A sample of changed and cut-off archives and arrays: none ends in another error."""
    parts = {
        "images": npy(SHAPE % "12, 8, 8", bytes(range(256)) * 3),
        "labels": npy(SHAPE % "12,", bytes(range(2)) * 6),
    }
    stored = io.BytesIO()  # not compressed, so that a change reaches the headers
    np.savez(stored, **{name: np.load(io.BytesIO(each)) for name, each in parts.items()})
    examples = {"a.npz": archive(**parts), "b.npz": stored.getvalue(), "c.npy": parts["images"]}
    read = []
    look = array_files._header_at
    monkeypatch.setattr(array_files, "_header_at", lambda *a: read.append(1) or look(*a))
    draw = np.random.default_rng(0)
    for name, whole in examples.items():
        place = tmp_path / name
        place.write_bytes(whole)
        array_files.read_array_files(place)
        read.clear()
        for attempt in range(40):
            content = bytearray(whole)
            for index in draw.integers(0, len(content) if attempt % 2 else 300, 2):
                content[index] = draw.integers(0, 256)
            length = len(content) if attempt % 4 else draw.integers(len(content))
            place.write_bytes(content[:length])
            with contextlib.suppress(EmabenchError):
                array_files.read_array_files(place)
        assert len(read) > 20, name
