"""Runs that use plugins: what identifies them, and which processes load what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from engines import BEAT, CPU, on_ray, ray_running
from plugged import example_files, install, write_examples

from emabench import experiment
from emabench.artifacts.layout import attempt_folders
from emabench.cost.meter import CostMeter
from emabench.device import Device
from emabench.engines import local
from emabench.engines.exchange import Exchange
from emabench.engines.local import run_all, serve
from emabench.errors import InterruptedRunError, MissingPluginError
from emabench.events import JobEnded, JobProgress
from emabench.extensions.named_plugins import PLUGINS_VARIABLE, use_plugins
from emabench.extensions.plugin_code import PluginCode
from emabench.jobs.peak_memory import measure_alone
from emabench.queue.worker import Workplace, work
from emabench.records import JobState, RunQuery
from emabench.spec import ExperimentSpec
from emabench.spec.settings import experiments
from emabench.store import RunStore

FILES = example_files()
MARK = """
import os, pathlib
if "EMABENCH_TEST_MARK" in os.environ:
    with pathlib.Path(os.environ["EMABENCH_TEST_MARK"]).open("a") as file:
        file.write(f"{__name__} {os.getpid()}\\n")
"""
"""Tells who loads a plugin."""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    monkeypatch.setenv(PLUGINS_VARIABLE, "")


@pytest.fixture
def plugins(tmp_path):
    """The example plugins in a folder, named to this process."""
    home = tmp_path / "plugins"
    home.mkdir()
    paths = write_examples(home)
    for path in paths:
        Path(path).write_text(Path(path).read_text() + MARK)
    use_plugins(paths)
    return home


def specs(count=1, **fields):
    given = {
        "threads": 1,
        "precision": "fp32",
        "device": "cpu",
        "epochs": 2,
        "batch_size": 16,
        "probe_images": 0,
        "monitors__representation_images": 0,
        "method__name": "simdist",
        "backbone__name": "twoconvs",
        "data__dataset": "dots",
        "data__train_subset": 64,
        "data__test_subset": 20,
        "data__image_size": 16,
        "ema__scope": "from:body",
        "checkpoint_steps": 3,
        **fields,
    }
    axes = [(f"pretrain.{path.replace('__', '.')}", [value]) for path, value in given.items()]
    axes += [("evaluation.linear.weight_decays", [[0.01]]), ("pretrain.seed", list(range(count)))]
    return list(experiments(axes, preset="smoke"))


def resolve(**fields):
    (spec,) = specs(**fields)
    return experiment.resolve(spec, command="emabench run")


BUILT_IN = {"method__name": "simclr", "backbone__name": "tiny-resnet", "ema__scope": "projector"}
BUILT_IN |= {"data__dataset": "fashion-mini", "data__image_size": None}


def digest(path):
    return PluginCode.parse(str(path)).digest()


def test_a_run_names_the_plugins_that_it_uses_and_no_others(plugins):
    (plugins / "unused.py").write_text(FILES["simdist.py"])
    use_plugins([*map(str, sorted(plugins.glob("*.py")))])
    plan = resolve()
    assert plan.identity["plugins"] == [
        f"backbone:twoconvs@{digest(plugins / 'twoconvs.py')}",
        f"dataset:dots@{digest(plugins / 'dots.py')}",
        f"method:simdist@{digest(plugins / 'simdist.py')}",
    ]
    assert str(plugins) not in json.dumps(dict(plan.identity))
    named = [f" --plugin {plugins / f'{name}.py'}" for name in ("twoconvs", "dots", "simdist")]
    assert plan.command == f"emabench run{''.join(named)}"
    only_data = resolve(**{**BUILT_IN, "data__dataset": "dots", "data__image_size": 32})
    assert only_data.identity["plugins"] == [f"dataset:dots@{digest(plugins / 'dots.py')}"]
    assert only_data.command == f"emabench run --plugin {plugins / 'dots.py'}"


def test_a_run_without_plugins_is_what_it_always_was(plugins):
    with_plugins = resolve(**BUILT_IN)
    use_plugins([])
    assert with_plugins == resolve(**BUILT_IN)
    assert "plugins" not in with_plugins.identity


def test_the_place_of_a_plugin_does_not_count_and_its_code_does(plugins, tmp_path):
    before = resolve()
    elsewhere = tmp_path / "elsewhere"
    plugins.rename(elsewhere)
    use_plugins(map(str, elsewhere.glob("*.py")))
    assert resolve().fingerprint == before.fingerprint
    for name in ("simdist", "dots", "twoconvs"):
        file = elsewhere / f"{name}.py"
        source = file.read_text()
        file.write_text(source + "# changed\n")
        assert resolve().fingerprint != before.fingerprint, name
        file.write_text(source)
    assert resolve().fingerprint == before.fingerprint


def test_a_plugin_that_is_broken_is_told_of(plugins):
    (plugins / "broken.py").write_text("1 / 0\n")
    use_plugins([*map(str, sorted(plugins.glob("*.py")))])
    notes = []
    (spec,) = specs()
    experiment.resolve(spec, command="emabench run", on_event=notes.append)
    texts = [getattr(note, "message", "") for note in notes]
    assert (
        sum("plugin broken.py cannot be loaded: ZeroDivisionError" in text for text in texts) == 1
    )


def test_a_checkpoint_of_other_code_is_not_resumed(plugins, tmp_path):
    spec = ExperimentSpec.parse(resolve().spec)
    cpu = Device(torch.device("cpu"), "fp32")
    notes = []

    def train(name, *earlier, steps=None):
        made = iter(range(1, 10_000))
        experiment.pretrain(
            spec.pretrain,
            folder=tmp_path / name,
            earlier=[tmp_path / each for each in earlier],
            on_event=lambda event: notes.append(getattr(event, "message", "")),
            record=list,
            stop=lambda: next(made) == steps,
            meter=CostMeter(cpu),
        )

    with pytest.raises(InterruptedRunError):
        train("one", steps=4)
    train("two", "one")
    assert any("resumed after step" in note for note in notes)
    method = plugins / "simdist.py"
    method.write_text(method.read_text() + "# changed\n")
    notes.clear()
    train("three", "one")
    assert not any("resumed" in note for note in notes)


def queue_all(store, plans, **options):
    return [store.add_run(plan, **options) for plan in plans]


def planned(count=1, **fields):
    return [experiment.resolve(each, command="emabench run") for each in specs(count, **fields)]


def test_a_job_whose_plugin_is_gone_when_it_begins_is_given_back(plugins, tmp_path):
    with RunStore.open(str(tmp_path / "r.db"), mode="write") as store:
        (run,) = queue_all(store, planned())
        claim = store.queue.claim(run.pretrain_job)
        method = plugins / "simdist.py"
        method.write_text(method.read_text() + "# changed meanwhile\n")
        with pytest.raises(MissingPluginError, match="method simdist"):
            work(
                store.queue, claim, Workplace(tmp_path / "a"),
                on_event=lambda event: None, stop=lambda: False,
            )  # fmt: skip
        job = store.job(run.id)
        assert (job.state, job.failures) == (JobState.QUEUED, 0)


@pytest.mark.slow
def test_a_run_in_the_foreground_does_not_wait_for_a_plugin_that_went_away(plugins, tmp_path):
    plans = planned()
    method = plugins / "simdist.py"
    source = method.read_text()
    with RunStore.open(str(tmp_path / "r.db"), mode="write") as store:
        method.write_text(source + "# changed after it was planned\n")
        (end,) = run_all(
            store, str(tmp_path / "r.db"), plans, place=Workplace(tmp_path / "a"), force=False,
            on_event=lambda event: None, stop=lambda: False,
        )  # fmt: skip
        assert end.state is JobState.QUEUED
        assert "method simdist" in end.reason
        assert store.job(end.run.id).failures == 0


def outcome(store, artifacts):
    """Return by seed what must not depend on who worked on a run, and how often it died."""
    found = {}
    for run in store.runs(RunQuery(smoke=True)):
        assert run.state is JobState.DONE, [job.reason for job in run.jobs]
        weights = attempt_folders(artifacts, run.id)[0] / "online.safetensors"
        seed = run.spec["pretrain"]["seed"]
        found[seed] = (store.metrics(run.id), dict(run.results), weights.read_bytes())
    return found


@pytest.mark.slow
def test_workers_train_with_plugins_and_go_on_after_a_kill(plugins, tmp_path, monkeypatch):
    monkeypatch.setenv("EMABENCH_TEST_MARK", str(tmp_path / "marks"))
    outcomes = {}
    for name in ("quiet", "killed"):
        path, artifacts = str(tmp_path / f"{name}.db"), tmp_path / name
        killed = []

        def kill(event, name=name, killed=killed):
            step = isinstance(event, JobProgress) and getattr(event.event, "step", 0) >= 5
            if name == "killed" and step and event.claim.job_id not in killed:
                killed.append(event.claim.job_id)
                (attempt,) = [a for a in store.queue.running() if a.job_id == event.claim.job_id]
                os.killpg(attempt.pid, signal.SIGKILL)

        with RunStore.open(path, mode="write") as store:
            queue_all(store, planned(2, epochs=12), max_attempts=10)
            place = Workplace(artifacts, heartbeat_s=BEAT)
            serve(
                store, path, [CPU], place=place, idle_exit=True, on_event=kill,
                stop=lambda: False,
            )  # fmt: skip
            outcomes[name] = outcome(store, artifacts)
        if name == "killed":
            assert killed
    assert outcomes["killed"] == outcomes["quiet"]
    loaders = {line.split()[1] for line in (tmp_path / "marks").read_text().splitlines()}
    assert len(loaders) >= 1 + 8, "this process, and each that worked on a job"


def emabench(*arguments, cwd, env=None, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "emabench", *arguments],
        cwd=cwd, capture_output=True, text=True, env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done


SMALL = [
    "--preset",
    "smoke",
    "--dataset",
    "dots",
    "--image-size",
    "16",
    "--train-subset",
    "64",
    "--test-subset",
    "20",
    "--batch-size",
    "16",
    "--epochs",
    "1",
    "--backbone",
    "twoconvs",
    "--ema-scope",
    "projector",
]


@pytest.mark.slow
def test_each_command_loads_what_it_needs_and_reading_loads_nothing(plugins, tmp_path, monkeypatch):
    named = os.environ[PLUGINS_VARIABLE]
    here = tmp_path / "here"
    here.mkdir()
    run = json.loads(emabench("run", *SMALL, "--method", "simdist", "--json", cwd=here).stdout)
    (run,) = run["runs"]
    assert f"--plugin {plugins / 'simdist.py'}" in run["command"]

    mark = tmp_path / "marks"
    env = {"EMABENCH_TEST_MARK": str(mark), PLUGINS_VARIABLE: named}
    reading = (
        "list --smoke", "show @last", "status", "compare --smoke --metric top1", "du",
        "export -o runs.jsonl", "import runs.jsonl --db other.db", "show @last --db other.db",
        "logs @last", "report -o report.html --smoke", "db check",
    )  # fmt: skip
    code = "import sys; from emabench.cli.app.main import run\n"
    code += "for words in sys.argv[1:]: assert run(words.split()) == 0, words\n"
    subprocess.run(
        [sys.executable, "-c", code, *reading], cwd=here, env={**os.environ, **env},
        check=True, capture_output=True,
    )  # fmt: skip
    assert not mark.exists()

    # The method is gone: everything about the weights still works.
    rest = {PLUGINS_VARIABLE: os.pathsep.join(str(plugins / f) for f in ("dots.py", "twoconvs.py"))}
    emabench("eval", "@last", "--set", "evaluation.knn.k=5", cwd=here, env=rest)
    code = emabench("weights", "@last", "-o", "w.safetensors", cwd=here, env=rest).stdout
    loaded = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(type(model).__name__)"],
        cwd=here, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert loaded.stdout == "TwoConvs\n"
    for words, missing in (
        ("eval @last --set evaluation.knn.k=6", "backbone twoconvs"),
        ("weights @last -o v.safetensors", "backbone twoconvs"),
    ):
        done = emabench(*words.split(), cwd=here, env={PLUGINS_VARIABLE: ""}, code=1)
        error, hint = done.stderr.splitlines()
        assert error.startswith(f"error: run {run['id']} needs the plugin {missing} (")
        assert "--plugin" in hint


@pytest.mark.slow
def test_a_bench_and_its_memory_process_have_the_plugins(plugins, tmp_path, monkeypatch):
    monkeypatch.setenv("EMABENCH_TEST_MARK", str(tmp_path / "marks"))
    flags = ["--plugin", str(plugins / "simdist.py"), "--plugin", str(plugins / "dots.py")]
    flags += ["--plugin", str(plugins / "twoconvs.py")]
    words = [*SMALL[:-2], "--method", "simdist", "--ema-scope", "none,projector", "--steps", "2"]
    env = {PLUGINS_VARIABLE: ""}
    done = emabench("bench", *words, *flags, "--json", cwd=tmp_path, env=env)
    assert json.loads(done.stdout)["benches"]
    methods = [
        line.split()[1]
        for line in (tmp_path / "marks").read_text().splitlines()
        if "simdist" in line
    ]
    assert len(set(methods)) >= 4, "the command, the job, and a memory process for each arm"


def test_the_memory_of_an_arm_is_measured_with_the_plugins(plugins):
    spec = ExperimentSpec.parse(resolve().spec).pretrain
    assert measure_alone(spec)["peak_memory_bytes"] > 0


@pytest.mark.slow
def test_the_processes_of_several_devices_have_the_plugins(plugins, tmp_path, monkeypatch):
    monkeypatch.setenv("EMABENCH_TEST_MARK", str(tmp_path / "marks"))
    source = FILES["twoconvs.py"].replace("def twoconvs", "def plain_convs")
    file = plugins / "plain_convs.py"
    file.write_text(source.replace("nn.BatchNorm2d(width)", "nn.Identity()"))
    use_plugins(map(str, plugins.glob("*.py")))
    path = str(tmp_path / "r.db")
    with RunStore.open(path, mode="write") as store:
        queue_all(store, planned(devices=2, backbone__name="plain_convs"))
        serve(
            store, path, [CPU], place=Workplace(tmp_path / "a"), idle_exit=True,
            on_event=lambda event: None, stop=lambda: False,
        )  # fmt: skip
        (run,) = store.runs(RunQuery(smoke=True))
        assert run.state is JobState.DONE, [job.reason for job in run.jobs]
    lines = (tmp_path / "marks").read_text().splitlines()
    assert len({line.split()[1] for line in lines if "simdist" in line}) >= 3


def a_wheel(folder):
    """Write the examples as a wheel, with entry points, and return its path."""
    source = folder / "source"
    modules = {name.removesuffix(".py"): FILES[name] for name in ("simdist.py", "dots.py")}
    modules["twoconvs"] = FILES["twoconvs.py"]
    points = {
        "methods": {"simdist": "wheellab.simdist:SimDist"},
        "datasets": {"dots": "wheellab.dots:dots"},
        "backbones": {"twoconvs": "wheellab.twoconvs"},
    }
    install(source, "wheellab", modules, points)
    (source / "wheellab-1.2.dist-info" / "WHEEL").write_text(
        "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    record = Path("wheellab-1.2.dist-info/RECORD")
    (source / record).write_text("".join(f"{file.as_posix()},,\n" for file in [*files, record]))
    wheel = folder / "wheellab-1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in [*files, record]:
            archive.write(source / file, file.as_posix())
    return wheel


@pytest.mark.slow
def test_plugins_of_a_wheel_are_run_queued_and_worked_on(tmp_path):
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--target", str(site), str(a_wheel(tmp_path))],
        check=True,
    )  # fmt: skip
    env = {"PYTHONPATH": f"{site}{os.pathsep}{os.environ['PYTHONPATH']}"}
    listed = json.loads(emabench("methods", "simdist", "--json", cwd=tmp_path, env=env).stdout)
    assert listed[0]["origin"] == "wheellab 1.2"
    words = [*SMALL, "--method", "simdist"]
    (run,) = json.loads(emabench("run", *words, "--json", cwd=tmp_path, env=env).stdout)["runs"]
    assert run["state"] == "done"
    assert "--plugin" not in run["command"], "what is installed needs no word"
    emabench("queue", *words, "--seed", "1", cwd=tmp_path, env=env)

    lacking = emabench("work", "--device", "cpu", "--idle-exit", cwd=tmp_path)
    assert "note: 1 queued job needs the plugin method simdist (" in lacking.stderr
    status = emabench("status", cwd=tmp_path)
    assert "1 queued job needs the plugin method simdist (" in status.stdout
    emabench("work", "--device", "cpu", "--idle-exit", cwd=tmp_path, env=env)
    with RunStore.open(str(tmp_path / "results.db"), mode="read") as store:
        runs = store.runs(RunQuery(smoke=True))
    assert [run.state for run in runs] == [JobState.DONE] * 2
    assert {job.attempt for run in runs for job in run.jobs} == {1}

    # The same code as a file is the same plugin only if it is the same bytes: a package is more.
    (tmp_path / "simdist.py").write_text(FILES["simdist.py"])
    clash = emabench(
        "run", *words, "--plugin", "simdist.py", "--dry-run", cwd=tmp_path, env=env, code=1
    )
    assert "several plugins have a method simdist: simdist.py, wheellab 1.2" in clash.stderr


@pytest.mark.slow
@pytest.mark.external
def test_nodes_of_ray_have_the_plugins_or_give_the_job_back(plugins, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    path, files, ends = str(tmp_path / "r.db"), tmp_path / "files", []

    def keep(event):
        if isinstance(event, JobEnded):
            ends.append(event)

    def work_off(engine, slots):
        serve(
            store, path, slots, place=Workplace(files, heartbeat_s=BEAT), engine=engine,
            idle_exit=True, stop=lambda: False, on_event=keep,
        )  # fmt: skip

    here = os.environ[PLUGINS_VARIABLE]
    monkeypatch.delenv(PLUGINS_VARIABLE)  # what a node says itself would win
    with ray_running(), RunStore.open(path, mode="write") as store:
        monkeypatch.setenv(PLUGINS_VARIABLE, here)
        queue_all(store, planned(2))
        with on_ray(store, Exchange(str(files)), tmp_path / "engine") as engine:
            with monkeypatch.context() as patch:  # nodes on which the files are not
                patch.setattr(local, "_settings", lambda: {PLUGINS_VARIABLE: "/nowhere/simdist.py"})
                work_off(engine, [CPU])
            assert [end.state for end in ends] == [JobState.QUEUED]
            assert "is not here" in ends[0].reason
            work_off(engine, [CPU, CPU])
        runs = store.runs(RunQuery(smoke=True))
        assert [run.state for run in runs] == [JobState.DONE] * 2
        assert all(job.failures == 0 for run in runs for job in run.jobs)
