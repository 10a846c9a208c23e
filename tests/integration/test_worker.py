"""A claimed job ends in the store as done, failed or queued again, with what it cost."""

import contextlib
import math

import pytest

from emabench import experiment
from emabench.artifacts.layout import Keep, attempt_folder
from emabench.errors import EmabenchError, FencedError
from emabench.events import EpochProgress, StepProgress
from emabench.methods import load_method
from emabench.queue.worker import Workplace, work
from emabench.records import JobState
from emabench.spec.settings import experiments
from emabench.store import RunStore


@pytest.fixture(scope="module")
def plan():
    axes = [("pretrain.threads", [1]), ("pretrain.method.name", ["moco"])]
    axes += [("pretrain.ema.scope", ["projector"]), ("pretrain.epochs", [1])]
    (spec,) = experiments(axes, preset="smoke")
    return experiment.resolve(spec, command="emabench run --preset smoke")


def execute(store, plan, folder, *, stop=lambda: False):
    """Queue a run and work on its jobs in this process, where a test can reach into it."""
    run = store.add_run(plan)
    for job in (run.pretrain_job, run.eval_job):
        while (claim := store.queue.claim(job)) is not None:
            with contextlib.suppress(EmabenchError, ValueError):
                work(store.queue, claim, Workplace(folder), on_event=lambda event: None, stop=stop)
    return store.run(run.id)


def test_a_run_is_recorded_with_results_metrics_and_cost(tmp_path, plan):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        run = execute(store, plan, tmp_path)
        assert run.state is JobState.DONE
        assert {"top1", "top5", "knn_top1", "online_top1"} <= set(run.results)
        names = {point.name for point in store.metrics(run.id)}
        assert {"loss", "lr", "decay", "online_top1", "embedding_std", "grad_norm:stem"} <= names
        cost = run.cost
        parts = ("init_s", "data_prep_s", "warmup_s", "train_s", "probe_s", "eval_s")
        parts += ("monitor_s", "checkpoint_s")
        assert cost.total_s == pytest.approx(sum(getattr(cost, part) for part in parts))
        assert cost.queue_s is not None
        assert cost.energy_j is None
        assert cost.ema_bytes > 0
        assert cost.flops_per_step > 0
        assert run.environment.threads == 1
        bits, count = store.correct(run.id, "top1")
        assert count == 100
        assert sum(bin(byte).count("1") for byte in bits) == run.results["top1"]


@pytest.mark.usefixtures("uncounted")
def test_an_exception_fails_three_attempts_and_then_the_run(tmp_path, plan, monkeypatch):
    def explode(self, online, target):
        raise ValueError("boom")

    monkeypatch.setattr(load_method("moco"), "loss", explode)
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        pretrain, evaluation = execute(store, plan, tmp_path).jobs
        assert [a.reason for a in pretrain.attempts] == ["ValueError: boom"] * 3
        assert (pretrain.state, pretrain.failures) == (JobState.FAILED, 3)
        assert evaluation.state is JobState.FAILED
        assert evaluation.reason == f"needs job {pretrain.id}, which failed: ValueError: boom"
        monkeypatch.undo()
        assert execute(store, plan, tmp_path).state is JobState.DONE, "it can be tried again"


@pytest.mark.usefixtures("uncounted")
def test_what_fails_the_same_way_every_time_is_tried_once(tmp_path, plan, monkeypatch):
    monkeypatch.setattr(load_method("moco"), "loss", lambda self, a, b: (a[0] * math.nan).sum())
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        (attempt,) = execute(store, plan, tmp_path).jobs[0].attempts
        assert attempt.state is JobState.FAILED
        assert "loss is nan at step 1" in attempt.reason


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep.WEIGHTS, {"online.safetensors", "projector.safetensors"}),
        (Keep.CHECKPOINTS, {"online.safetensors", "projector.safetensors", "checkpoint.pt"}),
        (Keep.NOTHING, set()),
    ],
)
def test_a_finished_run_leaves_what_is_to_be_kept(tmp_path, plan, keep, left):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        run = store.add_run(plan)
        for job in (run.pretrain_job, run.eval_job):
            claim = store.queue.claim(job)
            place = Workplace(tmp_path / "files", keep=keep)
            work(store.queue, claim, place, on_event=lambda event: None, stop=lambda: False)
        folder = attempt_folder(tmp_path / "files", run.pretrain_job, 1)
        assert {file.name for file in folder.iterdir()} == left


@pytest.mark.usefixtures("uncounted")
def test_a_fenced_worker_stops_and_changes_nothing(tmp_path, plan):
    """Its job is cancelled and given to another one while it trains; then it wakes up."""
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        run = store.add_run(plan)
        sleeper = store.queue.claim(run.pretrain_job)
        seen = []

        def steal(event):
            if isinstance(event, StepProgress) and not seen:
                store.queue.cancel([run.pretrain_job])
                store.queue.retry([run.pretrain_job])
                seen.append(store.queue.claim(run.pretrain_job))
                seen.append(store.run(run.id))

        place = Workplace(tmp_path / "files", heartbeat_s=0.01)
        with pytest.raises(FencedError):
            work(store.queue, sleeper, place, on_event=steal, stop=lambda: False)
        assert store.run(run.id) == seen[1]
        assert store.metrics(run.id) == []
        other = seen[0]
        assert other.attempt == 2
        work(store.queue, other, place, on_event=lambda event: None, stop=lambda: False)
        states = [a.state for a in store.run(run.id).jobs[0].attempts]
        assert states == [JobState.CANCELLED, JobState.DONE]


@pytest.mark.usefixtures("uncounted")
def test_the_cost_of_a_killed_attempt_is_known_up_to_its_last_epoch(tmp_path, plan):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        run = store.add_run(plan)
        claim = store.queue.claim(run.pretrain_job)

        def kill(event):
            if isinstance(event, EpochProgress):
                raise SystemExit  # nothing is written any more, as by SIGKILL

        with pytest.raises(SystemExit):
            work(store.queue, claim, Workplace(tmp_path), on_event=kill, stop=lambda: False)
        (attempt,) = store.run(run.id).jobs[0].attempts
        assert attempt.state is JobState.RUNNING
        assert attempt.cost.train_s > 0
