"""An extra needs nothing that it does not name: tried in an environment with it and no other."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.external, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def test_tables_of_images_train_with_the_extra_hf_alone(tmp_path, monkeypatch):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "tables"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for split, count in (("train", 200), ("test", 200)):
        images = []
        for _ in range(count):
            content = io.BytesIO()
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(content, "PNG")
            images.append({"bytes": content.getvalue(), "path": None})
        table = pa.table({"image": images, "label": [n % 4 for n in range(count)]})
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    bin_dir = tmp_path / "venv" / "bin"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{ROOT}[hf]"]
    subprocess.run([bin_dir / "python", *install], check=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("EMABENCH_CACHE", str(tmp_path / "cache"))

    def run(*words):
        command = [bin_dir / "emabench", *words, "--json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert run("datasets", str(folder))["dataset"] == "hf"
    data = ["--dataset", "hf", "--data-dir", str(folder)]
    (row,) = run("run", "--preset", "smoke", "--method", "simclr", *data, "--db", "store.db")[
        "runs"
    ]
    assert row["state"] == "done"
