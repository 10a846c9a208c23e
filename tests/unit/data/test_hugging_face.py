"""Parquet and Arrow files of images; they are made here, and the hub is switched off."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest_images import tinted
from PIL import Image

from emabench.data.images import Dataset, load_dataset
from emabench.data.recognition import recognise
from emabench.data.sources import manifest
from emabench.data.sources.shards import table_files
from emabench.errors import DataError
from emabench.spec.data import DataSpec

pytestmark = pytest.mark.external  # needs the extra hf
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CLASSES = ["cat", "ape", "bee"]
"""Not in the order of the alphabet."""


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def encoded(picture: np.ndarray, form: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, form)
    return content.getvalue()


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [encoded(each, ["PNG", "JPEG"][n % 2]) for n, each in enumerate(tinted(24, 12))]


def rows(pictures: list[bytes], numbers: range, *, paths: bool = True) -> dict[str, list]:
    images = [
        {"bytes": pictures[n], "path": f"{n:03}.{'jpg' if n % 2 else 'png'}" if paths else None}
        for n in numbers
    ]
    return {"image": images, "label": [n % 3 for n in numbers]}


def table(columns: dict[str, list], names: list[str] | None = CLASSES):
    features = {}
    if names is not None:
        label = {"_type": "ClassLabel", "names": names}
        features = {"image": {"_type": "Image"}, "label": label}
    noted = {"huggingface": json.dumps({"info": {"features": features}})}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    arrays = {
        name: pa.array(values, type=image if isinstance(values[0], dict) else None)
        for name, values in columns.items()
    }
    return pa.table(arrays).replace_schema_metadata(noted)


def save(place: Path, content) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix == ".arrow":
        with pa.OSFile(str(place), "wb") as sink, pa.ipc.new_stream(sink, content.schema) as to:
            to.write_table(content)
    else:
        pq.write_table(content, place)
    return place


def load(place: Path, **fields: object) -> Dataset:
    spec = DataSpec.parse({"dataset": "hf", "data_dir": str(place), **fields})
    return load_dataset(spec, cache_dir=place.parent / "cache")


def folder_of(root: Path, pictures: list[bytes], splits: dict[str, range]) -> Dataset:
    """Load the same images as a folder."""
    for split, numbers in splits.items():
        for n in numbers:
            place = root / split / CLASSES[n % 3] / f"{n:03}.{'jpg' if n % 2 else 'png'}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(pictures[n])
    spec = DataSpec(dataset="folder", data_dir=str(root))
    return load_dataset(spec, cache_dir=root.parent / "cache")


def same(one: Dataset, other: Dataset) -> bool:
    return all(
        np.array_equal(a.images[:], b.images[:]) and np.array_equal(a.labels, b.labels)
        for a, b in ((one.train, other.train), (one.test, other.test))
    )


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("mode", ["disk", "none"])
def test_tables_are_what_the_same_images_are_as_a_folder(
    tmp_path, pictures, form, mode, monkeypatch
):
    monkeypatch.setenv("EMABENCH_CACHE_MODE", mode)
    parts = {"train": range(18), "test": range(18, 24)}
    for name, numbers in parts.items():
        content = table(rows(pictures, numbers))
        if form == "arrow":
            save(tmp_path / "some" / name / "data-00000-of-00001.arrow", content)
        else:  # in another order: the names of the files say which comes first
            half = len(content) // 2
            save(tmp_path / "some" / f"{name}-00000-of-00002.parquet", content[half:])
            save(tmp_path / "some" / f"{name}-00001-of-00002.parquet", content[:half])
    folder, data = folder_of(tmp_path / "tree", pictures, parts), load(tmp_path / "some")
    assert data.content_hash == folder.content_hash
    assert (data.classes, data.split) == (("ape", "bee", "cat"), "test split")
    assert same(data, folder)
    seen = recognise(str(tmp_path / "some"), cache_dir=tmp_path / "cache")
    assert (seen.dataset, seen.train, seen.test) == ("hf", 18, 6)


def test_what_the_library_of_hugging_face_writes_is_read(tmp_path, pictures):
    library = pytest.importorskip("datasets")
    features = library.Features(
        {"image": library.Image(), "label": library.ClassLabel(names=CLASSES)}
    )
    made = library.Dataset.from_dict(rows(pictures, range(24)), features=features)
    made.to_parquet(tmp_path / "some.parquet")
    library.DatasetDict({"train": made}).save_to_disk(tmp_path / "saved")
    folder = folder_of(tmp_path / "tree", pictures, {"": range(24)})
    for place in ("some.parquet", "saved"):
        data = load(tmp_path / place)
        assert data.content_hash == folder.content_hash
        assert data.split == "seeded 20 % split"
        assert same(data, folder)


def test_rows_without_names_keep_their_order_and_columns_may_be_named(tmp_path, pictures):
    content = rows(pictures, range(24), paths=False)
    content |= {"img": content["image"], "coarse": [n % 2 for n in range(24)]}
    save(tmp_path / "some.parquet", table(content, names=None))
    with pytest.raises(DataError, match="image and img could both hold the images"):
        load(tmp_path / "some.parquet", label_column="coarse")
    data = load(tmp_path / "some.parquet", image_column="img", label_column="coarse")
    assert data.classes == ("0", "1")
    with pytest.raises(DataError, match="no column 'fine'") as caught:
        load(tmp_path / "some.parquet", label_column="fine")
    assert "coarse" in (caught.value.hint or "")
    columns = {"jpg": pictures, "target": ["a", "b"] * 12}
    flat = save(tmp_path / "flat.parquet", table(columns, None))
    assert load(flat).classes == ("a", "b")
    alone = save(tmp_path / "alone.parquet", table({"jpg": pictures}, None))
    assert (load(alone).classes, len(load(alone).test)) == ((), 0)


def test_a_table_is_copied_once(tmp_path, pictures, monkeypatch):
    place = save(tmp_path / "some.parquet", table(rows(pictures, range(24))))
    copied = []
    inside = table_files._copied
    monkeypatch.setattr(table_files, "_copied", lambda *a: copied.append(1) or inside(*a))
    monkeypatch.setattr(manifest, "SETTLED_NS", -(10**10))
    first = load(place)
    assert load(place).content_hash == first.content_hash
    assert len(copied) == 1
    pack = next((tmp_path / "cache" / "packs").glob("*.pack"))
    pack.write_bytes(pack.read_bytes()[:-1])
    assert load(place).content_hash == first.content_hash
    assert len(copied) == 2
    monkeypatch.setattr(manifest, "SETTLED_NS", 2 * 10**9)
    save(place, table(rows(pictures, range(21))))
    assert load(place).content_hash != first.content_hash


IMAGE = {"bytes": b"", "path": "/etc/passwd"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": [IMAGE] * 6}, "row 0: no bytes, and a path is not followed"),
        ({"image": [{"bytes": b"no image", "path": None}] * 6}, "row 0: cannot be decoded"),
        ({"image": ["a.png"] * 6}, "no column holds the bytes of images"),
        ({"label": [[0, 1]] * 6}, "row 0: several labels for one image"),
        ({"label": [0, 1, -1, 0, 1, 2]}, "row 2: -1 is no class"),
        ({"label": [0, 1, 3, 0, 1, 2]}, "row 2: 3 is no class"),
        ({"label": [0, 1, None, 0, 1, 2]}, "row 2: its label is None"),
        ({"label": [0.5] * 6}, "row 0: its label is 0.5"),
        ({"label": [True] * 6}, "row 0: its label is True"),
        ({"label": [1] * 6}, "only one class, 'ape'"),
    ],
)
def test_tables_that_make_no_data_set_are_refused(tmp_path, pictures, change, message):
    columns = rows(pictures, range(6)) | change
    place = save(tmp_path / "some.parquet", table(columns))
    with pytest.raises(DataError, match=message) as caught:
        load(place)
    assert "\n" not in caught.value.message
    assert "some.parquet" in caught.value.message
    assert caught.value.hint


def test_classes_of_one_name_are_not_merged(tmp_path, pictures):
    place = save(tmp_path / "some.parquet", table(rows(pictures, range(12)), ["ape", "bee", "ape"]))
    with pytest.raises(DataError, match="two classes are called 'ape'"):
        load(place)


def test_parts_without_rows_are_refused(tmp_path, pictures):
    full, empty = table(rows(pictures, range(12))), table(rows(pictures, range(12)))[:0]
    for name, parts in {"training": (empty, full), "testing": (full, empty)}.items():
        save(tmp_path / name / "train.parquet", parts[0])
        save(tmp_path / name / "test.parquet", parts[1])
        with pytest.raises(DataError, match=f"no images for {name} in its files"):
            load(tmp_path / name)
    with pytest.raises(DataError, match="no images for training"):
        load(save(tmp_path / "some.parquet", empty))


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_damaged_and_foreign_files_are_refused(tmp_path, pictures, form):
    place = save(tmp_path / f"some.{form}", table(rows(pictures, range(24))))
    whole = place.read_bytes()
    for content in (b"", pickle.dumps([1]), whole[: len(whole) // 2]):
        place.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be read|no class|no bytes") as caught:
            load(place)
        assert "\n" not in caught.value.message


def test_offsets_of_a_stream_that_lead_out_are_refused(tmp_path, pictures):
    """Arrow itself would read what lies behind the file."""
    column = pa.array(pictures[:4], pa.binary())
    place = save(tmp_path / "some.arrow", pa.table({"image": column}))
    offsets = np.frombuffer(column.buffers()[1], np.int32)[:5].tobytes()
    hostile = np.array([0, 2**30, 2**30, 2**30, 2**30], np.int32).tobytes()
    content = place.read_bytes()
    assert content.count(offsets) == 1
    place.write_bytes(content.replace(offsets, hostile))
    with pytest.raises(DataError, match="cannot be read"):
        load(place)


def test_a_bomb_is_refused_before_it_fills_the_cache(tmp_path, monkeypatch):
    large = encoded(np.zeros((700, 700, 3), np.uint8), "BMP")
    rows_ = {"image": [{"bytes": large, "path": None}] * 200, "label": [0, 1] * 100}
    place = save(tmp_path / "some.parquet", table(rows_))
    assert place.stat().st_size < 2**20
    with pytest.raises(DataError, match="more than 100 times as large as the file"):
        load(place)
    assert not list((tmp_path / "cache").rglob("*.pack*"))
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: pytest.fail("read"))
    for kept_once in (True, False):
        pq.write_table(
            table({name: values[:16] for name, values in rows_.items()}),
            place,
            compression="zstd",
            use_dictionary=kept_once,
            dictionary_pagesize_limit=2**30,
        )
        assert place.stat().st_size < 2**14
        with pytest.raises(DataError, match="more than 100 times as large as the file"):
            load(place)


def test_neither_pandas_nor_the_library_of_hugging_face_is_imported(tmp_path, pictures):
    place = save(tmp_path / "some.parquet", table(rows(pictures, range(24))))
    code = (
        "import sys\n"
        "for name in ('datasets', 'pandas'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from emabench.data.images import load_dataset\n"
        "from emabench.spec.data import DataSpec\n"
        "assert 'pyarrow' not in sys.modules\n"
        "spec = DataSpec(dataset='hf', data_dir=sys.argv[1])\n"
        "print(len(load_dataset(spec, cache_dir=Path(sys.argv[2])).train))"
    )
    command = [sys.executable, "-c", code, str(place), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "18\n"
