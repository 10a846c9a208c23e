"""studies as a user types it: list, show, queue; and the commands that it prints."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from emabench.cli.app.discovery import load_command
from emabench.plans import studies as study_plans
from emabench.plans.grids import grid
from emabench.plans.studies import study_points
from emabench.records import RunQuery
from emabench.spec.study import load_study, study_names
from emabench.store import RunStore

BLOCKS = ("stem", "layer1", "layer2", "layer3", "layer4", "projector")
HOW_TO = (Path(__file__).parents[2] / "docs" / "how-to" / "studies.md").read_text("utf-8")
TINY = ["--epochs", "1", "--set", "max_steps=2", "--set", "threads=1", "--device", "cpu"]


@pytest.fixture
def mine(folder):
    """A file of two MoCo arms that resolve to the same run, and one of SimCLR."""
    fields = {
        **dict.fromkeys(("title", "claim", "question", "hypothesis", "refuted_by"), "x"),
        "metrics": ["top1"],
        "margin": {"top1": 0.25},
        "by": "ema_scope",
        "baseline": "none",
        "arms": [
            {"method": "moco", "ema_scope": "none"},
            {"method": "moco", "ema_scope": "none", "ema.target_gradient": "detach"},
            {"method": "simclr", "ema_scope": "none"},
        ],
        "budgets": {"smoke": {"preset": "smoke", "seeds": 0}},
    }
    (folder / "my-study.yaml").write_text(yaml.safe_dump(fields), "utf-8")
    return "my-study.yaml"


def context_of(line):
    """Parse a command line as the program would."""
    program, name, *words = shlex.split(line)
    command = load_command(name)
    if words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    return command.make_context(f"{program} {name}", words)


def test_without_a_command_the_studies_are_listed(emabench):
    listed = emabench(["studies"])
    assert listed.code == 0
    for name in study_names():
        row = next(line for line in listed.out.splitlines() if line.strip().startswith(name))
        assert load_study(name).spec.claim in row
    assert emabench(["studies", "list"]).out == listed.out
    found = json.loads(emabench(["studies", "--json"]).out)
    assert found == json.loads(emabench(["studies", "list", "--json"]).out)
    assert {each["name"]: each["runs"]["cpu"] for each in found["studies"]} == {
        "atlas": 360,
        "averaged-weights": 60,
        "decay-and-batch": 40,
        "decay-sweep": 27,
        "fast-predictor": 25,
        "frozen-teacher": 10,
        "gradient-stability": 21,
        "loss-predicts-accuracy": 96,
        "momentum-free-boost": 36,
        "no-teacher": 15,
        "projector-vs-full": 56,
        "stale-teacher": 60,
        "vit-or-resnet": 36,
        "which-block": 39,
    }
    assert "Usage: emabench studies" in emabench(["studies", "--help"]).out


def test_the_list_is_made_without_torch(folder):
    program = (
        "import sys; from emabench.cli.app.main import run; assert run(['studies']) == 0; "
        "assert not {'torch', 'timm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert b"which-block" in done.stdout


def test_the_reader_may_leave_early(folder):
    program = "from emabench.cli.app.main import main; main()"
    command = f"{shlex.join([sys.executable, '-c', program])} studies show projector-vs-full"
    done = subprocess.run(f"{command} | head -1", shell=True, capture_output=True, check=True)
    assert done.stderr == b""


@pytest.mark.parametrize("budget", ["smoke", "cpu", "gpu"])
@pytest.mark.parametrize("name", study_names())
def test_the_shown_commands_queue_the_same_runs(emabench, monkeypatch, name, budget):
    monkeypatch.setattr(study_plans, "block_names", lambda spec: BLOCKS)
    shown = json.loads(emabench(["studies", "show", name, "--budget", budget, "--json"]).out)
    assert list(shown["study"]["budgets"]) == [budget]
    found = shown["study"]["budgets"][budget]
    queued = []
    for line in found["commands"]:
        context = context_of(line)
        assert context.params["study"] == name
        queued += [point.spec.model_dump_json() for point in grid(context.params)]
    study = load_study(name)
    expected = study_points(study, budget, blocks_of=lambda spec: BLOCKS)
    assert sorted(queued) == sorted(run.spec.model_dump_json() for run in expected)
    assert found["runs"] == len(expected)


@pytest.mark.parametrize("budget", ["smoke", "cpu"])
@pytest.mark.parametrize("name", [n for n in study_names() if not load_study(n).spec.given])
def test_what_a_study_queues_can_be_run(emabench, name, budget):
    planned = ["studies", "run", name, "--budget", budget, "--device", "cpu", "--dry-run"]
    result = emabench([*planned, "--json"])
    assert result.code == 0, result.err


def test_everything_about_a_study_is_shown(emabench):
    result = emabench(["studies", "show", "projector-vs-full"])
    spec = load_study("projector-vs-full").spec
    for text in (spec.title, spec.claim, spec.question, spec.hypothesis, spec.refuted_by):
        assert text in result.out
    assert "top1 0.5" in result.out
    assert "ema_scope, each value with full" in result.out
    assert re.findall(r"^(\w+): (\d+) runs", result.out, re.M) == [
        ("smoke", "14"), ("cpu", "56"), ("gpu", "35"),
    ]  # fmt: skip
    values = json.loads(emabench(["studies", "show", "projector-vs-full", "--json"]).out)["study"]
    assert values["arms"][1]["pretrain.ema.target_gradient"] == ["detach"]
    assert values["budgets"]["cpu"]["seeds"] == list(range(8))


def test_every_scope_is_that_of_the_backbone(emabench):
    shown = emabench(["studies", "show", "which-block", "--budget", "cpu"]).out
    (line,) = [line for line in shown.splitlines() if "emabench queue" in line]
    assert context_of(line).params["ema_scope"] == (
        "none,stem,layer1,layer2,layer3,layer4,projector,full,"
        "from:layer1,from:layer2,from:layer3,from:layer4,backbone"
    )


def queue(emabench, *arguments):
    result = emabench(["studies", "run", *arguments, *TINY, "--json"])
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_a_study_is_queued_once_and_joined_by_what_exists(emabench, folder, mine):
    (earlier,) = json.loads(
        emabench(["queue", "--preset", "smoke", "--method", "simclr", *TINY, "--json"]).out
    )["runs"]
    found = queue(emabench, mine, "--budget", "smoke", "--priority", "3")
    assert (found["study"], found["budget"]) == ("my-study", "smoke")
    moco, simclr = found["runs"]
    assert (moco["existed"], simclr["existed"]) == (False, True)
    assert simclr["id"] == earlier["id"]
    again = queue(emabench, mine, "--budget", "smoke")
    assert [run["id"] for run in again["runs"]] == [moco["id"], simclr["id"]]
    with RunStore.open("results.db", mode="read") as store:
        runs = store.runs(RunQuery(smoke=True))
        assert {run.studies for run in runs} == {("my-study",)}
        assert {run.id: run.jobs[0].priority for run in runs} == {earlier["id"]: 0, moco["id"]: 3}
    listed = emabench(["list", "--smoke", "--study", "my-study", "--json"])
    assert [run["studies"] for run in json.loads(listed.out)["runs"]] == [["my-study"]] * 2
    assert "my-study" in emabench(["show", "@last"]).out


def test_the_next_commands_are_printed_and_can_be_typed(emabench, mine):
    plain = emabench(["studies", "run", mine, "--budget", "smoke", *TINY, "--db", "a b.db"])
    assert len(plain.out.splitlines()) == 2
    work, compare = [line.strip() for line in plain.err.splitlines() if line.startswith("    ")]
    assert context_of(work).params["db"] == "a b.db"
    params = context_of(compare).params
    assert (params["study"], params["metric"], params["baseline"]) == ("my-study", "top1", "none")
    assert (params["smoke"], params["db"]) == (True, "a b.db")
    assert (params["by"], list(params["margin"])) == (None, ["top1=0.25"])
    found = queue(emabench, mine, "--budget", "smoke", "--db", "a b.db")
    assert found["next"] == [work, compare]
    nothing = emabench(shlex.split(compare)[1:])
    assert (nothing.code, "2 queued left out" in nothing.err) == (3, True)


def test_a_dry_run_queues_nothing(emabench, folder, mine):
    result = emabench(["studies", "run", mine, "--budget", "smoke", *TINY, "--dry-run"])
    assert "2 runs, 4 jobs, " in result.out
    found = emabench(["studies", "run", mine, "--budget", "smoke", *TINY, "--dry-run", "--json"])
    assert json.loads(found.out)["count"] == 2
    assert [path.name for path in folder.iterdir()] == [mine]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "which-blok"], 2, ["unknown study", "did you mean which-block"]),
        (["show", "which-block", "--budget", "cpo"], 2, ["unknown budget", "did you mean cpu"]),
        (["run", "which-blok", "--budget", "cpu"], 2, ["did you mean which-block"]),
        (["run", "no.yaml", "--budget", "cpu"], 3, ["no file no.yaml", "emabench studies"]),
        (["run", "my-study.yaml", "--budget", "cpu"], 2, ["unknown budget 'cpu'", "smoke"]),
        (["run", "my-study.yaml"], 2, ["missing option '--budget'"]),
        (["run", "my-study.yaml", "--budget", "smoke", "--set", "ema.scope=full"], 2,
         ["compares ema_scope, which cannot be set"]),
        (["run", "my-study.yaml", "--budget", "smoke", "--set", "ema.deacy=0.9"], 2,
         ["did you mean ema.decay"]),
        (["run", "my-study.yaml", "--budget", "smoke", "--seed", "-1"], 2, ["seed"]),
        (["shwo"], 2, ["unknown command", "did you mean show"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_queued(
    emabench, folder, mine, arguments, code, words
):
    result = emabench(["studies", *arguments])
    assert (result.code, result.out) == (code, "")
    for word in words:
        assert word in result.err
    assert not (folder / "results.db").exists()


def test_a_metric_that_is_none_is_found_before_the_runs(emabench, folder, mine):
    text = (folder / mine).read_text("utf-8").replace("top1", "tpo1")
    (folder / mine).write_text(text, "utf-8")
    result = emabench(["studies", "run", mine, "--budget", "smoke"])
    assert (result.code, "did you mean top1" in result.hint) == (2, True)
    assert not (folder / "results.db").exists()


def test_a_study_of_the_blocks_is_followed_by_their_quantity(emabench, folder, mine):
    text = (folder / mine).read_text("utf-8")
    (folder / mine).write_text(f"{text}quantity: grad_norm_vc\n", "utf-8")
    wrong = emabench(["studies", "run", mine, "--budget", "smoke"])
    assert (wrong.code, "grad_norm_cv" in wrong.hint) == (2, True)
    (folder / mine).write_text(f"{text}quantity: grad_norm_cv\n", "utf-8")
    found = queue(emabench, mine, "--budget", "smoke", "--seed", "3")
    params = context_of(found["next"][2]).params
    assert (params["study"], params["quantity"], params["smoke"]) == (
        "my-study", "grad_norm_cv", True,
    )  # fmt: skip
    assert "grad_norm_cv of every block" in emabench(["studies", "show", mine]).out


def test_the_exported_runs_of_a_study_are_still_of_it(emabench, mine):
    found = queue(emabench, mine, "--budget", "smoke")
    ids = [run["id"] for run in found["runs"]]
    assert emabench(["cancel", *ids]).code == 0
    assert emabench(["export", "--study", "my-study", "-o", "runs.jsonl"]).code == 0
    assert emabench(["import", "runs.jsonl", "--db", "other.db"]).code == 0
    listed = emabench(["list", "--smoke", "--study", "my-study", "--db", "other.db", "--json"])
    assert [run["id"] for run in json.loads(listed.out)["runs"]] == ids
    both = emabench(["export", ids[0], "--study", "my-study", "-o", "more.jsonl"])
    assert (both.code, "--study, not both" in both.err) == (2, True)


def examples():
    return [line.strip() for line in HOW_TO.splitlines() if line.startswith("    emabench ")]


@pytest.mark.parametrize("line", examples())
def test_every_example_of_the_how_to_parses(line):
    context_of(line)


def test_the_study_of_the_how_to_comes_to_its_runs(emabench, folder):
    (text,) = re.findall(r"```yaml\n(.*?)```", HOW_TO, re.S)
    (folder / "buffers.yaml").write_text(text, "utf-8")
    shown = emabench(["studies", "show", "buffers.yaml", "--json"])
    budgets = json.loads(shown.out)["study"]["budgets"]
    assert {name: budget["runs"] for name, budget in budgets.items()} == {
        "smoke": 6, "cpu": 48, "gpu": 30,
    }  # fmt: skip
    for name in study_names():
        assert f"| `{name}` |" in HOW_TO


@pytest.mark.slow
def test_a_study_is_run_and_compared(emabench):
    found = json.loads(
        emabench(["studies", "run", "projector-vs-full", "--budget", "smoke",
                  "--device", "cpu", "--set", "threads=1", "--json"]).out
    )  # fmt: skip
    assert len(found["runs"]) == 14
    work, compare = (shlex.split(line)[1:] for line in found["next"])
    done = emabench([*work, "--device", "cpu"])
    assert (done.code, done.out) == (0, "28 attempts: 28 done\n")
    result = emabench([*compare, "--json"])
    assert result.code == 0, result.err
    rows, gradient = json.loads(result.out)["rows"], "pretrain.ema.target_gradient"
    assert [(row["method"], row["ema_scope"], row[gradient], row["n"]) for row in rows] == [
        ("moco", "none", "detach", 2),
        ("moco", "projector", "detach", 2),
        ("moco", "full", "detach", 2),
        ("simclr", "none", "attach", 2),
        ("simclr", "none", "detach", 2),
        ("simclr", "projector", "detach", 2),
        ("simclr", "full", "detach", 2),
    ]
    for row in rows:
        assert ("baseline" in row["metrics"]["top1"]) is (row["ema_scope"] != "full")


def test_what_only_the_user_can_give_is_asked_for_before_anything_is_queued(emabench, folder):
    result = emabench(["studies", "run", "frozen-teacher", "--budget", "smoke", *TINY])
    assert result.code == 2
    assert "needs --set ema.teacher=…" in result.err
    assert "--method moco --ema-scope full" in result.hint
    assert not (folder / "results.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", study_names())
def test_every_study_ends_at_its_smallest_budget(emabench, name):
    """All of its runs end, and each command that comes next has an answer."""
    few = ["--device", "cpu", "--set", "threads=1", "--set", "max_steps=2"]
    given = []
    if load_study(name).spec.given:
        teacher = ["--method", "moco", "--ema-scope", "full", "--seed", "100"]
        assert emabench(["run", "--preset", "smoke", *few, *teacher]).code == 0
        given = ["--set", "ema.teacher=@last"]
    found = queue(emabench, name, "--budget", "smoke", *few, *given)
    assert emabench([*shlex.split(found["next"][0])[1:], "--device", "cpu"]).code == 0
    listed = json.loads(emabench(["list", "--smoke", "--study", name, "--json"]).out)["runs"]
    assert {run["id"] for run in listed} == {run["id"] for run in found["runs"]}
    assert {run["state"] for run in listed} == {"done"}
    for line in found["next"][1:]:
        if "stability" not in line:  # two steps are too few for a spread
            answer = emabench(shlex.split(line)[1:])
            assert answer.code == 0, answer.err
            assert "nothing to compare with" not in answer.err
