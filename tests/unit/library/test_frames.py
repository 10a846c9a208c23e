"""Tables of pandas: their columns are documented, their numbers those of the command line."""

from __future__ import annotations

import csv
import io
import math

import pytest
from made_store import make_store

import emabench as library
from emabench.errors import SpecError, UnknownNameError

pytestmark = pytest.mark.external


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "results.db"
    make_store(path)
    return str(path)


@pytest.fixture
def runs(path):
    with library.open_store(path) as store:
        return store.select(study="projector-vs-full")


def test_runs_are_a_row_each_as_list_prints_them(runs, path, emabench):
    printed = emabench(["list", "--study", "projector-vs-full", "--csv", "--db", path])
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    frame = runs.to_frame("ema.decay")
    assert list(frame.columns) == [*rows[0], "ema.decay"]
    assert list(frame.id) == [row["id"] for row in rows]
    for row, (_, found) in zip(rows, frame.iterrows(), strict=True):
        for name in ("top1", "throughput", "total_s"):
            if row[name]:
                assert found[name] == float(row[name])
            else:
                assert math.isnan(found[name])
    for name in ("top1", "queue_s", "ema_bytes", "steps", "energy_j"):
        assert frame[name].dtype == float
    assert str(frame.created_at.dtype).endswith("UTC]")
    assert list(frame["ema.decay"]) == [run.spec["pretrain"]["ema"]["decay"] for run in runs]
    with pytest.raises(SpecError):
        runs.to_frame("ema.deacy")


def test_curves_are_in_long_form(runs):
    frame = runs.curves("loss", "online_top1")
    assert list(frame.columns) == ["run", "step", "epoch", "name", "value"]
    assert set(frame.name) == {"loss", "online_top1"}
    one = frame[(frame.run == runs[0].id) & (frame.name == "loss")]
    assert list(one.step) == [10, 20, 30, 40]
    assert list(one.epoch) == [1, 2, 3, 4]
    assert list(one.value) == [
        5.0 / epoch + runs[0].spec["pretrain"]["seed"] / 50 for epoch in (1, 2, 3, 4)
    ]
    assert math.isnan(runs.curves("decay").value.iloc[0])
    blocks = runs.curves("grad_norm_cv:")
    assert all(name.startswith("grad_norm_cv:") for name in blocks.name)
    assert set(blocks.name) < set(runs.curves().name)


def test_a_metric_that_no_run_recorded_is_an_error(runs, path):
    with pytest.raises(UnknownNameError) as caught:
        runs.curves("los")
    assert "loss" in caught.value.hint
    with pytest.raises(UnknownNameError):
        runs.curves("loss", "nothing:")
    with library.open_store(path) as store:
        assert len(store.select(name="nobody").curves("los")) == 0
        assert len(store.select(name="nobody").to_frame()) == 0


def test_a_comparison_is_a_row_an_arm_as_the_command_prints_it(runs, path, emabench):
    flags = ["--study", "projector-vs-full", "--db", path]
    printed = emabench(["compare", "--csv", *flags])
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    frame = runs.compare().to_frame()
    assert list(frame.columns) == list(rows[0])
    for row, (_, found) in zip(rows, frame.iterrows(), strict=True):
        assert found.top1_mean == float(row["top1_mean"])
        assert found.seeds == tuple(map(int, row["seeds"].split()))
        assert found.top1_verdict == row["top1_verdict"] or not row["top1_verdict"]
        if row["throughput_ratio"]:
            assert found.throughput_ratio == float(row["throughput_ratio"])
        else:
            assert math.isnan(found.throughput_ratio)
