"""What trackers are given: every step once, figures of finished runs, and only what has changed."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import pytest
from seeding import ENVIRONMENT, complete, evaluated, evaluation, plan

from emabench.errors import EmabenchError, UsageError
from emabench.records import CostReading, MetricPoint, RunQuery
from emabench.store import RunStore
from emabench.tracking import tracker_names
from emabench.tracking._mirror import Mirror
from emabench.tracking._mirrored_run import MirroredRun
from emabench.tracking._tracker import Tracker


class Notebook(Tracker):
    """Keeps what it is given."""

    own_place, viewer = "notebook", "cat {place}"

    def open(self):
        self.place.mkdir(parents=True, exist_ok=True)
        self.take(self.place / ".lock")
        self.given = []

    def write(self, run):
        self.given.append(run)
        return len(run.steps)


@pytest.fixture
def store(tmp_path):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as store:
        yield store


def begin(store, **fields):
    run = store.add_run(plan(**fields))
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    return run, claim


def shown(store, run_id):
    return MirroredRun(store.run(run_id), store.metrics(run_id))


def test_a_run_has_every_step_once_and_figures_when_it_is_over(store):
    run, claim = begin(store, method="moco", ema_scope="from:layer3", seed=3, name="n\x1b[1m")
    points = [MetricPoint(s, s // 2, name, s + 0.5) for s in (2, 4) for name in ("b", "a:x")]
    store.queue.record(claim, points, CostReading(total_s=1.0))
    before = shown(store, run.id)
    assert before.steps == [(2, 1, {"a/x": 2.5, "b": 2.5}), (4, 2, {"a/x": 4.5, "b": 4.5})]
    assert (before.figures, before.is_over, before.last_step) == ({}, False, 4)
    store.queue.finish(claim, results={"online_top1": 9.0}, cost=CostReading(total_s=2.0))
    claim = store.queue.claim(run.eval_job, environment=ENVIRONMENT)
    store.queue.finish(claim, results={"top1": 8.0}, cost=CostReading(total_s=3.0))
    after = shown(store, run.id)
    assert after.figures == {"result/online_top1": 9.0, "result/top1": 8.0, "cost/total_s": 5.0}
    assert after.label == f"moco-from:layer3-seed3-{run.id}"
    assert after.about["name"] == r"n\x1b[1m"
    assert after.settings["pretrain.seed"] == 3
    assert after.settings["data"] == "d" * 64
    assert None not in after.settings.values()
    assert before.begun_at <= before.ended_at <= after.ended_at


def test_seeds_share_a_group_and_nothing_else_does(store):
    groups = [
        shown(store, complete(store, plan(method=method, seed=seed, ema_scope=scope))).group
        for method, seed, scope in (
            ("moco", 0, "full"), ("moco", 1, "full"), ("byol", 0, "full"), ("moco", 0, "projector"),
        )
    ]  # fmt: skip
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3
    assert groups[0].startswith("moco-full-")


def test_a_run_is_written_again_only_when_it_has_changed(store, tmp_path):
    done = complete(store, plan())
    run, claim = begin(store, seed=1)
    waiting = store.add_run(plan(seed=2))
    with Notebook(tmp_path / "notebook") as notebook:
        mirror = Mirror(notebook)

        def update():
            notebook.given.clear()
            brought = mirror.update(store.runs(), store.metrics)
            return brought, [run.id for run in notebook.given]

        brought, given = update()
        assert given == [done, run.id]
        assert (brought.waiting, brought.is_last) == ((waiting.id,), False)
        store.queue.record(claim, [MetricPoint(1, 1, "loss", math.nan)])
        brought, given = update()
        assert (given, brought.new_values) == ([run.id], 1)
        # Both are over, and one is evaluated again.
        store.queue.fail(claim, reason="no", cost=None)
        store.queue.cancel([waiting.pretrain_job, waiting.eval_job])
        assert update()[0].is_last
        assert update()[1] == []
        store.queue.retry([run.pretrain_job, run.eval_job])
        brought, given = update()
        assert (given, brought.is_last) == ([run.id], False)


def test_what_has_no_curves_is_refused(store, tmp_path):
    run = complete(store, plan())
    own = evaluated(store, evaluation(run))
    with Notebook(tmp_path / "notebook") as notebook, pytest.raises(UsageError, match="no curves"):
        Mirror(notebook).update(store.runs(RunQuery(ids=(own,))), store.metrics)


def test_an_unreadable_run_is_left_out(store, tmp_path):
    run = store.run(complete(store, plan()))
    broken = replace(run, unreadable="no dict", spec={})
    leading_out = replace(run, id="../../etc")
    with Notebook(tmp_path / "notebook") as notebook:
        brought = Mirror(notebook).update([broken, leading_out], store.metrics)
        assert (brought.unreadable, notebook.given) == ((run.id, "../../etc"), [])


def test_a_place_belongs_to_one_mirror_at_a_time(tmp_path):
    taken = pytest.raises(EmabenchError, match="another mirror writes to")
    with Notebook(tmp_path / "notebook"), taken:
        Notebook(tmp_path / "notebook")
    with Notebook(tmp_path / "notebook"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(EmabenchError, match="cannot write to"):
        Notebook(tmp_path / "file" / "notebook")


@pytest.mark.parametrize("name", tracker_names())
def test_a_missing_extra_is_named_with_its_command(name, emabench, folder, monkeypatch):
    RunStore.open("results.db", mode="write").close()
    for module in [name, *(each for each in sys.modules if each.startswith(f"{name}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    answer = emabench(["mirror", name])
    assert (answer.code, answer.hint) == (1, f"hint: pip install 'emabench[{name}]'")
    assert f"needs {name}" in answer.err
    assert sorted(path.name for path in folder.iterdir()) == ["results.db"]


def test_a_mirror_says_what_is_wrong(emabench, folder):
    unknown = emabench(["mirror", "tensorbord"])
    assert (unknown.code, unknown.hint) == (2, "hint: did you mean tensorboard?")
    away = emabench(["mirror", "tensorboard"])
    assert (away.code, list(folder.iterdir())) == (3, [])
