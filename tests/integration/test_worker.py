"""A claimed job ends in the store as done, failed or queued again, with what it cost."""

import pytest

from emabench import experiment
from emabench.engines.local import run_all
from emabench.methods import load_method
from emabench.records import JobState, RunFinished
from emabench.spec.settings import experiments
from emabench.store import RunStore


@pytest.fixture
def plan():
    axes = [("pretrain.threads", [1]), ("pretrain.method.name", ["moco"])]
    axes += [("pretrain.ema.scope", ["projector"]), ("pretrain.epochs", [1])]
    (spec,) = experiments(axes, preset="smoke")
    return experiment.resolve(spec, command="emabench run --preset smoke")


def execute(store, plan, folder, *, stop=lambda: False):
    events = []
    (end,) = run_all(
        store, [plan], artifacts=folder, force=False, on_event=events.append, stop=stop
    )
    assert isinstance(events[-1], RunFinished)
    return end


def test_a_run_is_recorded_with_results_metrics_and_cost(tmp_path, plan):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        end = execute(store, plan, tmp_path)
        run = store.run(end.run.id)
        assert run.state is JobState.DONE
        assert {"top1", "top5", "knn_top1", "online_top1"} <= set(run.results)
        names = {point.name for point in store.metrics(run.id)}
        assert names == {"loss", "lr", "decay", "online_top1"}
        cost = run.cost
        parts = ("init_s", "data_prep_s", "warmup_s", "train_s", "probe_s", "eval_s")
        parts += ("checkpoint_s",)
        assert cost.total_s == pytest.approx(sum(getattr(cost, part) for part in parts))
        assert cost.queue_s is not None
        assert cost.energy_j is None
        assert cost.ema_bytes > 0
        assert run.environment.threads == 1
        bits, count = store.correct(run.id, "top1")
        assert count == 100
        assert sum(bin(byte).count("1") for byte in bits) == run.results["top1"]


def test_a_finished_run_is_not_repeated(tmp_path, plan, monkeypatch):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        first = execute(store, plan, tmp_path)
        monkeypatch.setattr(experiment, "pretrain", None)
        second = execute(store, plan, tmp_path)
        assert second.state is JobState.DONE
        assert second.run.existed
        assert second.run.id == first.run.id


def test_a_failure_is_recorded_and_fails_the_evaluation_too(tmp_path, plan, monkeypatch):
    def explode(self, online, target):
        raise ValueError("boom")

    monkeypatch.setattr(load_method("moco"), "loss", explode)
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        end = execute(store, plan, tmp_path)
        assert (end.state, end.reason) == (JobState.FAILED, "ValueError: boom")
        pretrain, evaluation = store.run(end.run.id).jobs
        assert pretrain.reason == "ValueError: boom"
        assert evaluation.state is JobState.FAILED
        monkeypatch.undo()
        assert execute(store, plan, tmp_path).state is JobState.DONE, "it can be tried again"
