from __future__ import annotations

import io
import pickle
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest_images import tinted
from PIL import Image

from emabench.data import recognition
from emabench.data.decode import inspect
from emabench.data.images import load_dataset
from emabench.data.recognition import RecognisedData, recognise
from emabench.errors import DataError, NotFoundError
from emabench.spec.data import DataSpec


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def look(place: Path | str, cache: Path) -> RecognisedData:
    """Look at a data set, and check that a run sees what is said of it."""
    found = recognise(str(place), cache_dir=cache)
    spec = DataSpec(dataset=found.dataset, data_dir=found.data_dir)
    data = load_dataset(spec, cache_dir=cache)
    assert (len(data.train), len(data.test)) == (found.train, found.test)
    assert (data.classes, data.split, data.image_size) == (
        found.classes,
        found.split,
        found.image_size,
    )
    return found


def test_a_tree_with_files_of_two_sizes_and_one_left_out(make_tree, cache, monkeypatch):
    root = make_tree("train", "val")
    Image.fromarray(tinted(1, 40)[0][:, :20]).save(root / "train" / "ape" / "tall.png")
    (root / "train" / "ape" / ".hidden.png").write_bytes(b"")
    large = root / "val" / "ape" / "large.png"
    Image.new("1", (9500, 9500)).save(large)  # more pixels than Pillow itself is content with
    inspect(large)
    large.unlink()
    inside = recognition.read_folder

    def remarked(*given):
        warnings.warn("a remark of Pillow", UserWarning, stacklevel=2)
        return inside(*given)

    monkeypatch.setattr(recognition, "read_folder", remarked)
    with pytest.warns(RuntimeWarning, match="begins with a dot"):
        found = look(root, cache)
    assert (len(found.left_out), found.notes) == (1, ("a remark of Pillow",))
    assert (found.dataset, found.image_size) == ("folder", 224)
    assert (found.smallest, found.largest) == ((12, 12), (20, 40))
    assert "a name that begins with a dot: ape/.hidden.png" in found.left_out[0]
    assert found.words == ["emabench", "run", "--dataset", "folder", "--data-dir", str(root)]


def test_a_tree_that_is_split_and_one_without_labels(make_tree, cache):
    root = make_tree(count=10)
    found = look(root, cache)
    assert (found.train, found.test, found.split) == (24, 6, "seeded 20 % split")
    alone = look(root / "ape", cache)
    assert (alone.classes, alone.train) == ((), 10)
    assert alone.words[-2:] == ["--set", "evaluation.enabled=false"]


def test_arrays_as_an_archive_a_folder_and_a_file(tmp_path, cache):
    images, labels = tinted(12, 16), np.arange(12) % 2
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "images.npy", images)
    np.save(tmp_path / "arrays" / "labels.npy", labels)
    np.savez(tmp_path / "some.npz", x=images, y=labels)
    for place in ("arrays", "some.npz", "arrays/images.npy"):
        assert look(tmp_path / place, cache).dataset == "arrays"


def test_shards_in_a_folder_and_by_a_pattern(tmp_path, cache):
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / "shards" / f"train-{shard}.tar", "w") as tar:
            for number, image in enumerate(tinted(6, 16)):
                content = io.BytesIO()
                Image.fromarray(image).save(content, "PNG")
                for name, value in (("png", content.getvalue()), ("cls", b"%d" % (number % 2))):
                    entry = tarfile.TarInfo(f"{shard}{number}.{name}")
                    entry.size = len(value)
                    tar.addfile(entry, io.BytesIO(value))
    for place in ("shards", "shards/train-0.tar", "shards/train-{0..1}.tar"):
        assert look(tmp_path / place, cache).dataset == "webdataset"


def test_what_torchvision_left_is_found_from_its_root_and_from_within(tmp_path, make_tree, cache):
    images = make_tree(count=10)
    (tmp_path / "root" / "eurosat").mkdir(parents=True)
    images.rename(tmp_path / "root" / "eurosat" / "2750")
    for place in ("root", "root/eurosat"):
        found = look(tmp_path / place, cache)
        assert (found.dataset, found.data_dir) == ("eurosat", str(tmp_path / "root"))
    (tmp_path / "root" / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataError, match=r"cifar10 is not in .*root, or damaged there"):
        recognise(str(tmp_path / "root" / "cifar-10-batches-py"), cache_dir=cache)


def test_what_will_not_work_is_said(tmp_path, cache):
    (tmp_path / "some.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "notes.txt").write_text("")
    cases = [
        ("some.pkl", DataError, "a pickle, which could run anything"),
        ("notes.txt", DataError, "no data set by itself"),
        ("nowhere", NotFoundError, "there is no such file or folder"),
        ("train-{0..1}.tar", NotFoundError, "there is no such shard"),
        ("a" * 300, NotFoundError, "cannot be looked for: File name too long"),
    ]
    for name, kind, message in cases:
        with pytest.raises(kind, match=message):
            recognise(str(tmp_path / name), cache_dir=cache)
    with pytest.raises(NotFoundError, match="a home that nobody has here"):
        recognise("~nobody-of-this-name/images", cache_dir=cache)
