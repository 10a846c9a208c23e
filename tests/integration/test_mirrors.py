"""What trackers hold, read back with their own readers, is what the store says: every step once."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from cut_network import cut_network
from mirrored import READERS, kept
from programs import in_pipe
from seeding import ENVIRONMENT, plan

from emabench import experiment
from emabench.engines.local import serve
from emabench.events import EpochProgress, JobEnded, JobProgress
from emabench.queue.supervisor import Slot
from emabench.queue.worker import Workplace
from emabench.records import CostReading, JobState, MetricPoint, RunQuery
from emabench.spec.settings import experiments
from emabench.store import RunStore
from emabench.store.transfer.copying import copy_store
from emabench.tracking import tracker_names

pytestmark = pytest.mark.external
ROOT = Path(__file__).parents[2]
MAIN = "from emabench.cli.app.main import main; main()"
TRACKERS = pytest.mark.parametrize("tracker", tracker_names())


def mirror(tracker, db, place, *, python=sys.executable):
    """Mirror the runs of a store and return what is told of each of them."""
    if python == sys.executable:
        pytest.importorskip(tracker)
    words = ["mirror", tracker, "--db", str(db), "-o", str(place), "--smoke", "--json"]
    done = subprocess.run(
        [python, "-c", MAIN, *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return {run["id"]: run for run in json.loads(done.stdout)["runs"]}


def stored(db):
    """Return, by run, the values of every curve by name and step, and the figures."""
    with RunStore.open(str(db), mode="read") as store:
        found = {}
        for run in store.runs(RunQuery(smoke=True)):
            curves = {
                (point.name.replace(":", "/"), point.step): point.value
                for point in store.metrics(run.id)
            }
            costs = {n: v for n, v in run.cost.as_dict().items() if v is not None}
            is_over = all(job.state.is_finished for job in run.jobs)
            figures = {f"result/{n}": v for n, v in run.results.items()}
            figures |= {f"cost/{n}": v for n, v in costs.items()}
            found[run.id] = SimpleNamespace(curves=curves, figures=figures if is_over else {})
        return found


def check(tracker, db, place, *, once=True, standing=None):
    """Compare what a tracker holds with the store.

    Args:
        tracker: which.
        db: the store.
        place: of the tracker.
        once: whether no step may be there twice; else every value of a step is the same.
        standing: values by name and step that the tracker has from before, and cannot change.
    """
    wanted, found = stored(db), READERS[tracker](Path(place))
    assert found.keys() == wanted.keys()
    for run, held in found.items():
        most = 1 if once else 2
        assert [key for key, values in held.curves.items() if len(values) > most] == []
        assert [key for key, values in held.curves.items() if len(set(map(repr, values))) > 1] == []
        curves = {key: values[0] for key, values in held.curves.items()}
        wanted[run].curves.update(standing or {})
        for there, said in ((curves, wanted[run].curves), (held.figures, wanted[run].figures)):
            said = {key: kept(tracker, value) for key, value in said.items()}
            assert repr(sorted(there.items())) == repr(sorted(said.items()))  # NaN is itself there
    return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A store whose run was killed twice and resumed, as it was after each kill, and at the end."""
    folder = tmp_path_factory.mktemp("killed")
    axes = [
        ("pretrain.threads", [1]),
        ("pretrain.epochs", [6]),
        ("pretrain.data.train_subset", [64]),
        ("pretrain.data.test_subset", [20]),
        ("pretrain.checkpoint_steps", [3]),
        ("evaluation.linear.weight_decays", [[0.01]]),
    ]
    (spec,) = experiments(axes, preset="smoke")
    path, moments = folder / "results.db", []

    def watch(event):
        if isinstance(event, JobProgress) and isinstance(event.event, EpochProgress):
            reached = event.event.epoch
            if (event.claim.attempt, reached) in ((1, 2), (2, 4)):
                pids = {a.job_id: a.pid for a in store.queue.running()}
                os.killpg(pids[event.claim.job_id], signal.SIGKILL)
        if isinstance(event, JobEnded):
            moments.append((folder / f"{len(moments)}.db", event.state))
            copy_store(str(path), moments[-1][0], overwrite=False)

    with RunStore.open(str(path), mode="write") as store:
        store.add_run(experiment.resolve(spec, command="emabench run"), max_attempts=9)
        place = Workplace(folder / "files")
        serve(
            store, str(path), [Slot("cpu", "cpu")], place=place, on_event=watch,
            stop=lambda: False, idle_exit=True,
        )  # fmt: skip
    states = [state for _, state in moments]
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.DONE, JobState.DONE]
    return [moment for moment, _ in moments]


@TRACKERS
def test_a_run_that_was_killed_and_resumed_twice(tracker, killed, tmp_path):
    values = []
    for moment in [*killed, killed[-1]]:
        (told,) = mirror(tracker, moment, tmp_path / "place").values()
        values.append(told["new_values"])
        (held,) = check(tracker, moment, tmp_path / "place").values()
    assert [count > 0 for count in values] == [True, True, True, True, False]
    assert {step for _, step in held.curves} == set(range(2, 13, 2))
    assert held.settings["pretrain.seed"] in (0, "0")
    assert (held.group, held.state) == (told["group"], "done")


@pytest.fixture
def overwritten(tmp_path):
    """Two moments of a store: a resumed attempt went back, and came to other values than before."""
    path = tmp_path / "results.db"
    with RunStore.open(str(path), mode="write") as store:
        run = store.add_run(plan(smoke=True))
        claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
        values = {1: 0.1 + 0.2, 2: math.nan, 3: 3.0}
        store.queue.record(claim, [MetricPoint(s, s, "loss", v) for s, v in values.items()])
        store.queue.fail(claim, reason="killed", cost=CostReading(total_s=1.0), retry=True)
        copy_store(str(path), tmp_path / "before.db", overwrite=False)
        claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
        values = {2: math.nan, 3: 3.5, 4: math.inf}
        store.queue.record(claim, [MetricPoint(s, s, "loss", v) for s, v in values.items()])
        store.queue.fail(claim, reason="the loss is not finite", cost=None)
    return tmp_path / "before.db", path


@TRACKERS
def test_steps_that_a_resumed_attempt_overwrote(tracker, overwritten, tmp_path):
    before, after = overwritten
    mirror(tracker, before, tmp_path / "place")
    check(tracker, before, tmp_path / "place")
    mirror(tracker, after, tmp_path / "place")
    standing = {("loss", 3): 3.0} if tracker == "wandb" else {}
    (held,) = check(tracker, after, tmp_path / "place", standing=standing).values()
    assert held.state == "failed"


@pytest.fixture
def several(tmp_path):
    """A store of runs with long curves."""
    path = tmp_path / "results.db"
    with RunStore.open(str(path), mode="write") as store:
        for seed in range(6):
            run = store.add_run(plan(seed=seed, smoke=True))
            claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
            store.queue.record(claim, long_curves(100))
            store.queue.finish(claim, results={"online_top1": 1.0}, cost=CostReading(total_s=2.0))
    return path


def long_curves(steps, *, first=0):
    names = [f"grad_norm:layer{number}" for number in range(10)]
    numbers = range(first, first + steps)
    return [MetricPoint(step, step, name, step + 0.1) for step in numbers for name in names]


@TRACKERS
def test_a_mirror_that_was_killed_goes_on_where_it_was(tracker, several, tmp_path):
    pytest.importorskip(tracker)
    place = tmp_path / "place"
    words = ["mirror", tracker, "--smoke", "--db", str(several), "-o", str(place)]
    for patience in (0.0, 0.3):
        with in_pipe(*words) as killed:
            until = time.monotonic() + 60
            while not place.exists() and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(patience)
            killed.process.kill()
    mirror(tracker, several, place)
    check(tracker, several, place, once=tracker != "wandb")


@TRACKERS
def test_a_mirror_follows_a_run_to_its_end(tracker, tmp_path):
    pytest.importorskip(tracker)
    path, place = tmp_path / "results.db", tmp_path / "place"
    with RunStore.open(str(path), mode="write") as store:
        run = store.add_run(plan(smoke=True))
        claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
        store.queue.record(claim, long_curves(2))
        words = ["mirror", tracker, "--smoke", "--db", str(path), "-o", str(place)]
        words += ["--follow", "--interval", "0.1", "--json"]
        with in_pipe(*words) as left:
            left.wait_for('"new_values": 20')
            left.interrupt()
            assert left.end() == 130
        check(tracker, path, place)
        with in_pipe(*words) as program:
            program.wait_for('"new_values": 0')
            store.queue.record(claim, long_curves(3, first=2))
            program.wait_for('"new_values": 30')
            store.queue.finish(claim, results={"online_top1": 1.0}, cost=CostReading(total_s=2.0))
            claim = store.queue.claim(run.eval_job, environment=ENVIRONMENT)
            store.queue.finish(claim, results={"top1": 2.0}, cost=CostReading(total_s=2.0))
            assert program.end() == 0
        told = [json.loads(line) for line in program.text.splitlines()]
    assert {each["schema_version"] for each in told} == {1}
    assert told[-1]["runs"][0]["state"] == "done"
    check(tracker, path, place)


@TRACKERS
def test_a_mirror_reaches_for_no_network(tracker, several, tmp_path, monkeypatch):
    for name, value in cut_network(tmp_path).items():
        monkeypatch.setenv(name, value)
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI"):  # as somebody has them who works online
        monkeypatch.setenv(name, {"WANDB_MODE": "online"}.get(name, "http://tracker.invalid"))
    for name in ("CI", "PYTEST_CURRENT_TEST", "GITHUB_ACTIONS"):  # there trackers are quieter
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        # What is no Python asks a proxy.
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        mirror(tracker, several, tmp_path / "place")
        proxy.settimeout(0.2)
        with pytest.raises(TimeoutError):
            proxy.accept()
    assert not (tmp_path / "reached").exists()
    check(tracker, several, tmp_path / "place")


def test_a_file_that_was_cut_off_is_made_whole(several, tmp_path):
    place = tmp_path / "place"
    mirror("tensorboard", several, place)
    files = {file: file.read_bytes() for file in place.rglob("events*")}
    assert len(files) == 6
    for number, (file, content) in enumerate(files.items()):
        file.write_bytes(content[: len(content) * number // 6] + b"?" * (number == 3))
    told = mirror("tensorboard", several, place)
    assert {file: file.read_bytes() for file in place.rglob("events*")} == files
    assert all(run["new_values"] > 0 for run in told.values())


@pytest.mark.slow
@TRACKERS
def test_a_mirror_needs_its_extra_alone_and_no_torch(tracker, several, tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needs = [each for each in project["dependencies"] if not each.startswith(("torch", "timm"))]
    needs += project["optional-dependencies"][tracker]
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *needs]
    subprocess.run(install, check=True)
    mirror(tracker, several, tmp_path / "place", python=str(python))
    check(tracker, several, tmp_path / "place")


def test_a_mirror_in_mlflow_leaves_other_files_alone(several, tmp_path):
    pytest.importorskip("mlflow")
    (tmp_path / "text").write_text("no database, and longer than a header of one would be" * 4)
    for place, code, words in (
        (several, 2, "is a store of emabench"),
        (tmp_path / "text", 1, "not a database"),
        (tmp_path, 1, "cannot write to"),
    ):
        before = several.read_bytes()
        line = ["mirror", "mlflow", "--db", str(several), "-o", str(place)]
        with in_pipe(*line) as refused:
            assert refused.end() == code
            assert words in refused.err
        assert several.read_bytes() == before
