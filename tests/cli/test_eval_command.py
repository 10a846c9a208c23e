"""``eval``: what it takes for weights, what it refuses, and how other commands show its work."""

import argparse
import contextlib
import csv
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from seeding import complete, evaluated, evaluation, plan

from emabench.artifacts.layout import attempt_folder
from emabench.cli.app import main as app
from emabench.networks.backbone import build_backbone
from emabench.spec import PretrainSpec
from emabench.spec.paths import nest
from emabench.store import RunStore

FIELDS = {
    "pretrain.ema.scope": "full",
    "pretrain.threads": 1,
    "pretrain.precision": "fp32",
    "pretrain.data.image_size": 28,
    "pretrain.data.train_subset": 60,
    "pretrain.data.test_subset": 30,
    "pretrain.backbone.stem": "3x3-stride2",
    "pretrain.backbone.options": {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64]},
    "evaluation.knn.k": 60,
}
FOREIGN = ["foreign.safetensors", "--backbone", "resnet18", "--set", "backbone.stem=original"]
FOREIGN += ["--set", "backbone.options={channels: [8, 8, 8, 8], layers: [1, 1, 1, 1]}"]
FEW = ["--train-subset", "60", "--test-subset", "30"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a store of one run, its weights, and a file of another program."""
    place = tmp_path_factory.mktemp("made")
    planned = plan(**{path.replace(".", "__"): value for path, value in FIELDS.items()})
    with RunStore.open(str(place / "results.db"), mode="write") as store:
        run = complete(store, planned)
    weights = attempt_folder(place / "results-artifacts", run, 1)
    weights.mkdir(parents=True)
    spec = PretrainSpec.parse(nest(FIELDS)["pretrain"])
    for network in ("online", "target"):
        model = build_backbone(spec.backbone, 28).model
        metadata = {"spec": spec.model_dump_json()}
        save_file(model.state_dict(), weights / f"{network}.safetensors", metadata)
    shutil.copy(weights / "online.safetensors", place / "copy.safetensors")
    options = {"channels": [8, 8, 8, 8], "layers": [1, 1, 1, 1]}
    other = timm.create_model("resnet18", num_classes=5, **options)
    save_file(other.state_dict(), place / "foreign.safetensors")
    return place, run


@pytest.fixture
def run(made, folder):
    """The id of the run; the current folder holds its store, its weights and the other files."""
    shutil.copytree(made[0], folder, dirs_exist_ok=True)
    return made[1]


@pytest.fixture
def queued(emabench):
    """Queues evaluations and returns them as JSON."""

    def call(*words):
        result = emabench(["eval", *words, "--queue", "--json"])
        assert result.code == 0, result.err
        found = json.loads(result.out)
        assert found["schema_version"] == 1
        return found["evaluations"]

    return call


def shown(emabench, evaluation_id):
    return json.loads(emabench(["show", evaluation_id, "--json"]).out)["run"]


def test_a_run_and_a_copy_of_its_weights_are_evaluated_once(emabench, run, queued):
    (first,) = queued(run[:6])
    assert (first["existed"], first["state"]) == (False, "queued")
    assert first["command"] == f"emabench eval {run}"
    copied = queued("copy.safetensors", "--set", "evaluation.knn.k=60")
    assert [(each["id"], each["existed"]) for each in copied] == [(first["id"], True)]
    again = shlex.split(copied[0]["command"])
    assert again[:2] == ["emabench", "eval"]
    assert queued(*again[2:])[0]["fingerprint"] == first["fingerprint"]
    (forced,) = queued("@last", "--force")
    assert forced["id"] != first["id"]


@pytest.mark.slow
def test_lists_make_a_grid_over_all_weights(emabench, run, queued):
    words = ["--network", "online,target", "--set", "evaluation.knn.k=5,60", *FEW]
    found = queued(run, "copy.safetensors", *words)
    assert len(found) == 8
    assert len({each["id"] for each in found}) == 6, "two are of the same online network"
    specs = [shown(emabench, each["id"])["spec"]["evaluation"] for each in found[:4]]
    assert [(spec["network"], spec["knn"]["k"]) for spec in specs] == [
        ("online", 5), ("online", 60), ("target", 5), ("target", 60),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_flags_are_fields_of_the_evaluation(emabench, run, queued, monkeypatch):
    monkeypatch.setenv("EMABENCH_DEVICE", "cpu")
    monkeypatch.setenv("EMABENCH_TRAIN_SUBSET", "7")
    (found,) = queued(run, "--image-size", "20", "--test-subset", "40", "--set", "threads=1")
    spec = shown(emabench, found["id"])["spec"]
    data = spec["evaluation"]["data"]
    assert (data["image_size"], data["test_subset"]) == (20, 40)
    assert data["train_subset"] == 60, "a variable describes runs, not their evaluation"
    assert spec["pretrain"]["data"]["image_size"] == 28, "as it was trained"
    assert spec["pretrain"]["device"] == "cpu"


def test_a_file_of_another_program_needs_its_backbone(emabench, run, queued):
    result = emabench(["eval", "foreign.safetensors", "--queue"])
    assert (result.code, result.out) == (2, "")
    assert "foreign.safetensors does not say which backbone it is" in result.err
    assert "--backbone" in result.hint
    (found,) = queued(*FOREIGN, *FEW)
    record = shown(emabench, found["id"])
    assert record["spec"]["weights"].endswith("/foreign.safetensors")
    assert set(record["spec"]["pretrain"]) == {"backbone", "device", "precision", "threads"}
    assert (record["method"], record["seed"]) == (None, None)
    for command in (["status"], ["show", found["id"]], ["list", "--evaluations"]):
        assert "None" not in emabench(command).out, command
    assert "foreign.safetensors" in emabench(["cancel", found["id"]]).out


def test_a_checkpoint_of_another_program_says_what_is_taken_of_it(emabench, run, queued, folder):
    state = load_file("foreign.safetensors")
    both = {f"module.encoder_{each}.{name}": v for each in "qk" for name, v in state.items()}
    torch.save({"state_dict": both, "args": argparse.Namespace(lr=1)}, "moco.pth.tar")
    words = ["moco.pth.tar", *FOREIGN[1:], *FEW]
    result = emabench(["eval", *words, "--queue"])
    assert result.code == 0, result.err
    said = " ".join(result.err.split())
    assert "78 tensors under state_dict.module.encoder_q, of the online network" in said
    assert "left: state_dict.module.encoder_q.fc." in said
    assert "not opened: argparse.Namespace" in said
    (online,) = queued(*words)
    (target,) = queued(*words, "--network", "target")
    assert online["existed"]
    assert target["fingerprint"] != online["fingerprint"]
    assert shown(emabench, target["id"])["spec"]["evaluation"]["network"] == "target"


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["foreign.safetensors", "--backbone", "resnet18"], 1, "does not fit the backbone", "stem"),
        (["foreign.safetensors", "--backbone", "resnet81"], 2, "unknown backbone", "resnet18"),
        ([*FOREIGN, "--network", "target"], 2, "it has no target", "leave --network out"),
        ([*FOREIGN, "--network", "average"], 2, "it has no average", "leave --network out"),
        (["copy.safetensors", "--backbone", "resnet50"], 2, "already says which backbone", "leave"),
        (["results.db"], 1, "not a complete safetensors file", "save_file"),
        (["missing.safetensors"], 3, "there is no file missing.safetensors", "path"),
        (["some/run"], 3, "there is no file some/run", "path"),
        (["ffff"], 3, "there is no run 'ffff'", "emabench list"),
        (["@last", "--network", "tagret"], 2, "evaluation.network='tagret'", "target"),
        (["@last", "--set", "epochs=3"], 2, "epochs is not a field of an evaluation", "knn.k"),
        (["@last", "--set", "evaluation.knn.kk=3"], 2, "unknown field", "evaluation.knn.k"),
        (["@last", "--set", "evaluation.knn.k"], 2, "has no '='", "--set"),
        (["@last", "--dataset", "cifar1"], 2, "unknown data set", "cifar10"),
        (["@last", "--train-subset", "many"], 2, "train_subset='many'", "spec schema"),
        (["@last", "--db", "none.db"], 3, "none.db", ""),
    ],
)
def test_what_cannot_be_evaluated_is_one_line_with_a_hint(
    emabench, run, folder, words, code, message, hint
):
    result = emabench(["eval", *words])
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert "Traceback" not in result.err
    assert hint in result.hint
    assert result.hint
    with RunStore.open("results.db", mode="read") as store:
        assert store.evaluations() == []
    assert not (folder / "none.db").exists()


def test_a_run_without_weights_is_not_queued(emabench, run, folder):
    shutil.rmtree(folder / "results-artifacts")
    result = emabench(["eval", run])
    assert result.code == 3
    assert "has no weights in results-artifacts" in result.err


@pytest.fixture
def done(run):
    """The id of an evaluation that is done, of the run."""
    with RunStore.open("results.db", mode="write") as store:
        return evaluated(store, evaluation(run, evaluation__network="target", seed=4), top1=71.5)


def test_show_has_the_evaluations_of_a_run(emabench, run, done):
    (row,) = shown(emabench, run)["evaluations"]
    assert (row["id"], row["run"], row["file"]) == (done, run, None)
    assert (row["network"], row["dataset"], row["state"]) == ("target", "fashion-mini", "done")
    assert (row["results"]["top1"], row["results"]["knn_top1"]) == (71.5, 69.5)
    text = emabench(["show", run]).out
    assert "\nevaluations\n" in text
    (line,) = [line for line in text.splitlines() if line.strip().startswith(done)]
    assert {"target", "fashion-mini", "71.50", "69.50"} <= set(line.split())
    assert shown(emabench, done)["evaluations"] == []


def test_show_of_an_evaluation_says_of_what_it_is(emabench, run, done):
    text = emabench(["show", done[:7]]).out
    assert text.startswith("evaluation\n")
    lines = [line.split() for line in text.splitlines()]
    assert ["run", run] in lines
    assert ["network", "target"] in lines
    assert ["top1", "71.50"] in lines
    assert any(line[:1] == ["linear_eval"] for line in lines)


def test_list_shows_runs_or_evaluations(emabench, run, done):
    listed = json.loads(emabench(["list", "--json"]).out)["runs"]
    assert [each["id"] for each in listed] == [run]
    found = json.loads(emabench(["list", "--evaluations", "--json"]).out)
    (row,) = found["evaluations"]
    assert (row["id"], row["seed"], row["results"]["top5"]) == (done, 4, 90.0)
    table = emabench(["list", "--evaluations", "--csv"]).out
    (values,) = csv.DictReader(io.StringIO(table))
    assert (values["id"], values["run"], values["top1"]) == (done, run, "71.5")
    assert done in emabench(["list", "--evaluations", "--markdown"]).out
    nothing = emabench(["list", "--evaluations", "--where", "evaluation.knn.k=3"])
    assert (nothing.code, nothing.out) == (0, "")
    assert "no evaluations" in nothing.err
    assert emabench(["list", "--evaluations", "--study", "scopes"]).code == 2


def test_other_commands_know_an_evaluation(emabench, run, done):
    for command in (["weights", done, "-o", "w.safetensors"], ["eval", done]):
        refused = emabench(command)
        assert refused.code == 2
        assert run in refused.hint, command
    assert json.loads(emabench(["compare", "--json"]).out)["rows"][0]["n"] == 1
    assert emabench(["db", "check"]).code == 0
    removed = json.loads(emabench(["rm", done, "--yes", "--json"]).out)
    assert [(each["id"], each["jobs"]) for each in removed["runs"]] == [(done, [done])]
    assert [each["id"] for each in json.loads(emabench(["list", "--json"]).out)["runs"]] == [run]


def test_a_queued_evaluation_keeps_its_weights_from_prune(emabench, run, folder):
    def weights_to_delete():
        result = emabench(["prune", "--weights", "--orphans", "--dry-run", "--json"])
        return len(json.loads(result.out)["files"])

    file = (folder / "results-artifacts" / run / "attempt-1" / "target.safetensors").resolve()
    with RunStore.open("results.db", mode="write") as store:
        assert weights_to_delete() == 2
        queued = store.add_run(evaluation(run)).id
        assert weights_to_delete() == 0
        store.queue.cancel([queued])
        assert weights_to_delete() == 2
        store.add_run(evaluation(str(file), content="f" * 64))
        assert weights_to_delete() == 1


def test_the_log_of_an_evaluation_is_no_orphan(emabench, run, done, folder):
    log = attempt_folder(folder / "results-artifacts", done, 1) / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("done\n")
    assert json.loads(emabench(["du", "--json"]).out)["orphans"] == []
    assert json.loads(emabench(["prune", "--dry-run", "--json"]).out)["files"] == []
    assert emabench(["logs", done]).out == "done\n"


def test_retry_takes_failed_evaluations_along(emabench, run):
    with RunStore.open("results.db", mode="write") as store:
        claim = store.queue.claim(store.add_run(evaluation(run)).id)
        store.queue.fail(claim, reason="out of memory", cost=None)
    (job,) = json.loads(emabench(["retry", "--failed", "--json"]).out)["jobs"]
    assert (job["id"], job["state"], job["changed"]) == (claim.job_id, "queued", True)


@pytest.mark.slow
def test_it_evaluates_in_the_foreground_and_repeats_nothing(emabench, run):
    result = emabench(["eval", run, "--network", "online,target"])
    assert result.code == 0, result.err
    header, _, *rows = [line for line in result.out.splitlines() if line.strip()]
    assert header.split()[:2] == ["evaluation", "weights"]
    assert [row.split()[1:6] for row in rows] == [
        [run, "simclr", "full", "0", "online"], [run, "simclr", "full", "0", "target"],
    ]  # fmt: skip
    assert "starts: simclr full 0, target on fashion-mini" in result.err
    again = emabench(["eval", run, "--network", "online,target", "--json"])
    found = json.loads(again.out)["evaluations"]
    assert [each["existed"] for each in found] == [True, True]
    assert {"top1", "top5", "knn_top1"} <= set(found[0]["results"])
    assert again.err.count("exists already (same weights, data and device)") == 2


@pytest.mark.slow
def test_one_that_fails_exits_1_and_of_several_4(emabench, run, folder):
    file = folder / "results-artifacts" / run / "attempt-1" / "online.safetensors"
    emabench(["eval", run, "copy.safetensors", "--queue"])
    (folder / "copy.safetensors").rename(folder / "moved.safetensors")
    file.rename(file.with_name("moved"))
    for queued_id in [row["id"] for row in _evaluations(emabench)]:
        emabench(["retry", queued_id])
    result = emabench(["work", "--idle-exit"])
    assert result.code == 4
    assert "no weights" in result.err or "are gone" in result.err
    assert {row["state"] for row in _evaluations(emabench)} == {"failed"}


def _evaluations(emabench):
    return json.loads(emabench(["list", "--evaluations", "--json"]).out)["evaluations"]


@pytest.mark.slow
@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_stopped_or_killed_in_the_middle_the_same_command_resumes(emabench, run, sign, code):
    words = ["eval", run, "--train-subset", "10000", "--image-size", "40"]
    words += ["--set", "evaluation.batch_size=16", "--set", "evaluation.linear.max_iterations=2"]
    with subprocess.Popen(
        [sys.executable, "-m", "emabench", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    ) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("training features"):
                process.send_signal(sign)
        output = process.stdout.read()
    assert (process.returncode, output) == (code, ""), "".join(lines)
    assert "Traceback" not in "".join(lines)
    resumed = emabench([*words, "--json"])
    (found,) = json.loads(resumed.out)["evaluations"]
    assert (resumed.code, found["state"], found["existed"]) == (0, "done", True)
    assert len(shown(emabench, found["id"])["jobs"][0]["attempts"]) == 2


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error(run, queued, folder):
    with contextlib.redirect_stdout(io.StringIO()):
        assert app.run(["eval", run]) == 0
    command = f"{shlex.quote(sys.executable)} -m emabench eval {run} --json | head -n 1"
    found = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert found.stdout == "{\n"
    assert "Traceback" not in found.stderr
