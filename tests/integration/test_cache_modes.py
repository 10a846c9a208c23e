"""Where decoded images are kept changes nothing: whole runs, as the command line starts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from emabench.data.sources.fashion_mini import read_split
from emabench.store import RunStore


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Oblong JPEG files of several sizes."""
    grey, labels = read_split("test")
    for index in range(160):
        folder = tmp_path / "images" / f"class {labels[index] % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        size = (40 + index % 30, 60 - index % 20)
        Image.fromarray(grey[index]).convert("RGB").resize(size).save(folder / f"{index:03}.jpg")
    return tmp_path / "images"


@pytest.mark.slow
def test_runs_are_the_same_to_the_last_bit(emabench, photographs: Path) -> None:
    words = ["run", "--preset", "smoke", "--method", "moco", "--dataset", "folder"]
    words += ["--data-dir", str(photographs), "--batch-size", "16", "--json", "--force"]
    words += ["--set", "data.image_size=24", "--set", "threads=1", "--set", "max_steps=6"]
    words += ["--set", "data.train_subset=100"]
    words += ["--set", "data.test_subset=30"]
    runs: dict[str, dict[str, Any]] = {}
    metrics = {}
    for mode in ("none", "ram", "disk"):
        done = emabench([*words, "--cache", mode])
        assert done.code == 0, done.err
        (runs[mode],) = json.loads(done.out)["runs"]
        with RunStore.open("results.db", mode="read") as store:
            points = store.metrics(runs[mode]["id"])
        metrics[mode] = [(each.step, each.name, each.value) for each in points]
        assert bool(list(cache_of(photographs).glob("*.npy"))) == (mode == "disk")
    assert metrics["none"]
    for mode in ("ram", "disk"):
        assert metrics[mode] == metrics["none"]
        assert runs[mode]["results"] == runs["none"]["results"]
        assert runs[mode]["fingerprint"] == runs["none"]["fingerprint"]
    # No part of the identity: the run exists in whatever mode it is asked for.
    words.remove("--force")
    again = emabench([*words, "--cache", "ram"])
    assert json.loads(again.out)["runs"][0]["existed"]


def cache_of(photographs: Path) -> Path:
    return photographs.parent / "cache"


@pytest.fixture(autouse=True)
def _own_cache(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMABENCH_CACHE", str(cache_of(photographs)))


def test_a_file_that_cannot_be_decoded_stops_the_command_in_every_mode(
    emabench, photographs: Path
) -> None:
    bad = sorted(photographs.rglob("*.jpg"))[3]
    bad.write_bytes(bad.read_bytes()[:300])
    for mode in ("none", "ram", "disk"):
        words = ["run", "--preset", "smoke", "--dataset", "folder", "--data-dir", str(photographs)]
        done = emabench([*words, "--dry-run", "--cache", mode])
        assert done.code == 1
        assert str(bad) in done.err
        assert done.hint


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--cache", "disc"], "did you mean disk"), (["--cache-budget", "much"], "8GiB")],
)
def test_wrong_values_are_usage_errors(emabench, words: list[str], said: str) -> None:
    for command in (["run"], ["queue"], ["work"], ["studies", "run", "which-block"]):
        done = emabench([*command, *words])
        assert done.code == 2
        assert said in done.hint


def test_flags_do_not_outlast_their_command(emabench, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("EMABENCH_CACHE_BUDGET", "1G")
    words = ["run", "--preset", "smoke", "--dry-run", "--cache", "ram", "--cache-budget", "2G"]
    assert emabench(words).code == 0
    assert "EMABENCH_CACHE_MODE" not in os.environ
    assert os.environ["EMABENCH_CACHE_BUDGET"] == "1G"
