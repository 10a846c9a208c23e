import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
import torch
import yaml

from emabench.cli.app import main as app

SMOKE = ["run", "--preset", "smoke", "--set", "max_steps=2"]
TINY = [*SMOKE, "--epochs", "1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with two finished runs, and what their command printed."""
    place = tmp_path_factory.mktemp("finished")
    output = io.StringIO()
    arguments = [*TINY, "--method", "moco", "--ema-scope", "none,full", "--json"]
    with contextlib.chdir(place), contextlib.redirect_stdout(output):
        assert app.run(arguments) == 0
    return place, json.loads(output.getvalue())["runs"]


@pytest.fixture
def both_scopes(finished, folder):
    """Two finished runs in the current folder, as JSON."""
    shutil.copytree(finished[0], folder, dirs_exist_ok=True)
    return finished[1]


def test_a_grid_runs_and_is_not_repeated(emabench, folder, both_scopes):
    assert [(run["method"], run["ema_scope"]) for run in both_scopes] == [
        ("moco", "none"),
        ("moco", "full"),
    ]
    for run in both_scopes:
        assert (run["state"], run["existed"], run["seed"]) == ("done", False, 0)
        assert {"top1", "knn_top1", "online_top1"} <= set(run["results"])
        assert run["cost"]["total_s"] > 0
    assert {file.name for file in folder.iterdir()} == {"results.db", "results-artifacts"}

    command = shlex.split(both_scopes[1]["command"])
    assert command[0] == "emabench"
    again = emabench([*command[1:], "--json"])
    assert again.code == 0
    (found,) = json.loads(again.out)["runs"]
    assert found == both_scopes[1] | {"existed": True}
    assert f"run {found['id']} exists already" in again.err
    assert "epoch 1/" not in again.err

    forced = emabench([*command[1:], "--json", "--force"])
    (repeated,) = json.loads(forced.out)["runs"]
    assert repeated["id"] != found["id"]
    assert repeated["results"] == found["results"]
    assert repeated["fingerprint"] == found["fingerprint"]


def test_the_table_shows_every_run_and_progress_stays_on_stderr(emabench):
    result = emabench([*TINY, "--ema-scope", "none", "--name", "first"])
    assert result.code == 0
    header, _, row = [line for line in result.out.splitlines() if line.strip()]
    assert header.split()[:2] == ["run", "method"]
    assert row.split()[1:4] == ["simclr", "none", "0"]
    assert row.rstrip().endswith(" s")
    assert "epoch 1/1: loss" in result.err
    assert "\x1b" not in result.out + result.err
    listed = json.loads(emabench(["list", "--smoke", "--json"]).out)
    assert [run["name"] for run in listed["runs"]] == ["first"]


def test_no_epochs_evaluate_the_untrained_network(emabench):
    result = emabench([*SMOKE, "--epochs", "0", "--json"])
    assert result.code == 0
    (run,) = json.loads(result.out)["runs"]
    assert run["state"] == "done"
    assert {"top1", "knn_top1"} <= set(run["results"])
    assert run["cost"]["throughput"] is None
    assert "epoch 1/" not in result.err


def test_a_dry_run_resolves_and_creates_nothing(emabench, folder):
    arguments = [*TINY, "--method", "moco", "--ema-scope", "from:projector,encoder", "--dry-run"]
    result = emabench([*arguments, "--json"])
    assert result.code == 0
    found = json.loads(result.out)
    assert found["count"] == 2
    scopes = [run["spec"]["pretrain"]["ema"]["scope"] for run in found["runs"]]
    assert scopes == ["projector", "full"]
    assert all(run["identity"]["threads"] >= 1 for run in found["runs"])
    assert list(folder.iterdir()) == []

    table = emabench(arguments).out
    assert re.search(r"moco +projector +0 +1 +\d+ +-\n", table)
    assert re.search(r"2 runs, 4 jobs, \d+ steps, no estimate: the store has no", table)

    text = emabench([*arguments, "--yaml"]).out
    assert text.startswith("# 2 runs\n")
    documents = list(yaml.safe_load_all(text))
    assert [d["pretrain"]["ema"]["scope"] for d in documents] == scopes
    assert all(f"# {run['command']}" in text.splitlines() for run in found["runs"])


def test_the_printed_spec_is_a_file_that_means_the_same_run(emabench, folder):
    arguments = [*TINY, "--method", "moco", "--ema-scope", "projector", "--dry-run"]
    (folder / "moco.yaml").write_text(emabench([*arguments, "--yaml"]).out.partition("---\n")[2])
    before = json.loads(emabench([*arguments, "--json"]).out)["runs"][0]
    after = json.loads(emabench(["run", "moco.yaml", "--dry-run", "--json"]).out)["runs"][0]
    assert after["fingerprint"] == before["fingerprint"]
    assert after["command"] == "emabench run moco.yaml"


def test_what_is_said_of_many_runs_is_said_once_with_their_number(emabench, folder):
    long = ["--set", "schedule.warmup_epochs=2", "--epochs", "2", "--dry-run"]
    alone = emabench(["run", "--preset", "smoke", *long]).err.splitlines()
    (note,) = [line for line in alone if line.startswith("note: ")]
    many = emabench(["run", "--preset", "smoke", *long, "--seed", "0..2"]).err.splitlines()
    assert [line for line in many if line.startswith("note: ")] == [f"{note} (3 runs)"]


def test_the_forms_of_a_dry_run_exclude_each_other(emabench, folder):
    for options, words in (
        (["--yaml"], "--dry-run"),
        (["--dry-run", "--yaml", "--json"], "--json"),
    ):
        result = emabench([*TINY, *options])
        assert (result.code, words in result.err) == (2, True)
    assert list(folder.iterdir()) == []


def test_settings_flag_over_environment_over_file_over_preset(emabench, folder, monkeypatch):
    def seed_and_epochs(*arguments):
        result = emabench(["run", *arguments, "--dry-run", "--json"])
        spec = json.loads(result.out)["runs"][0]["spec"]["pretrain"]
        return spec["seed"], spec["epochs"]

    (folder / "s.yaml").write_text("preset: smoke\npretrain: {seed: 5, epochs: 7}")
    assert seed_and_epochs("--preset", "smoke") == (0, 2)
    assert seed_and_epochs("s.yaml") == (5, 7)
    monkeypatch.setenv("EMABENCH_SEED", "6")
    assert seed_and_epochs("s.yaml") == (6, 7)
    assert seed_and_epochs("s.yaml", "--seed", "8") == (8, 7)
    monkeypatch.setenv("EMABENCH_PRESET", "quick")
    assert seed_and_epochs("--train-subset", "300", "--test-subset", "50") == (6, 10)


def test_a_run_that_fails_alone_exits_1_with_its_reason(emabench):
    result = emabench([*TINY, "--lr", "1e38"])
    assert result.code == 1
    assert "Traceback" not in result.err
    (error,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert "loss" in error
    assert result.hint


def test_a_grid_goes_on_after_a_failure_and_exits_4(emabench):
    result = emabench([*TINY, "--lr", "1e38,0.1", "--json"])
    assert result.code == 4
    states = [run["state"] for run in json.loads(result.out)["runs"]]
    assert states == ["failed", "done"]
    (error,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: 1 of 2 runs failed")
    assert result.hint

    again = emabench([*TINY, "--lr", "1e38,0.1"])
    assert again.code == 4
    assert again.err.count("exists already") == 1
    assert again.err.count("goes on") == 1


def test_ctrl_c_stops_in_good_order_and_the_run_stays_queued(emabench, folder):
    command = [sys.executable, "-m", "emabench", "run", "--preset", "smoke", "--epochs", "2000"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    ) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("epoch 2/"):
                process.send_signal(signal.SIGINT)
        output = process.stdout.read()
    text = "".join(lines)
    assert (process.returncode, output) == (130, ""), text
    assert "stopping at the next step; press Ctrl-C again to stop at once" in text
    assert "hint: the same command resumes it" in text
    assert "Traceback" not in text
    listed = json.loads(emabench(["list", "--smoke", "--json"]).out)["runs"]
    assert [run["state"] for run in listed] == ["queued"]


def test_weights_load_with_the_printed_code(emabench, folder, both_scopes):
    chosen = both_scopes[1]["id"]
    result = emabench(["weights", chosen[:6], "-o", "online.safetensors"])
    assert result.code == 0
    assert "emabench" not in result.out
    scope = {}
    exec(result.out, scope)
    scope["model"].eval()
    assert scope["model"](torch.zeros(1, 3, 28, 28)).shape == (1, 64)

    target = emabench(
        ["weights", "@last", "-o", "target.safetensors", "--network", "target", "--json"]
    )
    found = json.loads(target.out)
    assert (found["run"], found["network"]) == (chosen, "target")
    online, averaged = ((folder / f"{n}.safetensors").read_bytes() for n in ("online", "target"))
    assert online != averaged

    refused = emabench(["weights", chosen, "-o", "online.safetensors", "--network", "target"])
    assert refused.code == 2
    assert "--force" in refused.hint
    assert (folder / "online.safetensors").read_bytes() == online
    forced = ["weights", chosen, "-o", "online.safetensors", "--network", "target", "--force"]
    assert emabench(forced).code == 0
    assert (folder / "online.safetensors").read_bytes() == averaged
    assert len(list(folder.glob("*.safetensors"))) == 2
    assert not list(folder.glob(".*.safetensors*")), "no draft stays"


def test_weights_of_what_is_not_there(emabench, both_scopes):
    unknown = emabench(["weights", "ffffffffffff", "-o", "w.safetensors"])
    assert unknown.code == 3
    elsewhere = emabench(["weights", "@last", "-o", "w.safetensors", "--artifacts", "elsewhere"])
    assert elsewhere.code == 3
    assert "--artifacts" in elsewhere.hint
    unwritable = emabench(["weights", "@last", "-o", "/proc/w.safetensors"])
    assert unwritable.code == 1
    assert "cannot write /proc/w.safetensors" in unwritable.err
