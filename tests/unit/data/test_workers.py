from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from emabench.data import workers
from emabench.data.cache.image_rows import FileImages
from emabench.data.images import ImageSet
from emabench.data.loader import EpochLoader
from emabench.data.reading import one_ahead, read_batches
from emabench.data.workers import decoded_ahead
from emabench.errors import DataError

MakeTree = Callable[..., Path]
PATIENCE = 60.0


@pytest.fixture
def images(make_tree: MakeTree) -> FileImages:
    return FileImages(sorted(make_tree(size=20).rglob("*.*")), 12, "center")


@pytest.mark.parametrize("budget", [0, 2**20, 2**30])
def test_batches_come_in_order_whatever_the_budget(budget: int, images: FileImages) -> None:
    rows = [np.array([5, 1, 17]), np.arange(18), np.array([2])]
    batches = list(
        decoded_ahead([images.files(each) for each in rows], 12, "center", budget=budget)
    )
    assert all(np.array_equal(a, images[b]) for a, b in zip(batches, rows, strict=True))
    assert all(batch.flags.writeable for batch in batches)


@pytest.mark.parametrize(("budget", "most"), [(0, 2), (2**40, 9)])
def test_what_is_decoded_ahead_is_bounded(budget: int, most: int, images: FileImages) -> None:
    asked = []

    def batches():
        for number in range(30):
            asked.append(number)
            yield images.files(np.array([number % 18]))

    for used, _ in enumerate(decoded_ahead(batches(), 12, "center", budget=budget)):
        assert len(asked) <= used + most
    assert used == 29


def test_a_file_that_went_bad_is_named(images: FileImages) -> None:
    bad = Path(images.files(np.array([4]))[0])
    bad.write_bytes(bad.read_bytes()[:40])
    batches = read_batches(images, [np.array([0, 1]), np.array([3, 4])])
    assert np.array_equal(next(batches), images[:2])
    with pytest.raises(DataError, match=bad.name) as caught:
        next(batches)
    assert caught.value.hint


def test_a_process_that_is_killed_is_told_and_replaced(images: FileImages) -> None:
    rows = [np.arange(18)]
    list(read_batches(images, rows))
    for process in list(workers._pool()._processes.values()):
        os.kill(process.pid, signal.SIGKILL)
    many = read_batches(images, rows * 50)  # the first may be done before it is noticed
    with pytest.raises(DataError, match="killed by the system"):
        list(many)
    (again,) = read_batches(images, rows)
    assert np.array_equal(again, images[:])


def test_loader_gives_the_same_batches_from_files(images: FileImages) -> None:
    labels = np.arange(18, dtype=np.int64) % 3
    cpu = torch.device("cpu")
    late = EpochLoader(ImageSet(images, labels), 4, 3, cpu)
    resident = EpochLoader(ImageSet(images[:], labels), 4, 3, cpu)
    for start in (0, 2):
        pairs = zip(late.epoch(1, start), resident.epoch(1, start), strict=True)
        for a, b in pairs:
            assert torch.equal(a.indices, b.indices)
            assert torch.equal(a.images, b.images)
            assert torch.equal(a.labels, b.labels)


def test_a_thread_reads_one_ahead() -> None:
    asked = []

    def items():
        for number in range(5):
            asked.append(number)
            yield number

    for number in one_ahead(items()):
        assert len(asked) <= number + 2
    assert asked == [0, 1, 2, 3, 4]

    def broken():
        yield 0
        raise DataError("gone")

    reader = one_ahead(broken())
    assert next(reader) == 0
    with pytest.raises(DataError, match="gone"):
        next(reader)


DECODE = """
import multiprocessing, sys, time
from pathlib import Path
import numpy as np
from emabench.data.cache.image_rows import FileImages
from emabench.data.reading import read_batches

def main():
    images = FileImages([Path(name) for name in sys.argv[2:]], 12, "center")
    for batch in read_batches(images, [np.arange(len(images))] * 3):
        print(int(batch.sum()), flush=True)
    if sys.argv[1] == "stay":
        time.sleep(1000)

if __name__ == "__main__":
    if sys.argv[1] == "job":
        job = multiprocessing.get_context("spawn").Process(target=main)
        job.start()
        job.join()
    else:
        main()
"""


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    file = tmp_path / "decode.py"
    file.write_text(DECODE)
    return [sys.executable, str(file)]


@pytest.mark.parametrize("how", ["leave", "job"])
def test_processes_end_with_the_program(how: str, images: FileImages, script: list[str]) -> None:
    command = [*script, how, *images.files(slice(None))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.split() == [str(int(images[:].sum()))] * 3
    assert not done.stderr


def test_processes_do_not_outlive_one_that_is_killed(images: FileImages, script: list[str]) -> None:
    command = [*script, "stay", *images.files(slice(None))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 1
        process.kill()
    deadline = time.monotonic() + PATIENCE
    while any(child.is_running() and child.status() != "zombie" for child in children):
        assert time.monotonic() < deadline, "processes that decode are still there"
        time.sleep(0.05)


def test_a_worker_does_not_load_torch() -> None:
    code = "import sys, emabench.data.workers as w; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
