"""The engines as tests use them: tiny jobs, and a cluster on this machine for each engine."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from emabench import experiment
from emabench.artifacts.layout import attempt_folders
from emabench.engines.exchange import Exchange
from emabench.engines.local import serve
from emabench.events import Event
from emabench.queue.process import Processes
from emabench.queue.submission import Engine
from emabench.queue.supervisor import Slot
from emabench.queue.worker import Workplace
from emabench.records import JobState, PlannedRun, RunQuery
from emabench.spec.settings import experiments
from emabench.store import RunStore

CPU = Slot("cpu", "cpu")
BEAT = 0.5
"""Seconds between two heartbeats, so that a job that is given up soon knows it."""


def plans(count: int, *, epochs: int = 2, **fields: object) -> list[PlannedRun]:
    """Return the plans of some tiny runs that differ in their seeds."""
    axes: list[tuple[str, list[object]]] = [
        ("pretrain.threads", [1]),
        ("pretrain.epochs", [epochs]),
        ("pretrain.data.train_subset", [64]),
        ("pretrain.data.test_subset", [20]),
        ("pretrain.method.name", ["moco"]),
        ("pretrain.method.options.queue_size", [48]),
        ("pretrain.ema.scope", ["from:layer4"]),
        ("pretrain.checkpoint_steps", [3]),
        ("pretrain.probe_images", [0]),
        ("pretrain.monitors.representation_images", [0]),
        ("evaluation.linear.weight_decays", [[0.01]]),
        ("pretrain.seed", list(range(count))),
    ]
    axes += [(name.replace("__", "."), [value]) for name, value in fields.items()]
    specs = experiments(axes, preset="smoke")
    return [experiment.resolve(spec, command="emabench run") for spec in specs]


class Site:
    """A folder with a store, and an engine for its jobs.

    Args:
        folder: an empty one.
        opener: opens the engine for a store, an exchange, and a folder of its own.
        place: of the artifacts; None is a shared folder.
        long: epochs of a run that something shall happen to.
    """

    def __init__(
        self, folder: Path, opener: Callable[..., contextlib.AbstractContextManager[Engine]],
        place: str | None = None, long: int = 60,
    ) -> None:  # fmt: skip
        self.folder, self._opener, self.long = folder, opener, long
        self.path = folder / "results.db"
        self.files = folder / "files"
        self.exchange = Exchange(place or str(self.files))

    def queue(self, planned: list[PlannedRun]) -> list[str]:
        with RunStore.open(str(self.path), mode="write") as store:
            return [store.add_run(plan).id for plan in planned]

    def work(
        self,
        on_event: Callable[[Event], None] = lambda event: None,
        stop: Callable[[], bool] = lambda: False,
        **options: object,
    ) -> None:
        """Work the queue off."""
        with (
            RunStore.open(str(self.path), mode="write") as store,
            self._opener(store, self.exchange, self.folder / "engine") as engine,
        ):
            place = Workplace(self.files, heartbeat_s=BEAT)
            options = {"idle_exit": True, **options}
            slots = options.pop("slots", [CPU, CPU])
            serve(
                store, str(self.path), slots, place=place, engine=engine, on_event=on_event,
                stop=stop, **options,
            )  # fmt: skip

    def outcome(self) -> dict[int, object]:
        """Return what must not depend on the engine or on accidents, by seed."""
        found = {}
        with self.store() as store:
            for run in store.runs(RunQuery(smoke=True)):
                assert run.state is JobState.DONE, [job.reason for job in run.jobs]
                for job in run.jobs:
                    assert [a.state for a in job.attempts].count(JobState.DONE) == 1
                    assert job.attempts[-1].state is JobState.DONE
                    assert [a.number for a in job.attempts] == list(range(1, job.attempt + 1))
                    assert {a.environment.threads for a in job.attempts if a.environment} == {1}
                (newest, *_) = attempt_folders(self.files, run.id)
                weights = {
                    name: (newest / f"{name}.safetensors").read_bytes()
                    for name in ("online", "target")
                }
                correct = store.correct(run.id, "top1")
                metrics = store.metrics(run.id)
                assert len({(m.step, m.name) for m in metrics}) == len(metrics)
                found[run.spec["pretrain"]["seed"]] = (metrics, run.results, weights, correct)
        return found

    def store(self) -> RunStore:
        return RunStore.open(str(self.path), mode="read")

    def has_checkpoint(self, job_id: str) -> bool:
        """Whether a job, wherever it works, has saved a checkpoint."""
        return any(self.exchange.read(job_id, n, "checkpoint.pt") for n in (1, 2, 3))


@contextlib.contextmanager
def local(store: RunStore, exchange: Exchange, folder: Path) -> Iterator[Engine]:
    yield Processes()


@contextlib.contextmanager
def on_ray(store: RunStore, exchange: Exchange, folder: Path) -> Iterator[Engine]:
    """Of the Ray that this process is connected to."""
    from emabench.engines.ray import RayEngine

    with RayEngine(store, exchange) as engine:
        yield engine


@contextlib.contextmanager
def on_submitit(store: RunStore, exchange: Exchange, folder: Path) -> Iterator[Engine]:
    from emabench.engines.slurm import SlurmEngine

    yield SlurmEngine(store, exchange, folder, minutes=10, cluster="local")


@contextlib.contextmanager
def on_slurm(store: RunStore, exchange: Exchange, folder: Path) -> Iterator[Engine]:
    """Of the Slurm that this machine is a part of."""
    from emabench.engines.slurm import SlurmEngine

    yield SlurmEngine(store, exchange, folder, minutes=10)


@contextlib.contextmanager
def ray_running() -> Iterator[None]:
    """A Ray of two CPUs in this process."""
    import ray

    with without_dashboard():
        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=80 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def without_dashboard() -> Iterator[None]:
    """What Ray starts knows this checkout, and counts nobody."""
    before = dict(os.environ)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
