"""Where data sets of Hugging Face are looked for; nothing here needs pyarrow or the network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from emabench.data.images import load_dataset
from emabench.data.recognition import recognise
from emabench.data.sources.shards.hugging_face import table_files
from emabench.errors import DataError, EmabenchError, NotFoundError, SpecError
from emabench.spec.data import DataSpec
from emabench.spec.experiment import ExperimentSpec
from emabench.spec.fingerprint import what_counts

HEAD = "a" * 40


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cut the hub off, and return the folder of its cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("EMABENCH_DOWNLOAD", raising=False)
    return tmp_path / "hub"


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_the_cache_of_the_hub_is_read_at_a_revision(no_hub):
    kept = no_hub / "datasets--owner--some"
    snapshot = touch(kept / "snapshots" / HEAD, "data/train-00000-of-00001.parquet")
    (kept / "refs").mkdir()
    (kept / "refs" / "v1").write_text(HEAD)
    expected = {"train": [snapshot / "data" / "train-00000-of-00001.parquet"]}
    for place in ("@v1", f"@{HEAD}", "@v1/data"):
        assert table_files(f"hf://datasets/owner/some{place}") == expected
    with pytest.raises(NotFoundError, match="not in the cache of the hub") as caught:
        table_files("hf://datasets/owner/some@v2")
    assert "--download" in (caught.value.hint or "")


def test_the_hub_is_asked_with_leave_alone(monkeypatch):
    asked = []

    def snapshot_download(name: str, **options: object) -> str:
        asked.append((name, options["revision"], options["local_files_only"]))
        raise OSError("no route to\nthe hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(NotFoundError):
        table_files("hf://datasets/owner/some@~parquet")
    monkeypatch.setenv("EMABENCH_DOWNLOAD", "1")
    with pytest.raises(DataError, match="cannot be downloaded: no route to the hub"):
        table_files("hf://datasets/owner/some@refs%2Fpr%2F1")
    assert asked == [
        ("owner/some", "refs/convert/parquet", True),
        ("owner/some", "refs/pr/1", False),
    ]


@pytest.mark.parametrize(
    "place",
    [
        "hf://owner/some",
        "hf://datasets/a/b/../../c",
        "hf://",
        *(f"hf://datasets/a/b@{each}" for each in ("%2e%2e%2f%2e%2e%2fc", "%2Fetc", "v%00", "%5C")),
    ],
)
def test_what_is_no_address_is_refused(place):
    with pytest.raises(SpecError, match="is no data set of the hub"):
        table_files(place)


def test_files_of_which_one_is_missing_and_those_of_two_sets_are_refused(tmp_path):
    part = touch(tmp_path / "part", "train-00000-of-00002.parquet", "test-00000-of-00001.parquet")
    with pytest.raises(DataError, match="1 of the 2 files train-…-of-00002 are there"):
        table_files(str(part))
    two = touch(tmp_path / "two", "plain/train/0.parquet", "cropped/train/0.parquet")
    with pytest.raises(DataError, match="several data sets in it: cropped, plain"):
        table_files(str(two))
    assert table_files(str(two / "plain")) == {"train": [two / "plain" / "train" / "0.parquet"]}
    inner = touch(tmp_path / "train_x" / "set", "a.parquet", "other/b.parquet")
    with pytest.raises(DataError, match=r"several data sets in it: \., other"):
        table_files(str(inner))
    with pytest.raises(DataError, match="no Parquet file in it"):
        table_files(str(touch(tmp_path / "none", "cache-1.arrow")))
    os.mkfifo(tmp_path / "pipe.parquet")
    with pytest.raises(DataError, match="not a regular file"):
        table_files(str(tmp_path / "pipe.parquet"))


def test_where_the_columns_are_is_no_part_of_a_run():
    def counted(**data: str) -> dict[str, object]:
        fields = {"pretrain": {"data": {"dataset": "hf", **data}}}
        return what_counts(ExperimentSpec.parse(fields).model_dump(mode="json"))

    named = counted(image_column="img", label_column="fine_label", data_dir="some")
    assert named == counted(data_dir="elsewhere")


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    touch(tmp_path / "some", "train.parquet")
    spec = DataSpec(dataset="hf", data_dir=str(tmp_path / "some"))
    for look in (
        lambda: load_dataset(spec, cache_dir=tmp_path / "cache"),
        lambda: recognise(str(tmp_path / "some"), cache_dir=tmp_path / "cache"),
    ):
        with pytest.raises(EmabenchError, match="need pyarrow, which is not installed") as caught:
            look()
        assert caught.value.hint == "pip install 'emabench[hf]'"
