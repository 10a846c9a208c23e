"""Data sets as torchvision leaves them on the disk, found without a download."""

from __future__ import annotations

import os
import pickle
import tarfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from conftest_images import tinted
from PIL import Image
from scipy.io import savemat
from torchvision.datasets import cifar, flowers102, stl10, svhn
from torchvision.datasets import utils as torchvision_files

from emabench.data.images import Dataset, load_dataset
from emabench.data.sources import torchvision_sets
from emabench.data.sources.torchvision_sets import _STL10
from emabench.errors import DataError
from emabench.spec.data import DataSpec


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("nothing is downloaded")

    monkeypatch.setattr("urllib.request.urlopen", fail)
    monkeypatch.delenv("EMABENCH_DOWNLOAD", raising=False)


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the checksums of files that are there for right."""

    def exists(path: str, md5: str | None = None) -> bool:
        return Path(path).is_file()

    for module in (cifar, flowers102, stl10, svhn, torchvision_files, torchvision_sets):
        monkeypatch.setattr(module, "check_integrity", exists)


def load(name: str, root: Path, **fields: object) -> Dataset:
    spec = DataSpec.parse({"dataset": name, "data_dir": str(root), **fields})
    return load_dataset(spec, cache_dir=root.parent / "cache")


def write_stl10(root: Path) -> dict[str, np.ndarray]:
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    parts = dict(zip(("train", "test", "unlabeled"), np.split(tinted(30, 96), 3), strict=True))
    for name, images in parts.items():
        images.transpose(0, 3, 2, 1).tofile(folder / f"{name}_X.bin")
        (np.arange(10, dtype=np.uint8) + 1).tofile(folder / f"{name}_y.bin")
    return parts


def test_stl10_and_its_unlabelled_part(tmp_path, trusted):
    parts = write_stl10(tmp_path / "root")
    data = load("stl10", tmp_path / "root")
    assert (data.train.images == parts["train"]).all()
    assert (data.test.images == parts["test"]).all()
    assert data.train.labels.tolist() == list(range(10))
    assert (data.classes, data.image_size, data.split) == (_STL10, 96, "official")
    more = load("stl10-unlabelled", tmp_path / "root")
    assert (more.train.images == parts["unlabeled"]).all()
    assert (more.classes, len(more.test)) == ((), 0)
    assert more.split == "no labels: all for training"


def test_svhn_has_its_zeros_first(tmp_path, trusted):
    images = tinted(40, 32)
    (tmp_path / "root").mkdir()
    labels = np.arange(20) % 10 + 1
    for name, rows in (("train", slice(0, 20)), ("test", slice(20, 40))):
        values = {"X": images[rows].transpose(1, 2, 3, 0), "y": labels[:, None]}
        savemat(tmp_path / "root" / f"{name}_32x32.mat", values)
    data = load("svhn", tmp_path / "root")
    assert (data.train.images == images[:20]).all()
    assert (data.test.images == images[20:]).all()
    assert data.train.labels.tolist() == (labels % 10).tolist()
    assert data.classes == tuple("0123456789")


def test_flowers_are_what_the_same_images_are_as_a_folder(tmp_path, trusted):
    root, tree = tmp_path / "root" / "flowers-102", tmp_path / "tree"
    (root / "jpg").mkdir(parents=True)
    rows = np.arange(1, 409)
    labels = (rows - 1) % 102 + 1
    pictures = tinted(12, 16)
    for number, label in zip(rows, labels, strict=True):
        name = f"image_{number:05}.jpg"
        Image.fromarray(pictures[number % 12]).save(root / "jpg" / name)
        folder = tree / ("train" if number <= 204 else "test") / f"{label:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(root / "jpg" / name)
    savemat(root / "imagelabels.mat", {"labels": labels[None]})
    ids = {"trnid": rows[None, :204], "valid": rows[None, :1], "tstid": rows[None, 204:]}
    savemat(root / "setid.mat", ids)
    data = load("flowers102", tmp_path / "root")
    spec = DataSpec(dataset="folder", data_dir=str(tree))
    folder = load_dataset(spec, cache_dir=tmp_path / "cache")
    assert data.split == "official (val not used)"
    assert data.content_hash == folder.content_hash
    assert (data.train.images[:] == folder.train.images[:]).all()
    assert (data.test.labels == folder.test.labels).all()


def test_eurosat_is_its_folder(tmp_path, make_tree):
    images = make_tree(count=10)
    (tmp_path / "root" / "eurosat").mkdir(parents=True)
    (tmp_path / "root" / "eurosat" / "2750").symlink_to(images)
    data = load("eurosat", tmp_path / "root")
    spec = DataSpec(dataset="folder", data_dir=str(images))
    folder = load_dataset(spec, cache_dir=tmp_path / "cache")
    assert data.content_hash == folder.content_hash
    assert data.split == "seeded 20 % split"


def cifar_batches() -> dict[str, bytes]:
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    data = tinted(20, 32).transpose(0, 3, 1, 2).reshape(20, -1)
    labels = [number % 10 for number in range(20)]
    content = {name: pickle.dumps({"data": data, "labels": labels}) for name in names}
    classes = [f"class {number}" for number in range(10)]
    return {**content, "batches.meta": pickle.dumps({"label_names": classes})}


def test_a_downloaded_archive_is_unpacked_without_the_network(tmp_path, trusted, capsys):
    root = tmp_path / "root"
    batches = root / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name, content in cifar_batches().items():
        (batches / name).write_bytes(content)
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(batches, "cifar-10-batches-py")
    for file in batches.iterdir():
        file.unlink()
    assert len(load("cifar10", root).train) == 100
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", sorted(torchvision_sets._SETS))
def test_without_leave_nothing_is_downloaded(tmp_path, monkeypatch, name):
    reached = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: reached.append(1))
    with pytest.raises(DataError, match=f"{name} is not in ") as caught:
        load(name, tmp_path / "root")
    assert not reached
    assert "--download' fetches it" in (caught.value.hint or "")
    assert not (tmp_path / "root").exists()


class Boom:
    def __reduce__(self):
        return os.mkdir, ("boom",)


def test_a_pickle_is_not_opened_before_its_checksum_is_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batches = tmp_path / "root" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name in cifar_batches():
        (batches / name).write_bytes(pickle.dumps(Boom()))
    with pytest.raises(DataError, match=r"cifar10 is not in .*, or damaged there"):
        load("cifar10", tmp_path / "root")
    assert not (tmp_path / "boom").exists()
