from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emabench.data.cache import image_rows
from emabench.data.decode import FileFacts, decode
from emabench.data.images import Dataset, load_dataset
from emabench.data.sources import encoded, manifest
from emabench.errors import DataError, NotFoundError, SpecError
from emabench.spec.data import DataSpec

MakeTree = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def load(root: Path, cache: Path, **fields: object) -> Dataset:
    spec = DataSpec.parse({"dataset": "folder", "data_dir": str(root), **fields})
    return load_dataset(spec, cache_dir=cache)


def same_images(a: Dataset, b: Dataset) -> bool:
    return all(
        np.array_equal(x.images, y.images) and np.array_equal(x.labels, y.labels)
        for x, y in ((a.train, b.train), (a.test, b.test))
    )


@pytest.mark.parametrize("name", ["test", "val", "valid"])
def test_tree_with_both_splits(name: str, make_tree: MakeTree, cache: Path) -> None:
    root = make_tree("train", name)
    data = load(root, cache)
    assert data.classes == ("ape", "bee", "cat")
    assert data.split == f"{name}/"
    assert data.image_size == 12
    assert len(data.train) == len(data.test) == 18
    assert data.train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    expected = decode(root / "train" / "bee" / "1.jpg", 12, "center")
    assert (data.train.images[7] == expected).all()


def test_test_is_preferred_to_val_and_says_so(make_tree: MakeTree, cache: Path) -> None:
    data = load(make_tree("train", "val", "test"), cache)
    assert data.split == "test/ (val/ not used)"


@pytest.mark.parametrize("part", [(), ("train",)])
def test_tree_without_a_test_set_is_split(
    part: tuple[str, ...], make_tree: MakeTree, cache: Path
) -> None:
    root = make_tree(*part, count=10)
    data = load(root, cache)
    assert data.split == "seeded 20 % split"
    assert np.bincount(data.test.labels).tolist() == [2, 2, 2]
    assert np.bincount(data.train.labels).tolist() == [8, 8, 8]
    again, other = load(root, cache), load(root, cache, subset_seed=1)
    assert same_images(data, again)
    assert not same_images(data, other)
    # The split is no part of the content.
    assert data.content_hash == other.content_hash


def test_class_named_train_is_a_class(make_tree: MakeTree, cache: Path) -> None:
    data = load(make_tree(classes=("bus", "test", "train")), cache)
    assert data.classes == ("bus", "test", "train")


def test_cache_holds_what_the_uncached_path_yields(
    make_tree: MakeTree, cache: Path, tmp_path: Path
) -> None:
    root = make_tree("train", "test", size=20)
    blocked = tmp_path / "blocked"
    blocked.write_text("in the way")
    for fields in ({}, {"image_size": 9}, {"image_size": 32, "crop": "stretch"}):
        with pytest.warns(RuntimeWarning, match="cannot be written"):
            uncached = load(root, blocked, **fields)
        built, read = load(root, cache, **fields), load(root, cache, **fields)
        assert isinstance(read.train.images, np.memmap)
        assert same_images(uncached, built)
        assert same_images(uncached, read)
        assert uncached.mean == built.mean == read.mean
        assert uncached.std == built.std == read.std


def test_size_and_crop_are_part_of_the_key(make_tree: MakeTree, cache: Path) -> None:
    root = make_tree("train", "test")
    Image.new("RGB", (30, 12), "red").save(root / "train" / "ape" / "wide.png")
    for fields in ({"image_size": 10}, {"image_size": 11}, {"image_size": 10, "crop": "stretch"}):
        load(root, cache, **fields)
    assert len(list(cache.glob("*.npy"))) == 6  # two splits for each


def test_statistics_are_of_the_images_that_are_used(make_tree: MakeTree, cache: Path) -> None:
    root = make_tree("train", "test")
    whole, part = load(root, cache), load(root, cache, train_subset=3)
    for data in (whole, part):
        flat = np.asarray(data.train.images).reshape(-1, 3) / 255
        np.testing.assert_allclose(data.mean, flat.mean(0))
        np.testing.assert_allclose(data.std, flat.std(0))
    assert len(part.train) == 3
    assert part.mean != whole.mean
    assert (part.revisions, whole.revisions) == (("folder-subset-statistics",), ())
    assert load(root, cache, train_subset=18, test_subset=5).revisions == ()


@pytest.mark.parametrize("parts", [("train", "test"), ("train",), ()])
def test_of_a_subset_nothing_else_is_decoded(
    parts: tuple[str, ...], make_tree: MakeTree, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_tree(*parts, count=20)
    decoded: list[str] = []
    decode_all = image_rows.decode_all

    def spy(paths, *rest):  # type: ignore[no-untyped-def]
        decoded.extend(paths)
        return decode_all(paths, *rest)

    monkeypatch.setattr(image_rows, "decode_all", spy)
    data = load(root, cache, train_subset=6, test_subset=3)
    assert (len(data.train), len(data.test), len(decoded)) == (6, 3, 9)
    whole = load(root, cache)
    places = {image.tobytes(): label for image, label in zip(*whole_images(whole), strict=True)}
    for image, label in zip(data.train.images, data.train.labels, strict=True):
        assert places[image.tobytes()] == label


def whole_images(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(data.train.images), data.train.labels


def test_content_hash_ignores_place_and_size_but_not_content(
    make_tree: MakeTree, cache: Path, tmp_path: Path
) -> None:
    root = make_tree("train", "test")
    first = load(root, cache)
    moved = tmp_path / "elsewhere"
    shutil.copytree(root, moved)
    assert load(moved, cache).content_hash == first.content_hash
    assert load(root, cache, image_size=9, train_subset=4).content_hash == first.content_hash
    (moved / "train" / "bee").rename(moved / "train" / "bat")
    (moved / "test" / "bee").rename(moved / "test" / "bat")
    assert load(moved, cache).content_hash != first.content_hash


def test_changed_file_is_noticed(make_tree: MakeTree, cache: Path) -> None:
    root = make_tree("train", "test")
    before = load(root, cache)
    path = root / "train" / "ape" / "0.png"
    Image.new("RGB", (12, 12), "red").save(path)
    after = load(root, cache)
    assert after.content_hash != before.content_hash
    assert (after.train.images[0] == (255, 0, 0)).all()


def test_unchanged_files_are_read_once(
    make_tree: MakeTree, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_tree("train", "test")
    read: list[Path] = []
    look = manifest.inspect

    def counted(path: Path) -> FileFacts:
        read.append(path)
        return look(path)

    monkeypatch.setattr(manifest, "inspect", counted)
    # Fresh files are not remembered, so let the clock be ahead of them.
    now = time.time_ns()
    monkeypatch.setattr(manifest.time, "time_ns", lambda: now + 10 * manifest.SETTLED_NS)
    first = load(root, cache)
    assert len(read) == 36
    second = load(root, cache)
    assert len(read) == 36
    assert second.content_hash == first.content_hash
    touched = root / "train" / "cat" / "3.jpg"
    os.utime(touched, ns=(5, 5))
    load(root, cache)
    assert read[36:] == [touched]


def test_file_that_just_changed_is_not_trusted(make_tree: MakeTree, cache: Path) -> None:
    root = make_tree("train", "test")
    path = root / "train" / "ape" / "0.bmp"
    Image.new("RGB", (12, 12), "red").save(path)
    status = path.stat()
    before = load(root, cache)
    assert not list((cache / "manifests").glob("*"))
    Image.new("RGB", (12, 12), "blue").save(path)  # as long as before, and within its clock tick
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load(root, cache).content_hash != before.content_hash


def test_garbled_manifest_is_made_again(make_tree: MakeTree, cache: Path) -> None:
    root = make_tree("train", "test")
    first = load(root, cache)
    (cache / "manifests").mkdir(exist_ok=True)
    for text in ("{", "[]", '{"format": 1, "files": {"a": 3}}'):
        for path in (cache / "manifests").glob("*.json"):
            path.write_text(text)
        assert load(root, cache).content_hash == first.content_hash


def test_mixed_sizes_are_stored_at_224(make_tree: MakeTree, cache: Path) -> None:
    root = make_tree("train", "test", count=1)
    Image.new("RGB", (20, 30)).save(root / "test" / "cat" / "oblong.png")
    assert load(root, cache).image_size == 224


@pytest.mark.parametrize(("side", "threads"), [(64, 1), (65, None)])
def test_small_files_are_decoded_by_one_thread(
    make_tree: MakeTree,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    side: int,
    threads: int | None,
) -> None:
    root = make_tree("train", "test", count=1)
    for split in ("train", "test"):
        Image.new("RGB", (side, side)).save(root / split / "cat" / "largest.png")
    asked = []
    in_pieces = encoded.in_pieces

    def spy(*arguments, threads):  # type: ignore[no-untyped-def]
        asked.append(threads)
        return in_pieces(*arguments, threads=threads)

    monkeypatch.setattr(encoded, "in_pieces", spy)
    load(root, cache, image_size=12)
    assert asked == [threads, threads]


def test_litter_is_ignored_and_subfolders_belong_to_their_class(
    make_tree: MakeTree, cache: Path
) -> None:
    root = make_tree("train", "test")
    for name in (".DS_Store", "Thumbs.db", "._0.png", "desktop.ini"):
        (root / "train" / "ape" / name).write_bytes(b"litter")
    (root / ".DS_Store").write_bytes(b"litter")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    (root / "README.md").write_text("about")
    deep = root / "train" / "bee" / "more"
    deep.mkdir()
    Image.new("RGB", (12, 12)).save(deep / "x.png")
    data = load(root, cache)
    assert np.bincount(data.train.labels).tolist() == [6, 7, 6]


def empty_class(root: Path) -> str:
    (root / "train" / "dog").mkdir()
    (root / "test" / "dog").mkdir()
    return "train/dog: the class folder is empty"


def missing_test_class(root: Path) -> str:
    shutil.rmtree(root / "test" / "bee")
    return "test/bee: the class folder is missing"


def missing_train_class(root: Path) -> str:
    shutil.rmtree(root / "train" / "bee")
    return "train/bee: the class folder is missing"


def one_class(root: Path) -> str:
    for name in ("bee", "cat"):
        shutil.rmtree(root / "train" / name)
    return "only one class, 'ape'"


def empty_train(root: Path) -> str:
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    return "there is test/ but no train/"


def empty_test(root: Path) -> str:
    shutil.rmtree(root / "test")
    (root / "test").mkdir()
    return "test: empty"


def only_an_empty_train(root: Path) -> str:
    empty_train(root)
    shutil.rmtree(root / "test")
    return "train: empty"


def no_train(root: Path) -> str:
    shutil.rmtree(root / "train")
    return "there is test/ but no train/"


def nothing(root: Path) -> str:
    shutil.rmtree(root)
    root.mkdir()
    return "it has no class folders"


def images_right_in_train_and_test(root: Path) -> str:
    for part in ("train", "test"):
        for folder in list((root / part).iterdir()):
            for path in folder.iterdir():
                path.rename(root / part / f"{folder.name}-{path.name}")
            folder.rmdir()
    return "train: it has no class folders"


def images_right_in_train_alone(root: Path) -> str:
    shutil.rmtree(root / "test")
    for path in list((root / "train").rglob("*.*")):
        path.rename(root / "train" / f"{path.parent.name}-{path.name}")
    for folder in [path for path in (root / "train").iterdir() if path.is_dir()]:
        folder.rmdir()
    return "train: it has no class folders"


def readme_in_a_class(root: Path) -> str:
    (root / "train" / "cat" / "README.txt").write_text("about cats")
    return "cat/README.txt: cannot be decoded: not an image"


def empty_file(root: Path) -> str:
    (root / "test" / "cat" / "3.jpg").write_bytes(b"")
    return "test/cat/3.jpg: the file is empty"


def truncated_file(root: Path) -> str:
    path = root / "test" / "ape" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    return "test/ape/1.jpg: cannot be decoded"


def broken_link(root: Path) -> str:
    (root / "test" / "ape" / "9.png").symlink_to(root / "nowhere.png")
    return "test/ape/9.png: cannot be read"


def image_beside_the_classes(root: Path) -> str:
    shutil.copy(root / "train" / "ape" / "0.png", root / "train" / "stray.png")
    return "train/stray.png: a file beside the class folders"


def image_beside_train(root: Path) -> str:
    shutil.copy(root / "train" / "ape" / "0.png", root / "stray.png")
    return "stray.png: an image beside train/"


@pytest.mark.parametrize(
    "damage",
    [
        empty_class,
        missing_test_class,
        missing_train_class,
        one_class,
        empty_train,
        empty_test,
        only_an_empty_train,
        no_train,
        nothing,
        images_right_in_train_and_test,
        images_right_in_train_alone,
        readme_in_a_class,
        empty_file,
        truncated_file,
        broken_link,
        image_beside_the_classes,
        image_beside_train,
    ],
)
def test_bad_tree_is_an_error_that_names_the_place(
    damage: Callable[[Path], str], make_tree: MakeTree, cache: Path
) -> None:
    root = make_tree("train", "test")
    expected = damage(root)
    with pytest.raises(DataError) as caught:
        load(root, cache)
    assert expected in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert not list(cache.glob("*.tmp"))


def test_single_image_cannot_be_split(make_tree: MakeTree, cache: Path) -> None:
    root = make_tree(count=2)
    (root / "cat" / "1.jpg").unlink()
    with pytest.raises(DataError, match="cat: one image cannot be split"):
        load(root, cache)


def test_missing_folder_and_missing_option(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no such folder"):
        load(tmp_path / "nowhere", cache)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="not a folder"):
        load(tmp_path / "file", cache)
    with pytest.raises(SpecError, match="needs data_dir") as caught:
        load_dataset(DataSpec(dataset="folder"), cache_dir=cache)
    assert caught.value.hint


def test_progress_counts_to_the_end(make_tree: MakeTree, cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    spec = DataSpec(dataset="folder", data_dir=str(make_tree("train", "test")))
    load_dataset(spec, cache_dir=cache, progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {36}
    assert [done for done, _ in seen] == [36, 18, 36]


def test_the_current_folder_can_be_the_data_set(
    make_tree: MakeTree, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_tree()
    whole = load(root, cache)
    monkeypatch.chdir(root)
    for name in (".", "./", f"../{root.name}"):
        assert same_images(load(Path(name), cache), whole)
    assert load_dataset(
        DataSpec.parse({"dataset": "folder", "data_dir": "./"}), cache_dir=cache
    ).classes == ("ape", "bee", "cat")


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_a_folder_below_a_name_that_is_no_utf8_loads(make_tree: MakeTree, cache: Path) -> None:
    root = make_tree()
    odd = root.parent / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    root.rename(odd / "images")
    link = cache.parent / "plain"
    link.symlink_to(odd / "images")
    assert load(link, cache).classes == ("ape", "bee", "cat")
