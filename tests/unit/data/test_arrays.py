from __future__ import annotations

import pickle
import socket
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from conftest_images import tinted
from torchvision.datasets import CIFAR10, cifar

from emabench.data.images import load_dataset
from emabench.data.sources import arrays
from emabench.data.sources.fashion_mini import read_split
from emabench.errors import DataError
from emabench.spec.data import DataSpec


def block(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[float | None]:
    """Allow downloads and let each fail; returns the time limits that the attempts ran under."""
    monkeypatch.setenv("EMABENCH_DOWNLOAD", "1")
    limits: list[float | None] = []

    def fail(*_: object, **__: object) -> None:
        limits.append(socket.getdefaulttimeout())
        raise error

    monkeypatch.setattr("urllib.request.urlopen", fail)
    return limits


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist"])
@pytest.mark.parametrize(
    "error",
    [
        URLError("Name or service not known"),
        OSError("network is\nunreachable"),
        RuntimeError("download stopped"),
    ],
)
def test_no_network_is_a_data_error_with_a_hint(
    name: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = block(monkeypatch, error)
    with pytest.raises(DataError, match=f"{name} is not in .* and cannot be downloaded") as caught:
        load_dataset(DataSpec(dataset=name), cache_dir=tmp_path)
    assert "\n" not in caught.value.message
    hint = caught.value.hint or ""
    assert "dataset=fashion-mini" in hint
    assert "gz" in hint
    assert "data_dir" in hint
    assert limits
    assert None not in limits
    assert socket.getdefaulttimeout() is None


def test_place_that_cannot_be_written_is_a_data_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block(monkeypatch, URLError("no"))
    (tmp_path / "file").write_text("in the way")
    spec = DataSpec(dataset="cifar10", data_dir=str(tmp_path / "file"))
    with pytest.raises(DataError, match="cifar10 is not in"):
        load_dataset(spec, cache_dir=tmp_path / "cache")


def write_cifar(folder: Path, names: list[str], key: str, meta: tuple[str, str]) -> np.ndarray:
    """Write batches of 20 images in CIFAR's format; returns all images in order."""
    folder.mkdir(parents=True)
    images = tinted(20 * len(names), 32)
    classes = [f"class {number}" for number in range(10)]
    for index, name in enumerate(names):
        part = images[20 * index : 20 * (index + 1)].transpose(0, 3, 1, 2).reshape(20, -1)
        labels = [number % 10 for number in range(20)]
        (folder / name).write_bytes(pickle.dumps({"data": part, key: labels}))
    (folder / meta[0]).write_bytes(pickle.dumps({meta[1]: classes}))
    return images


def trust_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    def exists(path: str, md5: str | None = None) -> bool:
        return Path(path).is_file()

    monkeypatch.setattr(cifar, "check_integrity", exists)


def test_cifar10_is_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    meta = ("batches.meta", "label_names")
    images = write_cifar(tmp_path / "cifar-10-batches-py", names, "labels", meta)
    trust_checksums(monkeypatch)
    block(monkeypatch, URLError("nothing is downloaded where the files are"))
    spec = DataSpec(dataset="cifar10", data_dir=str(tmp_path))
    data = load_dataset(spec, cache_dir=tmp_path / "cache")
    assert (data.train.images == images[:100]).all()
    assert (data.test.images == images[100:]).all()
    assert data.train.labels.tolist() == [number % 10 for number in range(100)]
    assert data.train.labels.dtype == np.int64
    assert data.classes[3] == "class 3"
    assert (data.image_size, data.split) == (32, "official")
    np.testing.assert_allclose(data.mean, images[:100].mean((0, 1, 2)) / 255)
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    batch.write_bytes(batch.read_bytes().replace(b"\x1e", b"\x1f"))
    assert load_dataset(spec, cache_dir=tmp_path / "cache").content_hash != data.content_hash


def test_cifar100_has_statistics_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = ("meta", "fine_label_names")
    images = write_cifar(tmp_path / "cifar-100-python", ["test", "train"], "fine_labels", meta)
    trust_checksums(monkeypatch)
    spec = DataSpec(dataset="cifar100", data_dir=str(tmp_path))
    data = load_dataset(spec, cache_dir=tmp_path / "cache")
    assert (data.train.images == images[20:]).all()
    np.testing.assert_allclose(data.mean, images[20:].mean((0, 1, 2)) / 255)
    np.testing.assert_allclose(data.std, images[20:].std((0, 1, 2)) / 255)


def test_damaged_files_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [row[0] for row in CIFAR10.train_list] + ["test_batch"]
    meta = ("batches.meta", "label_names")
    write_cifar(tmp_path / "cifar-10-batches-py", names, "labels", meta)
    block(monkeypatch, URLError("no"))
    spec = DataSpec(dataset="cifar10", data_dir=str(tmp_path))
    with pytest.raises(DataError, match="cannot be downloaded"):
        load_dataset(spec, cache_dir=tmp_path / "cache")


def idx(array: np.ndarray) -> bytes:
    sides = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sides + array.astype(np.uint8).tobytes()


def write_fashion_mnist(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write 60 training and 40 test images as unpacked IDX files; returns images and labels."""
    images, labels = read_split("test")
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, rows in (("train", slice(0, 60)), ("t10k", slice(60, 100))):
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images[rows]))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels[rows]))
    return images, labels


def test_fashion_mnist_is_read_from_its_files(tmp_path: Path) -> None:
    images, labels = write_fashion_mnist(tmp_path)
    spec = DataSpec(dataset="fashion_mnist", data_dir=str(tmp_path))
    loaded = load_dataset(spec, cache_dir=tmp_path / "cache")
    assert (loaded.train.images == images[:60, :, :, None]).all()
    assert loaded.test.labels.tolist() == labels[60:100].tolist()
    assert loaded.classes[9] == "Ankle boot"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train-images-idx3-ubyte", b""),
        ("train-images-idx3-ubyte", b"no images at all"),
        ("train-images-idx3-ubyte", idx(np.zeros((60, 28, 28)))[:-100]),
        ("train-images-idx3-ubyte", idx(np.zeros((50, 28, 28)))),
        ("t10k-images-idx3-ubyte", idx(np.zeros(40))),
        ("train-labels-idx1-ubyte", idx(np.zeros(61))),
        ("t10k-labels-idx1-ubyte", idx(np.full(40, 10))),
        ("t10k-labels-idx1-ubyte", bytes([0, 0, 13, 1, 0, 0, 0, 1]) + b"4444"),
    ],
    ids=[
        "empty",
        "foreign",
        "cut off",
        "too few images",
        "images of one dimension",
        "too many labels",
        "label of no class",
        "labels as floats",
    ],
)
def test_damaged_idx_file_is_a_data_error_that_names_the_folder(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fashion_mnist(tmp_path)
    (tmp_path / "FashionMNIST" / "raw" / name).write_bytes(content)
    block(monkeypatch, URLError("no"))
    spec = DataSpec(dataset="fashion_mnist", data_dir=str(tmp_path))
    with pytest.raises(DataError) as caught:
        load_dataset(spec, cache_dir=tmp_path / "cache")
    assert str(tmp_path) in caught.value.message
    assert "\n" not in caught.value.message
    assert "remove what was unpacked" in (caught.value.hint or "")


def test_large_images_are_made_a_few_at_a_time(monkeypatch):
    seen = []
    whole = arrays.resize_arrays

    def resize(images, size, crop):
        seen.append(len(images))
        return whole(images, size, crop)

    monkeypatch.setattr(arrays, "resize_arrays", resize)
    images = np.zeros((100, 8, 8, 3), np.uint8)
    for size, most in ((224, 27), (16, 512)):
        seen.clear()
        assert sum(map(len, arrays._making(images, size, "center"))) == 100
        assert max(seen) <= most
    assert seen == [100]
