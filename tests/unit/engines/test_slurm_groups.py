"""What Slurm is asked for, group by group of jobs that ask for the same."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import ClassVar

from seeding import plan

from emabench.engines import slurm
from emabench.engines.exchange import Exchange
from emabench.queue.submission import Task
from emabench.queue.worker import Workplace
from emabench.store import RunStore


class Executor:
    """Keeps what it was asked for, as submitit's does, and is known to the test when it is used."""

    used: ClassVar[list[dict[str, object]]] = []

    def __init__(self, folder, cluster):
        self.wanted = {}

    def update_parameters(self, **wanted):
        self.wanted.update({name: value for name, value in wanted.items() if value is not None})

    def batch(self):
        return nullcontext()

    def submit(self, function, ticket):
        self.used.append(dict(self.wanted))


def test_jobs_of_a_cpu_ask_for_no_gpu_after_others_did(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "_load", lambda: SimpleNamespace(AutoExecutor=Executor))
    monkeypatch.setattr(Executor, "used", [])
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        exchange = Exchange(str(tmp_path / "files"))
        engine = slurm.SlurmEngine(store, exchange, tmp_path / "slurm", minutes=5, cluster="local")
        for seed, device in enumerate(("cuda", "cpu")):
            claim = store.queue.claim(store.add_run(plan(seed=seed)).pretrain_job)
            place = Workplace(tmp_path / "files", device)
            with engine.batch():
                engine.submit(Task(claim, "results.db", place))
    assert [each.get("gpus_per_node") for each in Executor.used] == [1, None]
