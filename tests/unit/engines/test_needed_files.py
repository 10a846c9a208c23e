"""What a node without the driver's folder is given of the jobs that an attempt builds on."""

from __future__ import annotations

import pytest

from emabench.artifacts.layout import CHECKPOINT, WEIGHTS, attempt_folder
from emabench.engines.exchange import Exchange
from emabench.engines.remote import RemoteJob
from emabench.engines.ticket import needed_files
from emabench.queue.submission import Task
from emabench.queue.worker import Workplace
from emabench.records import Claim, JobKind
from emabench.store import RunStore

JOB, OTHER = "a" * 12, "b" * 12


@pytest.mark.parametrize(
    ("kind", "spec", "depends_on", "needed"),
    [
        (JobKind.PRETRAIN, {"pretrain": {"extends": {"run": OTHER}}}, None, {CHECKPOINT}),
        (JobKind.PRETRAIN, {"pretrain": {"init": OTHER}}, None, {*WEIGHTS}),
        (JobKind.PRETRAIN, {"pretrain": {"ema": {"teacher": OTHER}}}, None, {*WEIGHTS}),
        (JobKind.LINEAR_EVAL, {"weights": OTHER}, None, {*WEIGHTS}),
        (JobKind.LINEAR_EVAL, {}, OTHER, {*WEIGHTS}),
    ],
)
def test_a_node_gets_the_files_of_what_an_attempt_needs(tmp_path, kind, spec, depends_on, needed):
    files = attempt_folder(tmp_path / "driver", OTHER, 2)
    files.mkdir(parents=True)
    for name in (CHECKPOINT, *WEIGHTS):
        (files / name).write_text(name)
    claim = Claim(JOB, kind, 1, spec, depends_on, 0.0)
    task = Task(claim, "results.db", Workplace(tmp_path / "driver"))
    exchange = Exchange(f"file://{tmp_path}/bucket")
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        RemoteJob(task, store, exchange)
        with exchange.workspace(JOB, 1, needed_files(claim)) as root:
            found = {file.name for file in attempt_folder(root, OTHER, 2).iterdir()}
    assert found == needed
    assert {file.name for file in (tmp_path / "bucket" / OTHER).rglob("*.*")} == needed


def test_weights_that_are_a_file_are_no_job():
    claim = Claim(JOB, JobKind.LINEAR_EVAL, 1, {"weights": "/weights/x.safetensors"}, None, 0.0)
    assert needed_files(claim) == {}
