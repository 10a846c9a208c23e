from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from conftest_images import tinted
from PIL import Image

from emabench.data.images import Dataset, load_dataset
from emabench.data.sources import manifest
from emabench.data.sources.left_out import LeftOutWarning
from emabench.data.sources.shards import tar_members, webdataset
from emabench.data.sources.shards.webdataset import shards_of
from emabench.errors import DataError, EmabenchError, NotFoundError, SpecError
from emabench.spec.data import DataSpec

CLASSES = ("ape", "bee", "cat")


def encoded(picture: np.ndarray, form: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, form)
    return content.getvalue()


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [encoded(each, ["PNG", "JPEG"][n % 2]) for n, each in enumerate(tinted(24, 12))]


def write(place: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place, "w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return place


def samples(pictures: list[bytes], start: int, stop: int, kind: str = "cls"):
    """Yield the members of some samples, their classes in turn."""
    for number in range(start, stop):
        label = CLASSES[number % 3]
        text = label if kind == "cls" else json.dumps({"class_name": label, "caption": "a\nb"})
        yield f"{number:04}.{'jpg' if number % 2 else 'png'}", pictures[number]
        yield f"{number:04}.{kind}", text.encode()


def load(place: Path | str, cache: Path, **fields: object) -> Dataset:
    spec = DataSpec.parse({"dataset": "webdataset", "data_dir": str(place), **fields})
    return load_dataset(spec, cache_dir=cache)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def tree(root: Path, pictures: list[bytes], splits: dict[str, range]) -> Path:
    """Write the same images as a folder."""
    for split, numbers in splits.items():
        for number in numbers:
            folder = root / split / CLASSES[number % 3]
            folder.mkdir(parents=True, exist_ok=True)
            suffix = "jpg" if number % 2 else "png"
            (folder / f"{number:04}.{suffix}").write_bytes(pictures[number])
    return root


@pytest.mark.parametrize("kind", ["cls", "json"])
@pytest.mark.parametrize("mode", ["disk", "none"])
def test_shards_are_what_the_same_images_are_as_a_folder(
    tmp_path, cache, pictures, kind, mode, monkeypatch
):
    monkeypatch.setenv("EMABENCH_CACHE_MODE", mode)
    write(tmp_path / "shards" / "train-000.tar", samples(pictures, 9, 18, kind))
    write(tmp_path / "shards" / "train-001.tar", samples(pictures, 0, 9, kind))
    write(tmp_path / "shards" / "test-000.tar", samples(pictures, 18, 24, kind))
    root = tree(tmp_path / "tree", pictures, {"train": range(18), "test": range(18, 24)})
    spec = DataSpec(dataset="folder", data_dir=str(root))
    folder, data = load_dataset(spec, cache_dir=cache), load(tmp_path / "shards", cache)
    assert data.content_hash == folder.content_hash
    assert (data.classes, data.split) == (CLASSES, "test shards")
    for one, other in ((data.train, folder.train), (data.test, folder.test)):
        assert np.array_equal(one.images[:], other.images[:])
        assert np.array_equal(one.labels, other.labels)
    assert (data.mean, data.std) == (folder.mean, folder.std)


def test_without_test_shards_the_same_part_is_held_out_as_of_a_folder(tmp_path, cache, pictures):
    write(tmp_path / "a-0.tar", samples(pictures, 0, 12))
    write(tmp_path / "a-1.tar", samples(pictures, 12, 24))
    root = tree(tmp_path / "tree", pictures, {"": range(24)})
    folder = load_dataset(DataSpec(dataset="folder", data_dir=str(root)), cache_dir=cache)
    data = load(f"{tmp_path}/a-{{0..1}}.tar", cache)
    assert data.content_hash == folder.content_hash
    assert data.split == "seeded 20 % split"
    assert np.array_equal(data.test.images[:], folder.test.images[:])


def test_images_alone_have_no_labels(tmp_path, cache, pictures):
    for name in ("train", "test"):
        members = ((f"ape/{n}.png", each) for n, each in enumerate(pictures))
        write(tmp_path / f"{name}-0.tar", members)
    with (
        pytest.warns(LeftOutWarning, match="folders are no classes"),
        pytest.warns(LeftOutWarning, match="not used: 24 test images"),
    ):
        data = load(tmp_path, cache)
    assert (data.classes, len(data.train), len(data.test)) == ((), 24, 0)


def test_patterns_and_unused_parts(tmp_path, cache, pictures):
    write(tmp_path / "train-001.tar", samples(pictures, 0, 12))
    with pytest.raises(NotFoundError, match=r"train-002\.tar: there is no such shard"):
        load(f"{tmp_path}/train-{{001..002}}.tar", cache)
    assert shards_of("test/{train-{08..09},val-{a,b},0}.tar") == {
        "train": [Path("test/train-08.tar"), Path("test/train-09.tar")],
        "val": [Path("test/val-a.tar"), Path("test/val-b.tar")],
        "": [Path("test/0.tar")],
    }
    names = ",".join(f"{number:03}" for number in range(100))  # longer than a name may be
    (shards,) = shards_of(f"t-{{{names}}}.tar").values()
    assert len(shards) == 100
    with pytest.raises(NotFoundError, match="a home that nobody has here"):
        shards_of("{~nobodyx,b}/x.tar")
    with pytest.raises(SpecError, match="means no file"):
        shards_of("w-{5..1}.tar")
    for many in ("{0..999999}{0..999999}.tar", "x-{0..999999999}{1..0}.tar", "{0..100000}.tar"):
        with pytest.raises(SpecError, match="more than 100,000 files"):
            shards_of(many)
    with pytest.raises(SpecError, match="more than 50 braces"):
        shards_of("{a}" * 1200)
    with pytest.raises(SpecError, match="is no file"):
        shards_of("pipe:cat a-{0..1}.tar")
    write(tmp_path / "test-000.tar", [*samples(pictures, 12, 18), ("x.txt", b"")][:-1])
    write(tmp_path / "val-000.tar", samples(pictures, 18, 24))
    for number in range(4):
        write(tmp_path / f"extra-{number}.tar", samples(pictures, 0, 6))
    left = r"not used: extra-0\.tar, extra-1\.tar, extra-2\.tar and 2 more"
    with pytest.warns(LeftOutWarning, match=left):
        data = load(tmp_path, cache)
    assert data.split == "test shards (others, val not used)"


def test_a_shard_is_read_once_and_again_when_it_changes(tmp_path, cache, pictures, monkeypatch):
    shard = write(tmp_path / "a.tar", samples(pictures, 0, 24))
    read = []
    scan = webdataset.read_members
    monkeypatch.setattr(webdataset, "read_members", lambda file: read.append(file) or scan(file))
    first = load(shard, cache)
    assert load(shard, cache).content_hash == first.content_hash
    assert len(read) == 2  # it had just been written
    os.utime(shard, (10**9, 10**9))
    monkeypatch.setattr(manifest, "SETTLED_NS", -(10**10))
    load(shard, cache)
    assert load(shard, cache).content_hash == first.content_hash
    assert len(read) == 3
    write(shard, samples(pictures, 0, 21))
    assert load(shard, cache).content_hash != first.content_hash


def test_the_key_of_the_label_may_be_named(tmp_path, cache, pictures):
    members = []
    for number in range(12):
        labels = json.dumps({"label": "any", "cls": number % 2})
        members += [(f"{number}.png", pictures[number]), (f"{number}.json", labels.encode())]
    write(tmp_path / "a.tar", members)
    with pytest.raises(DataError, match="label and cls could both be its class") as caught:
        load(tmp_path / "a.tar", cache)
    assert "data.label_column=label" in (caught.value.hint or "")
    assert load(tmp_path / "a.tar", cache, label_column="cls").classes == ("0", "1")
    with pytest.raises(DataError, match=r"0\.json: it has no key 'csl'") as caught:
        load(tmp_path / "a.tar", cache, label_column="csl")
    assert "'cls', 'label'" in (caught.value.hint or "")
    write(tmp_path / "b.tar", samples(pictures, 0, 6))
    with pytest.raises(DataError, match=r"sample 0000 has no \.json"):
        load(tmp_path / "b.tar", cache, label_column="cls")
    with pytest.raises(SpecError, match=r"label_column=cls does not apply to synthetic"):
        load_dataset(DataSpec(dataset="synthetic", label_column="cls"))


def special(name: str, **fields: object) -> bytes:
    """Return an archive with one member of a kind of its own."""
    entry = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def header(name: str, size: str, kind: bytes = b"0") -> bytes:
    """Return a header with a size in the tar's own words, and a checksum that is right."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size if isinstance(size, bytes) else size.encode()
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


NEGATIVE = b"\xff" * 11 + b"\x00"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            special("a.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
            "a link, to '/etc/passwd'",
        ),
        (special("a.png", type=tarfile.LNKTYPE, linkname="../b"), "a link, to '../b'"),
        (special("a.png", type=tarfile.FIFOTYPE), "not a regular file"),
        (special("a.png", type=tarfile.CHRTYPE), "not a regular file"),
        (special("../a.png"), "its path leads out of the shard"),
        (special("/a.png"), "its path leads out of the shard"),
        (special("a\x1b[31m.png"), "its name has the control character"),
        (special("a.png", size=2**40), "it is cut off"),
        (header("a.png", NEGATIVE) + bytes(1024), "its size is negative"),
        (header("L", "77777777777\0", b"L") + bytes(2048), "a header of more than"),
        (header("x", "77777777777\0", b"x") + bytes(2048), "a header of more than"),
        (header("x", NEGATIVE, b"x") + bytes(2048), r"a header of more than|cannot be read"),
        (header("S", "00000000000\0", b"S") + bytes(1024), r"not a regular file|cannot be read"),
        (gzip.compress(special("a.png"), mtime=0), "a compressed archive"),
        (b"no archive at all" * 100, "cannot be read as a tar archive"),
        (b"", "cannot be read as a tar archive"),
        (special("a.png")[:512], "cut off: it has no end"),
        (special("a.png") + special("b.png"), "another archive begins, at byte 512"),
        (special("a.png")[:512] * 2 + bytes(1024), "it stands twice"),
        (special("a.png")[:512] + b"damage" * 100 + bytes(1024), "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # archives hold the time
)
def test_hostile_archives_are_refused_with_one_line(tmp_path, content, message):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        tar_members.read_members(tmp_path / "a.tar")
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert str(tmp_path / "a.tar") in caught.value.message
    assert caught.value.hint


def test_a_sparse_member_is_refused(tmp_path):
    entry = tarfile.TarInfo("a.png")
    entry.pax_headers = {"GNU.sparse.size": "1099511627776", "GNU.sparse.numblocks": "0"}
    (tmp_path / "a.tar").write_bytes(entry.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    with pytest.raises(DataError, match=r"not a regular file|cut off|cannot be read"):
        tar_members.read_members(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.png", b"no image")], r"a\.tar: a\.png: cannot be decoded: not an image"),
        ([("a.png", b"")], r"a\.tar: a\.png: the file is empty"),
        ([("a.cls", b"1")], "sample a has no image"),
        ([("a.png", None), ("a.jpg", None)], "two images of one sample"),
        ([("a.png", None), ("a.cls", b"1"), ("b.png", None)], "has no label, and others have one"),
        ([("a.png", None), ("a.json", b'{"label": [1, 2]}')], "several labels for one image"),
        ([("a.png", None), ("a.json", b'{"label": 0.5}')], "its label is 0.5"),
        ([("a.png", None), ("a.json", b'{"label": true}')], "its label is True"),
        ([("a.png", None), ("a.json", b'{"label": 1, "label": 2}')], "the key 'label' twice"),
        ([("a.png", None), ("a.json", b"[" * 100_000)], "cannot be read as JSON"),
        ([("a.png", None), ("a.cls", b"\x1b[31m")], "cannot be the name of a class"),
        ([("a.png", None), ("a.cls", b"\xff")], "not UTF-8"),
        ([("a.png", None), ("a.cls", b"1")], "only one class, '1'"),
        ([], r"cut off|no samples"),
    ],
)
def test_samples_that_make_no_data_set_are_refused(tmp_path, cache, pictures, members, message):
    filled = [(name, pictures[0] if content is None else content) for name, content in members]
    write(tmp_path / "a.tar", filled)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / "a.tar", cache)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_truncated_image_names_its_member(tmp_path, cache, pictures):
    members = dict(samples(pictures, 0, 24))
    members["0004.png"] = members["0004.png"][:-60]
    write(tmp_path / "a.tar", members.items())
    with pytest.raises(DataError, match=r"a\.tar: 0004\.png: cannot be decoded"):
        load(tmp_path / "a.tar", cache)


def test_a_pipe_is_no_shard(tmp_path, cache):
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(DataError, match="not a regular file"):
        load(tmp_path / "a.tar", cache)


def test_any_bytes_are_an_archive_or_a_line(tmp_path, pictures):
    write(tmp_path / "whole.tar", samples(pictures, 0, 4))
    whole = (tmp_path / "whole.tar").read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(100):
        content = bytearray(whole)
        content[draw.integers(0, len(content) // 3)] = draw.integers(0, 256)
        (tmp_path / "a.tar").write_bytes(content[: draw.integers(1, len(content))])
        try:
            tar_members.read_members(tmp_path / "a.tar")
        except EmabenchError:
            continue
