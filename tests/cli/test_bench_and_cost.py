"""``bench`` and ``cost``: what they print, keep and refuse."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from emabench.device import Device
from emabench.errors import EmabenchError
from emabench.jobs import bench
from emabench.records import PlannedRun
from emabench.report.tables.bench_table import PHASES
from emabench.spec import DataSpec, PretrainSpec
from emabench.store import RunStore
from emabench.store.transfer.soundness import check

ROOT = Path(__file__).parents[2]
TINY = ["--preset", "smoke", "--method", "simclr", "--batch-size", "8", "--set", "threads=1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with one bench, and what the command printed."""
    place = tmp_path_factory.mktemp("made")
    command = [sys.executable, "-m", "emabench", "bench", *TINY, "--steps", "5", "--json"]
    done = subprocess.run(
        [*command, "--ema-scope", "none,full"],
        cwd=place, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True,
    )  # fmt: skip
    return place / "results.db", json.loads(done.stdout)["benches"][0]


@pytest.fixture
def benched(made, folder):
    """The bench, in a copy of its store."""
    store, found = made
    shutil.copy(store, folder / "results.db")
    return found


def test_a_bench_tells_arms_apart_is_kept_and_is_no_run(emabench, benched):
    rows = benched["rows"]
    assert [row["ema_scope"] for row in rows] == ["none", "full"]
    assert (benched["dataset"], benched["batch_size"]) == ("synthetic", 8)
    none, full = rows
    for row in rows:
        assert set(row["phases_ms"]) == set(PHASES)
        assert sum(row["phases_ms"].values()) < 2 * row["step_ms"]
        assert row["images_per_second"] == pytest.approx(8000 / row["step_ms"])
        assert row["peak_memory_bytes"] > 50 * 2**20
        assert row["energy_j_per_step"] is None, "a CPU has no counter"
        assert row["steps"] == 5
    assert none["ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert full["ratio"]["low"] < full["ratio"]["value"] < full["ratio"]["high"]
    assert (none["ema_bytes"], none["predicted_ratio"]) == (0, 1)
    assert full["ema_bytes"] > 0
    assert full["predicted_ratio"] == pytest.approx(4 / 3, rel=0.05)
    assert full["phases_ms"]["target_forward"] > 5 * none["phases_ms"]["target_forward"]

    assert emabench(["list", "--smoke"]).out.count(benched["id"]) == 0
    shown = json.loads(emabench(["show", benched["id"], "--json"]).out)["run"]
    assert shown["bench"]["rows"] == rows
    text = emabench(["show", benched["id"]]).out
    assert "cost of a step" in text
    assert "ema_scope" not in text.partition("spec")[0]
    again = emabench(["compare", "--bench", "--where", "method=simclr", "--json"])
    assert json.loads(again.out)["benches"] == [benched]
    assert emabench(["compare", "--bench", "--where", "method=moco"]).code == 3
    for more in (["--metric", "top1"], ["--interval", "bca"]):
        assert emabench(["compare", "--bench", *more]).code == 2
    assert check("results.db") == []
    assert emabench(["export", "-o", "benches.jsonl"]).code == 0
    assert emabench(["import", "benches.jsonl", "--db", "other.db"]).code == 0
    assert (
        json.loads(emabench(["show", benched["id"], "--json", "--db", "other.db"]).out)["run"][
            "bench"
        ]["rows"]
        == rows
    )
    assert check("other.db") == []
    assert emabench(["prune", "--dry-run", "--logs"]).code == 0


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--ema-scope", "none,layer9"], "layer9"),
        (["--method", "diet", "--ema-scope", "full"], "no target network"),
        (["--steps", "1"], "--steps"),
        (["--seconds", "0"], "--seconds"),
        (["--dataset", "synthetic", "--data-dir", "x"], "does not apply to synthetic"),
    ],
)
def test_a_bench_that_cannot_be_is_refused_before_anything_is_stored(
    emabench, folder, flags, reason
):
    result = emabench(["bench", *TINY, *flags])
    assert result.code == 2
    assert reason in result.err
    assert not (folder / "results.db").exists()


def test_cost_counts_every_suffix_and_trains_nothing(emabench, folder):
    result = emabench(["cost", *TINY, "--json"])
    assert result.code == 0, result.err
    (found,) = json.loads(result.out)["costs"]
    rows = found["rows"]
    assert [row["ema_scope"] for row in rows] == [
        "none", "projector", "from:layer4", "from:layer3", "from:layer2", "from:layer1", "full",
    ]  # fmt: skip
    ratios = [row["ratio_to_none"] for row in rows]
    assert ratios == sorted(ratios)
    assert (ratios[0], rows[-1]["ratio_to_full"]) == (1, 1)
    assert ratios[-1] == pytest.approx(4 / 3, rel=0.05)
    assert [row["ema_bytes"] for row in rows] == sorted(row["ema_bytes"] for row in rows)
    assert rows[-1]["flops"] == found["steps"] * rows[-1]["flops_per_step"]
    assert rows[-1]["ema_bytes_moved"] == 3 * 4 * rows[-1]["copied_parameters"]
    assert {row["train_s"] for row in rows} == {None}
    assert not (folder / "results.db").exists()


def test_cost_says_where_a_scope_saves_nothing(emabench):
    flags = ["--preset", "smoke", "--method", "ressl", "--ema-scope", "none,projector,full"]
    result = emabench(["cost", *flags])
    assert "averaging the projector alone saves nothing" in " ".join(result.err.split())


def test_cost_of_a_masked_method_is_memory_and_the_update(emabench):
    flags = ["cost", "--preset", "smoke", "--method", "ijepa"]
    result = emabench([*flags, "--ema-scope", "none,projector,backbone,full"])
    words = " ".join(result.err.split())
    assert "backbone costs no more operations than none" in words
    assert "has no projector: EMA scope full is backbone" in words
    scopes = [line.split()[0] for line in result.out.splitlines() if "1.000" in line]
    assert scopes == ["none", "backbone"]
    none, block, backbone = json.loads(emabench([*flags, "--json"]).out)["costs"][0]["rows"]
    assert [row["ema_scope"] for row in (none, block, backbone)] == ["none", "block2", "backbone"]
    assert none["flops_per_step"] == backbone["flops_per_step"] > 0
    assert (none["ema_bytes"], none["ema_bytes_moved"]) == (0, 0)
    assert backbone["ema_bytes_moved"] == 3 * backbone["ema_bytes"] > 3 * block["ema_bytes"] > 0


def test_cost_predicts_by_what_the_store_has_measured(emabench, benched):
    flags = ["cost", *TINY, "--dataset", "synthetic", "--ema-scope", "none,projector,full"]
    result = emabench([*flags, "--from-store", "--price-per-hour", "3600", "--json"])
    rows = json.loads(result.out)["costs"][0]["rows"]
    assert [row["measured"] for row in rows] == [1, 0, 1]
    for row in rows:
        assert row["price"] == pytest.approx(row["train_s"])
    kept = json.loads(emabench(["show", benched["id"], "--json"]).out)["run"]["results"]
    speeds = {"none": kept["images_per_second:0"], "full": kept["images_per_second:1"]}
    images = json.loads(result.out)["costs"][0]["steps"] * 8
    assert rows[0]["train_s"] == pytest.approx(images / speeds["none"])
    assert rows[2]["train_s"] == pytest.approx(images / speeds["full"])
    scaled = rows[0]["train_s"] * rows[1]["ratio_to_none"]
    assert rows[1]["train_s"] == pytest.approx(scaled)
    assert "training" in emabench([*flags, "--from-store"]).out
    elsewhere = emabench([*flags, "--from-store", "--set", "views=joint"])
    assert "no measurement like it" in elsewhere.err


def test_cost_of_no_training_and_of_no_store_is_one_line(emabench):
    nothing = emabench(["cost", "--preset", "smoke", "--method", "random"])
    assert (nothing.code, "trains nothing" in nothing.err) == (2, True)
    no_store = emabench(["cost", *TINY, "--from-store"])
    assert no_store.code == 3
    assert no_store.hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("length", "phase", "presses"),
    [
        (["--seconds", "600"], "timed steps", 1),
        (["--steps", "2"], "peak memory", 1),
        (["--steps", "2"], "peak memory", 2),
    ],
)
def test_a_bench_that_is_stopped_leaves_nothing_queued(folder, length, phase, presses):
    command = [sys.executable, "-m", "emabench", "bench", *TINY, *length]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(phase):
            break
    with RunStore.open("results.db", mode="write") as store:  # somebody queues the very same one
        (mine,) = store.benches()
        same = PlannedRun(mine.spec, mine.identity, mine.fingerprint, command="emabench bench")
        store.add_run(same, force=True)
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    _, rest = process.communicate()
    assert process.returncode == 130, rest
    assert "leaked" not in rest
    assert presses == 2 or "its steps are lost" in rest
    with closing(sqlite3.connect("results.db")) as database:
        assert database.execute("SELECT kind, state FROM jobs ORDER BY state").fetchall() == [
            ("bench", "cancelled"),
            ("bench", "queued"),
        ]
    assert check("results.db") == []


class TurnTaker:
    """An arm that only says when its turn was."""

    def __init__(self, name, log):
        self.name, self.log, self.batches = name, log, iter(range(99))

    def step(self, batch, *, sampled, counts):
        self.log.append((self.name, batch, sampled, counts))


def test_arms_take_turns_on_the_same_batch_and_another_one_begins_each_round():
    log = []
    arms = [TurnTaker(name, log) for name in "abc"]
    cpu = Device(torch.device("cpu"), "fp32")
    bench._take_turns(arms, 3, cpu, lambda event: None, lambda: False)
    assert [f"{name}{batch}" for name, batch, *_ in log] == [
        *("a0", "b0", "c0"),
        *("b1", "c1", "a1"),
        *("c2", "a2", "b2"),
    ]
    assert all(sampled and counts for *_, sampled, counts in log), "on a CPU it delays nothing"


def test_a_device_that_works_ahead_has_every_fourth_round_sampled_and_not_counted():
    log = []
    ahead = Device(torch.device("cuda"), "fp32")
    bench._take_turns([TurnTaker("a", log)], 4, ahead, lambda event: None, lambda: False)
    assert [sampled for _, _, sampled, _ in log] == [True, False, False, False, True, False]
    assert all(sampled != counts for *_, sampled, counts in log)


def test_of_the_rounds_that_count_each_arm_begins_as_many():
    log = []
    ahead = Device(torch.device("cuda"), "fp32")
    arms = [TurnTaker(name, log) for name in "ab"]
    bench._take_turns(arms, 6, ahead, lambda event: None, lambda: False)
    counted = [name for name, *_, counts in log if counts]
    assert sorted(counted[::2]) == ["a"] * 3 + ["b"] * 3


def test_peak_memory_that_cannot_be_measured_is_an_error(capfd):
    data = DataSpec(dataset="folder", data_dir="nowhere")
    with pytest.raises(EmabenchError, match="peak memory failed: nowhere: there is no such folder"):
        bench._alone([PretrainSpec(data=data)], lambda event: None, lambda: False)
    assert "Traceback" not in capfd.readouterr().err
