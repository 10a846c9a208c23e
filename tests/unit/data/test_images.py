from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emabench.data.images import DatasetInfo, list_datasets, load_dataset
from emabench.data.sources import fashion_mini
from emabench.data.sources.fashion_mini import make
from emabench.errors import DataError, SpecError, UnknownNameError
from emabench.spec.data import DataSpec

ASSETS = Path(fashion_mini.__file__).parent


def test_fashion_mini_is_what_its_listing_says(tmp_path: Path) -> None:
    data = load_dataset(DataSpec(), cache_dir=tmp_path)
    info = next(info for info in list_datasets() if info.name == "fashion-mini")
    assert (len(data.train), len(data.test)) == (info.train, info.test) == (10_000, 2_000)
    assert data.image_size == info.image_size == 28
    assert len(data.classes) == info.classes == 10
    assert np.bincount(data.train.labels).tolist() == [1000] * 10
    assert np.bincount(data.test.labels).tolist() == [200] * 10
    assert data.train.images.shape == (10_000, 28, 28, 3)
    assert data.train.images.dtype == np.uint8
    assert (data.train.images[..., 0] == data.train.images[..., 2]).all()
    assert data.split == "official"
    np.testing.assert_allclose(data.mean, data.train.images.mean((0, 1, 2)) / 255)
    np.testing.assert_allclose(data.std, data.train.images.std((0, 1, 2)) / 255)


def test_what_somebody_does_to_its_arrays_changes_no_other_load() -> None:
    spoilt, size = load_dataset(DataSpec()), DataSpec(image_size=28)
    for split in (spoilt.train, spoilt.test):
        assert isinstance(split.images, np.ndarray)
        split.images.fill(0)
        split.labels.fill(0)
    again = load_dataset(size)
    for split in (again.train, again.test):
        assert np.asarray(split.images).any()
        assert split.labels.any()


def test_fashion_mini_is_small_and_has_its_recorded_checksums() -> None:
    recorded = re.findall(
        r"`((?:train|test)[\w.-]+)` \|[^|]*\| `(\w{64})`",
        (ASSETS / "PROVENANCE.md").read_text(encoding="utf-8"),
    )
    assert len(recorded) == 4
    for name, digest in recorded:
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest
    assert sum((ASSETS / name).stat().st_size for name, _ in recorded) <= 6 * 10**6


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_script_draws_balanced_classes_and_repeats_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = fashion_mini.read_split("test")
    labels = (np.arange(200) % 10).astype(np.uint8)
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images[:200])
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", labels)
    monkeypatch.setattr(make, "PER_CLASS", {"train": 6, "test": 3})
    contents = []
    for attempt in ("first", "second"):
        (tmp_path / attempt).mkdir()
        written = make.make(tmp_path, tmp_path / attempt)
        contents.append([path.read_bytes() for path in written])
    assert contents[0] == contents[1]
    drawn = np.load(tmp_path / "first" / "train-labels.npy")
    assert np.bincount(drawn).tolist() == [6] * 10
    with Image.open(tmp_path / "first" / "train.png") as picture:
        rows = np.asarray(picture).reshape(60, 28, 28)
    source = {image.tobytes(): label for image, label in zip(images[:200], labels, strict=True)}
    assert [source[row.tobytes()] for row in rows] == drawn.tolist()


def test_resized_arrays_are_cached_and_keep_their_identity(tmp_path: Path) -> None:
    native = load_dataset(DataSpec(test_subset=50), cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        resized = load_dataset(DataSpec(test_subset=50, image_size=8), cache_dir=tmp_path)
        assert resized.test.images.shape == (50, 8, 8, 3)
        assert resized.train.images.shape == (10_000, 8, 8, 3)
    assert len(list(tmp_path.glob("*.npy"))) == 2
    assert resized.content_hash == native.content_hash
    picture = Image.fromarray(native.test.images[3, ..., 0])
    expected = np.asarray(picture.resize((8, 8), Image.Resampling.BICUBIC))
    assert (resized.test.images[3][..., 1] == expected).all()


def test_subsets_are_balanced_and_keep_the_order(tmp_path: Path) -> None:
    whole = load_dataset(DataSpec(), cache_dir=tmp_path)
    spec = DataSpec(train_subset=105, test_subset=20, subset_seed=4)
    part = load_dataset(spec, cache_dir=tmp_path)
    counts = np.bincount(part.train.labels, minlength=10)
    assert sorted(counts.tolist()) == [10] * 5 + [11] * 5
    assert np.bincount(part.test.labels).tolist() == [2] * 10
    places = {image.tobytes(): index for index, image in enumerate(whole.train.images)}
    found = [places[image.tobytes()] for image in part.train.images]
    assert found == sorted(found)
    assert whole.train.labels[found].tolist() == part.train.labels.tolist()
    assert part.content_hash == whole.content_hash
    assert part.mean == whole.mean


@pytest.mark.parametrize(("split", "count"), [("train", 10_001), ("test", 2_001)])
def test_subset_larger_than_the_data_says_how_many_there_are(
    split: str, count: int, tmp_path: Path
) -> None:
    spec = DataSpec.parse({f"{split}_subset": count})
    with pytest.raises(DataError, match=f"{split}_subset={count}, but there are {count - 1}"):
        load_dataset(spec, cache_dir=tmp_path)


def test_unknown_name_proposes_a_near_one(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown data set 'cifar-10'") as caught:
        load_dataset(DataSpec(dataset="cifar-10"), cache_dir=tmp_path)
    assert "cifar10" in (caught.value.hint or "")


def test_folder_given_to_the_embedded_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="does not apply to fashion-mini") as caught:
        load_dataset(DataSpec(data_dir=str(tmp_path)), cache_dir=tmp_path)
    assert "folder" in (caught.value.hint or "")


def test_listing_names_every_data_set() -> None:
    infos = list_datasets()
    assert all(isinstance(info, DatasetInfo) for info in infos)
    names = [info.name for info in infos]
    downloaded = "fashion_mnist cifar10 cifar100 svhn stl10 stl10-unlabelled flowers102 eurosat"
    own = "synthetic folder arrays webdataset hf"
    assert names == ["fashion-mini", *downloaded.split(), *own.split()]
    assert all(info.licence and info.source and info.description for info in infos)
