"""A real run tells the host and the path of its images; its scrubbed copy tells neither."""

from __future__ import annotations

import re
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from emabench.data.sources.fashion_mini import read_split
from emabench.records import RunQuery
from emabench.store import RunStore
from emabench.store.transfer.scrubbing import scrub_store

HOST = re.compile(rf"(?<![\w-]){re.escape(socket.gethostname())}(?![\w-])")


def emabench(*words: str, folder: Path) -> int:
    program = "import sys; from emabench.cli.app.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *words, "--set", "threads=1"]
    return subprocess.run(command, cwd=folder, capture_output=True).returncode


def told(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return "\n".join(database.iterdump())


@pytest.mark.slow
def test_a_run_of_own_images_is_published_without_its_host_and_paths(tmp_path):
    images, labels = read_split("test")
    root = tmp_path / "own images"
    for index in range(300):
        place = root / f"class {labels[index]}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[index]).save(place / f"{index:03}.png")
    own = ["--dataset", "folder", "--data-dir", str(root)]
    few = ["--train-subset", "200", "--test-subset", "60"]
    assert emabench("run", "--preset", "smoke", *own, *few, folder=tmp_path) == 0
    (weights,) = tmp_path.rglob("*.safetensors")
    moved = weights.rename(tmp_path / "own weights.safetensors")
    assert emabench("eval", str(moved), *own, folder=tmp_path) == 0
    store, copy = tmp_path / "results.db", tmp_path / "public.db"
    place = str(tmp_path)
    assert place.encode() in store.read_bytes()
    assert HOST.search(told(store))
    assert scrub_store(str(store), copy, overwrite=False)["hosts"] == 1
    assert place.encode() not in copy.read_bytes()
    for secret in (place, "own images", "own weights"):
        assert secret in told(store)
        assert secret not in told(copy)
    assert not HOST.search(told(copy))
    with (
        RunStore.open(str(store), mode="read") as old,
        RunStore.open(str(copy), mode="read") as new,
    ):
        for one, two in zip(
            old.runs(RunQuery(smoke=True)) + old.evaluations(),
            new.runs(RunQuery(smoke=True)) + new.evaluations(),
            strict=True,
        ):
            assert (one.id, one.results, one.cost, one.fingerprint) == (
                two.id, two.results, two.cost, two.fingerprint,
            )  # fmt: skip
            assert one.environment.device == two.environment.device
            assert old.metrics(one.id) == new.metrics(two.id)
