"""Which runs a changed number concerns: their identity says so, and no other changes."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from emabench import experiment
from emabench.jobs.bench import resolve_bench
from emabench.records import JobKind
from emabench.spec import BenchSpec, EmaSpec
from emabench.spec.fingerprint import run_fingerprints
from emabench.spec.revisions import EVALUATION, PRETRAINING
from emabench.spec.settings import experiment_at
from emabench.store.queue.enqueue import _job_fingerprint

EXAMPLE = Path(__file__).parents[2] / "results.db.example"
SWIN = {
    "pretrain.backbone.name": "swin_tiny_patch4_window7_224",
    "pretrain.backbone.options": {"depths": [1, 1, 1, 1], "embed_dim": 16, "num_heads": [1] * 4},
}
DROPPING = {
    "pretrain.backbone.options": {"layers": [1] * 4, "channels": [8] * 4, "drop_path_rate": 0.2}
}
SWAV = {
    "pretrain.method.name": "swav",
    "pretrain.method.options.queue_from_epoch": 1,
    "pretrain.method.options.queue_size": 200,
    "pretrain.epochs": 3,
    "pretrain.max_steps": None,
    "pretrain.batch_size": 64,
    "pretrain.data.train_subset": 200,
}


def resolve(**changes):
    spec = experiment_at(changes | {"pretrain.threads": 1}, preset="smoke")
    return experiment.resolve(spec, command="emabench run")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, None),
        ({"pretrain.ema.scope": "full"}, None),
        (SWIN, ["drop-rates"]),
        (SWIN | {"pretrain.epochs": 0}, None),
        (SWIN | {"pretrain.backbone.options.drop_path_rate": 0}, None),
        (DROPPING, None),
        (DROPPING | {"pretrain.ema.scope": "projector"}, None),
        (DROPPING | {"pretrain.ema.scope": "layer2"}, ["drop-rates"]),
        (DROPPING | {"pretrain.method.name": "ressl"}, ["drop-rates"]),
        (SWAV, ["swav-unfilled-queue"]),
        (SWAV | {"pretrain.method.options.queue_size": 192}, None),
        (SWAV | {"pretrain.method.options.queue_from_epoch": 2}, None),
        (SWAV | {"pretrain.max_steps": 3}, None),
    ],
)
def test_a_pretraining_names_what_changed_its_numbers(changes, named):
    plan = resolve(**changes)
    assert plan.identity.get(PRETRAINING) == named
    assert plan.earlier_fingerprints == ()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, None),
        ({"evaluation.knn.temperature": 0.01}, ["knn-votes"]),
        ({"evaluation.knn.temperature": 0.0123}, None),
        ({"evaluation.knn.k": 1}, ["knn-top5-few"]),
        ({"evaluation.knn.k": 20, "evaluation.knn.temperature": 0.01},
         ["knn-votes", "knn-top5-few"]),
        ({"pretrain.data.train_subset": 2000}, ["knn-top5"]),
        ({"pretrain.data.train_subset": 490}, None),
    ],
)  # fmt: skip
def test_an_evaluation_names_what_changed_its_numbers(changes, named):
    plan = resolve(**changes)
    assert plan.identity.get(EVALUATION) == named
    assert PRETRAINING not in plan.identity
    old = {name: value for name, value in plan.identity.items() if name != EVALUATION}
    (same_run,) = run_fingerprints(plan.spec, old)
    repeated = [name for name in named or () if name != "knn-top5"]
    assert (plan.fingerprint == same_run) is not bool(repeated)
    assert len(plan.earlier_fingerprints) == len(repeated)
    if repeated:
        assert plan.earlier_fingerprints[0] == same_run


def test_a_changed_evaluation_makes_no_other_pretraining_and_no_other_bench():
    plain, revised = resolve(), resolve(**{"evaluation.knn.temperature": 0.001})
    pretraining = {_job_fingerprint(plan, JobKind.PRETRAIN) for plan in (plain, revised)}
    assert len(pretraining) == 1
    arms = BenchSpec(arms=(EmaSpec(scope="none"), EmaSpec(scope="full")), steps=4)
    point = {"evaluation.knn.temperature": 0.001, "pretrain.data.train_subset": 10}
    spec = experiment_at(point | {"pretrain.batch_size": 8}, preset="smoke")
    bench = resolve_bench(
        spec.model_copy(update={"bench": arms}), command="emabench bench"
    )  # one image a class: nothing is evaluated
    assert not {EVALUATION, PRETRAINING} & set(bench.identity)


def test_the_runs_of_the_shipped_store_keep_their_fingerprints():
    with closing(sqlite3.connect(f"file:{EXAMPLE}?mode=ro", uri=True)) as store:
        rows = store.execute("SELECT fingerprint, spec, identity FROM experiments").fetchall()
    before = 0
    for fingerprint, spec, identity in rows:
        fields = json.loads(spec)
        if fields.get("bench"):
            continue
        # What such a run's identity holds today, by their images: as many of each of ten classes.
        today = {**json.loads(identity), EVALUATION: ["knn-top5"]}
        assert run_fingerprints(fields, today) == [fingerprint]
        before += EVALUATION not in json.loads(identity)
    assert before == 136, "runs of the first study, before revisions had names"
