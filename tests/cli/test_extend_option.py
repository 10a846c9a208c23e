"""``run --extend``: which words it takes, and what it plans."""

import json
import shutil

import pytest
from seeding import complete, plan

from emabench.queue.worker import Workplace
from emabench.store import RunStore


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the store of one run that kept its checkpoint, trained in this process."""
    from emabench import experiment
    from emabench.artifacts.layout import Keep
    from emabench.queue.worker import work
    from emabench.spec.settings import experiment_at

    place = tmp_path_factory.mktemp("made")
    point = {"pretrain.epochs": 1, "pretrain.threads": 1, "evaluation.enabled": False}
    planned = experiment.resolve(experiment_at(point, preset="smoke"), command="emabench run")
    with RunStore.open(str(place / "results.db"), mode="write") as store:
        claim = store.queue.claim(store.add_run(planned).pretrain_job)
        workplace = Workplace(place / "results-artifacts", keep=Keep.CHECKPOINTS)
        work(store.queue, claim, workplace, on_event=lambda e: None, stop=lambda: False)
    return place, claim.job_id


@pytest.fixture
def run(made, folder):
    shutil.copytree(made[0], folder, dirs_exist_ok=True)
    return made[1]


def test_it_plans_the_spec_of_the_run_with_more_epochs(emabench, run, monkeypatch):
    monkeypatch.setenv("EMABENCH_LR", "7")
    words = ["--extend", run[:5], "--epochs", "3", "--download", "--dry-run", "--json"]
    result = emabench(["run", *words])
    assert result.code == 0, result.err
    (row,) = json.loads(result.out)["runs"]
    assert row["command"] == f"emabench run --extend {run} --epochs 3"
    spec = row["spec"]["pretrain"]
    assert (spec["epochs"], spec["extends"]["run"]) == (3, run)
    with RunStore.open("results.db", mode="read") as store:
        before = dict(store.run(run).spec["pretrain"])
    assert spec == before | {"epochs": 3, "extends": spec["extends"]}, "a variable changes nothing"
    assert "jump to what they are at that step of epochs=3" in " ".join(result.err.split())


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["--epochs", "3", "--lr", "1"], 2, "--lr cannot change it", "--epochs alone"),
        (["--epochs", "3", "--set", "ema.decay=0"], 2, "--set cannot change it", "--epochs alone"),
        (["x.yaml", "--epochs", "3"], 2, "SPEC.yaml cannot change it", "--epochs alone"),
        (["--epochs", "3", "--profile"], 2, "--profile cannot change it", "--epochs alone"),
        ([], 2, "one number of epochs", "--epochs"),
        (["--epochs", "3,4"], 2, "one number of epochs", "--epochs"),
        (["--epochs", "1"], 2, "epochs=1: 1 is not more", "in all"),
        (["--epochs", "3", "--artifacts", "none"], 3, "kept no checkpoint in none",
         "--force --keep checkpoints"),
    ],
)  # fmt: skip
def test_what_it_does_not_take_is_one_line_with_a_hint(emabench, run, words, code, message, hint):
    result = emabench(["run", "--extend", run, *words])
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert hint in result.hint


def test_a_run_that_is_not_there_or_trained_nothing(emabench, run):
    assert emabench(["run", "--extend", "ffff", "--epochs", "3"]).code == 3
    with RunStore.open("results.db", mode="write") as store:
        other = complete(store, plan())
    result = emabench(["run", "--extend", other, "--epochs", "300"])
    assert (result.code, "kept no checkpoint" in result.err) == (3, True)
