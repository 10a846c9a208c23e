"""Pictures that are not what they seem, and places that hold more or less than pictures."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest_images import tinted
from PIL import EpsImagePlugin, Image

from emabench.data.cache import cache_mode
from emabench.data.cache.image_rows import FileImages
from emabench.data.decode import decode, inspect
from emabench.data.images import Dataset, load_dataset
from emabench.data.reading import read_batches
from emabench.errors import DataError, NotFoundError, SpecError
from emabench.spec import ExperimentSpec
from emabench.spec.data import DataSpec

MakeTree = Callable[..., Path]
EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 24\n%%EndComments\n0 0 24 24 rectfill\n%%EOF\n"
)


def load(root: Path, **fields: object) -> Dataset:
    spec = DataSpec.parse({"dataset": "folder", "data_dir": str(root), **fields})
    return load_dataset(spec, cache_dir=root.parent / "cache")


def files_of(data: Dataset) -> int:
    return len(data.train) + len(data.test)


@pytest.mark.parametrize("name", ["cat.png", "cat.eps", "cat.jpg"])
def test_postscript_starts_no_program(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **_: started.append(args))
    (tmp_path / name).write_bytes(EPS)
    for look in (inspect, lambda path: decode(path, 8, "center")):
        with pytest.raises(DataError, match=f"{name}: cannot be decoded: not an image \\(BMP, GIF"):
            look(tmp_path / name)
    assert started == []


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "ICNS", "PDF", "JPEG2000"])
def test_formats_that_are_not_documented_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    with path.open("wb") as file:
        Image.fromarray(tinted(1, 32)[0]).save(file, kind)
    with pytest.raises(DataError, match="not an image"):
        inspect(path)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP"])
def test_documented_formats_are_read_whatever_the_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image.dat"
    with path.open("wb") as file:
        Image.fromarray(tinted(1, 24)[0]).save(file, kind)
    facts = inspect(path)
    assert (facts.width, facts.height, facts.is_deep) == (24, 24, False)
    assert decode(path, 24, "center").std() > 10


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", "png"), ("TIFF", "tif"), ("GIF", "gif")])
def test_too_many_pixels_are_refused_before_they_are_decoded(
    kind: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = tmp_path / f"bomb.{suffix}"
    image = Image.new("1", (12_000, 12_000))
    image.save(path, kind, **({"compression": "tiff_lzw"} if kind == "TIFF" else {}))
    assert path.stat().st_size < 2_000_000
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    for look in (inspect, lambda path: decode(path, 8, "center")):
        with pytest.raises(DataError, match="12000 by 12000 pixels are more than"):
            look(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match="more than 1,073,741,824"):
        inspect(path)


def grey_tree(root: Path, largest: int, kind: str = "png", count: int = 4) -> Path:
    """Write grey images of 16 bits that use the values from 0 to ``largest``."""
    for number, name in enumerate(("ape", "bee", "cat")):
        (root / name).mkdir(parents=True)
        grey = tinted(3 * count, 12)[number * count :][:count, :, :, 1].astype(np.float64)
        for index, image in enumerate(np.round(grey / grey.max() * largest).astype(np.uint16)):
            Image.fromarray(image).save(root / name / f"{index}.{kind}")
    return root


@pytest.mark.parametrize(("largest", "white"), [(127, 255), (255, 255), (1023, 1023), (4095, 4095)])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_dark_images_of_16_bits_are_refused_unless_white_is_said(
    largest: int, white: int, kind: str, tmp_path: Path
) -> None:
    root = grey_tree(tmp_path / "grey", largest, kind)
    with pytest.raises(DataError, match=f"would be black: their largest value is {largest}") as no:
        load(root)
    assert f"such as {white}" in (no.value.hint or "")
    shown = load(root, white=largest)
    assert np.asarray(shown.train.images).max() == 255
    if largest > 127:
        assert np.asarray(load(root, white=65535).train.images).max() <= 16
    else:
        with pytest.raises(DataError, match="the same colour") as black:
            load(root, white=65535)
        assert "65535" in (black.value.hint or "")
    with Image.open(root / "ape" / "0.png" if kind == "png" else root / "ape" / "0.tif") as image:
        values = np.asarray(image).astype(float)
    expected = np.floor(values * 255 / largest + 0.5)
    assert (decode(root / "ape" / f"0.{kind}", 12, "center", largest)[..., 0] == expected).all()


def test_bright_images_of_16_bits_need_nothing_said(tmp_path: Path) -> None:
    root = grey_tree(tmp_path / "grey", 4096)
    plain, said = load(root), load(root, white=65535)
    assert np.array_equal(plain.train.images, said.train.images)


def test_what_is_above_white_is_white(tmp_path: Path) -> None:
    root = grey_tree(tmp_path / "grey", 60_000)
    shown = np.asarray(load(root, white=30_000).train.images)
    assert 0.1 < (shown == 255).mean() < 0.9


def test_dark_colours_of_16_bits_are_refused(tmp_path: Path) -> None:
    cv2_like = tmp_path / "colour"
    for number, name in enumerate(("ape", "bee")):
        (cv2_like / name).mkdir(parents=True)
        for index in range(3):
            values = tinted(6, 12)[3 * number + index].astype(">u2") * 16
            (cv2_like / name / f"{index}.png").write_bytes(deep_png(values))
    assert inspect(cv2_like / "ape" / "0.png").is_deep
    with pytest.raises(DataError, match="would be black") as caught:
        load(cv2_like)
    assert "converted to 8" in (caught.value.hint or "")
    bright = tmp_path / "bright.png"
    bright.write_bytes(deep_png(tinted(1, 12)[0].astype(">u2") * 257))
    assert (decode(bright, 12, "center") == tinted(1, 12)[0]).all()


def deep_png(values: np.ndarray) -> bytes:
    """Return a PNG of 16-bit colours, which Pillow reads but cannot write."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_images_of_one_colour_are_refused(make_tree: MakeTree) -> None:
    root = make_tree()
    for path in root.rglob("*.*"):
        Image.new("RGB", (12, 12), (9, 9, 9)).save(path)
    with pytest.raises(DataError, match="every pixel of the training images has the same colour"):
        load(root)


def test_one_constant_channel_is_no_fault(make_tree: MakeTree) -> None:
    root = make_tree()
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        Image.new("RGB", (12, 12), (0, 5 * number, 0)).save(path)
    assert load(root).std[1] < 1


def test_white_where_it_means_nothing_is_refused(make_tree: MakeTree, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no image in .* has 16 bits"):
        load(make_tree(), white=4095)
    with pytest.raises(SpecError, match=r"data\.white=4095 does not apply to fashion-mini"):
        load_dataset(DataSpec(white=4095), cache_dir=tmp_path)


def test_an_unset_white_stands_in_no_spec() -> None:
    assert "white" not in DataSpec().model_dump(mode="json")
    spec = ExperimentSpec.parse({"pretrain": {"data": {"white": 4095}}})
    assert spec.model_dump()["pretrain"]["data"]["white"] == 4095
    assert ExperimentSpec.from_yaml(spec.to_yaml()) == spec
    assert ExperimentSpec.from_yaml(ExperimentSpec().to_yaml()) == ExperimentSpec()


def test_images_kept_nowhere_have_the_same_white(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = grey_tree(tmp_path / "grey", 1000)
    kept = load(root, white=1000)
    monkeypatch.setenv("EMABENCH_CACHE_MODE", "none")
    late = load(root, white=1000)
    assert isinstance(late.train.images, FileImages)
    rows = np.arange(len(late.train))
    (batch,) = read_batches(late.train.images, [rows])
    assert np.array_equal(batch, kept.train.images[rows])
    assert np.array_equal(late.train.take(rows[:2]).images[rows[:2]], kept.train.images[:2])


def test_hidden_files_and_folders_are_left_out_and_said(make_tree: MakeTree) -> None:
    root = make_tree("train", "test")
    for part in ("train", "test"):
        (root / part / ".thumbnails").mkdir()
        Image.new("RGB", (9, 9)).save(root / part / ".thumbnails" / "0.png")
    (root / "train" / "cat" / ".hidden.jpg").write_bytes(b"no image")
    (root / "train" / "cat" / ".cache").mkdir()
    (root / "train" / "cat" / ".DS_Store").write_bytes(b"litter")
    with pytest.warns(RuntimeWarning, match="left out, a name that begins with a dot") as told:
        data = load(root)
    assert data.classes == ("ape", "bee", "cat")
    assert files_of(data) == 36
    said = " ".join(str(each.message) for each in told)
    for name in (".thumbnails", "cat/.hidden.jpg", "cat/.cache"):
        assert name in said
    assert ".DS_Store" not in said


def test_many_hidden_files_are_one_line(make_tree: MakeTree) -> None:
    root = make_tree()
    for number in range(9):
        (root / "ape" / f".{number}.png").write_bytes(b"")
    with pytest.warns(RuntimeWarning, match=r"ape/\.2\.png and 6 more$"):
        load(root)


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_fifo(path: Path) -> None:
    os.mkfifo(path.parent.parent.parent / "fifo")
    path.symlink_to(path.parent.parent.parent / "fifo")


@pytest.mark.parametrize("make", [make_fifo, make_socket, link_to_device, link_to_fifo])
def test_what_is_no_regular_file_is_named(
    make: Callable[[Path], None], make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_tree()
    monkeypatch.chdir(root)  # the name of a socket must be short
    make(Path("cat") / "x.png" if make is make_socket else root / "cat" / "x.png")
    with pytest.raises(DataError, match=r"cat/x\.png: not a regular file"):
        load(root)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("cat/again", "../cat"),
        ("cat/up", ".."),
        ("cat/dogs", "../bee"),
        ("ape/later", "../cat"),
        ("cat/far", "../../.."),
    ],
)
def test_a_link_that_leads_back_adds_nothing(link: str, target: str, make_tree: MakeTree) -> None:
    root = make_tree()
    plain = load(root)
    (root / link).symlink_to(target, target_is_directory=True)
    with pytest.warns(RuntimeWarning, match=f"a link to a folder that is included already: {link}"):
        data = load(root)
    assert data.content_hash == plain.content_hash
    assert files_of(data) == files_of(plain)


def test_a_folder_behind_two_links_counts_once(make_tree: MakeTree, tmp_path: Path) -> None:
    root = make_tree()
    store = tmp_path / "store" / "deep"
    store.mkdir(parents=True)
    Image.fromarray(tinted(1, 12)[0]).save(store / "0.png")
    (store / "back").symlink_to(tmp_path / "store")
    (root / "ape" / "one").symlink_to(tmp_path / "store")
    (root / "bee" / "two").symlink_to(store)
    with pytest.warns(RuntimeWarning, match="is included already: ape/one/deep/back, bee/two"):
        data = load(root)
    assert files_of(data) == 19


def test_class_folders_may_be_links_but_not_to_each_other(
    make_tree: MakeTree, tmp_path: Path
) -> None:
    root = make_tree()
    plain = load(root)
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("ape", "bee", "cat"):
        (linked / name).symlink_to(root / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(linked).content_hash == plain.content_hash
    for name, target in (("dog", "cat"), ("all", ".")):
        (linked / name).symlink_to(target)
        with pytest.raises(DataError, match=f"{name}: a link to a folder that is included already"):
            load(linked)
        (linked / name).unlink()


def test_a_link_to_itself_is_named(make_tree: MakeTree) -> None:
    root = make_tree()
    (root / "cat" / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="cat/loop: cannot be read"):
        load(root)


def test_a_flat_folder_has_no_labels(make_tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree()
    flat = root.parent / "flat"
    flat.mkdir()
    for path in root.rglob("*.*"):
        path.rename(flat / f"{path.parent.name}-{path.name}")
    (flat / ".hidden").touch()
    with pytest.warns(RuntimeWarning, match="begins with a dot"):
        data = load(flat)
    assert (data.classes, data.split) == ((), "no labels: all for training")
    assert (len(data.train), len(data.test)) == (18, 0)
    assert data.train.labels.tolist() == [0] * 18
    (flat / ".hidden").unlink()
    with monkeypatch.context() as full, warnings.catch_warnings():
        warnings.simplefilter("error")
        full.setattr(cache_mode, "_free_disk", lambda folder: 10)
        assert isinstance(load(flat).train.images, np.memmap), "it lies in the cache"
    part = load(flat, train_subset=5)
    assert len(part.train) == 5
    with pytest.raises(DataError, match="test_subset=3, but there are 0 test images"):
        load(flat, test_subset=3)
    (flat / "notes.txt").write_text("about")
    with pytest.raises(DataError, match=r"notes\.txt: cannot be decoded: not an image"):
        load(flat)


def test_a_folder_of_nothing_but_hidden_files_is_empty(tmp_path: Path) -> None:
    (tmp_path / "images" / ".git").mkdir(parents=True)
    (tmp_path / "images" / ".x.png").touch()
    with pytest.raises(DataError, match="empty, it has no class folders"):
        load(tmp_path / "images")
    with pytest.raises(NotFoundError):
        load(tmp_path / "nothing")
