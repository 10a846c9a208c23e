"""db scrub: a copy that does not tell where it was made, and tells all else."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from read_only import read_only
from seeding import ENVIRONMENT, complete, evaluated, evaluation, plan

from emabench.records import CostReading
from emabench.store import RunStore
from emabench.store.runs.environments import environment_row

IMAGES = "/srv/secret-lab/my images"
WEIGHTS = "/home/adalovelace/weights.safetensors"
HOSTS = ("node7.secret.example.org", "gpubox")
SECRETS = ("secret", "adalovelace", "gpubox", "node7", "43210", "98765.25")
READING = (
    ["list"], ["list", "--json"], ["show", "@last"], ["compare", "--json"], ["status"],
    ["db", "check"], ["export", "-o", "-"],
)  # fmt: skip


@pytest.fixture
def store(folder):
    """Runs on two hosts, one that failed there, and an evaluation of a file."""
    with RunStore.open("results.db", mode="write") as store:
        for seed, host in enumerate(HOSTS):
            for scope in ("none", "full"):
                planned = replace(
                    plan(seed=seed, ema_scope=scope, dataset="folder", data_dir=IMAGES),
                    command=f"emabench run --seed {seed} '--data-dir={IMAGES}'",
                    warnings=(f"{host}: {IMAGES}/train/a.png is grey",),
                )
                complete(store, planned, environment=replace(ENVIRONMENT, host=host))
        for number in range(4):  # what is deleted leaves its bytes in the file
            store.remove([complete(store, plan(name=f"secret-{number}"))])
        claim = store.queue.claim(store.add_run(plan(seed=9)).pretrain_job, environment=ENVIRONMENT)
        reason = f"FileNotFoundError: no '{IMAGES}/b.png' for adalovelace on node7"
        store.queue.fail(claim, reason=reason, cost=CostReading(train_s=1.0))
        own = evaluated(store, evaluation(WEIGHTS))
        store.tag([own], add=["paper", "gpubox"])
        store.annotate([own], f"as on node7, see '{IMAGES}'")
    with closing(sqlite3.connect("results.db")) as database:
        database.execute("UPDATE attempts SET pid = 43210, process_started = 98765.25")
        for number, host in enumerate(HOSTS):
            database.execute("UPDATE attempts SET host = ? WHERE id % 2 = ?", (host, number))
        database.execute("ANALYZE")
        database.commit()
    return Path("results.db")


@pytest.fixture
def scrubbed(emabench, store):
    result = emabench(["db", "scrub", "-o", "public.db", "--json"])
    assert (result.code, result.err) == (0, "")
    return json.loads(result.out)


def records(path):
    with RunStore.open(str(path), mode="read") as store:
        found = store.runs() + store.evaluations()
        return found, [(store.metrics(run.id), store.correct(run.id, "top1")) for run in found]


def neutral(value, where=()):
    """Return nested values without what a scrub may change."""
    if isinstance(value, dict):
        return {key: neutral(each, key) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [neutral(each, where) for each in value]
    return (
        "…" if where in ("data_dir", "weights", "command", "warnings", "host", "reason") else value
    )


def test_no_byte_tells_where_it_was_made(store, scrubbed):
    before, after = store.read_bytes(), Path("public.db").read_bytes()
    for secret in SECRETS[:4]:
        assert secret.encode() in before
    for secret in SECRETS:
        assert secret.encode() not in after
    with closing(sqlite3.connect("public.db")) as database:
        text = "\n".join(database.iterdump())
        assert not [secret for secret in SECRETS if secret in text]
        assert "/" not in "".join(
            f"{spec}{command}{reason}"
            for spec, command, reason in database.execute(
                "SELECT spec, command, reason FROM experiments JOIN jobs ON experiment_id ="
                " experiments.id"
            )
        )
        assert set(database.execute("SELECT pid, process_started FROM attempts")) == {(0, None)}


def test_all_else_stays(store, scrubbed):
    (before, numbers), (after, same) = records("results.db"), records("public.db")
    assert numbers == same
    for old, new in zip(before, after, strict=True):
        assert neutral(old.spec) == neutral(new.spec)
        assert old.fingerprint == new.fingerprint
        assert old.results == new.results
        assert old.cost == new.cost
        assert (old.id, old.name, old.state, old.created_at) == (
            new.id, new.name, new.state, new.created_at,
        )  # fmt: skip
        assert old.identity == new.identity
        for one, two in zip(old.jobs, new.jobs, strict=True):
            hidden = {"spec": {}, "reason": None, "attempts": ()}
            assert replace(one, **hidden) == replace(two, **hidden)
            for first, second in zip(one.attempts, two.attempts, strict=True):
                assert replace(first.environment, host="") == replace(second.environment, host="")
                assert (first.started_at, first.ended_at, first.cost) == (
                    second.started_at, second.ended_at, second.cost,
                )  # fmt: skip


def test_what_was_told_apart_stays_so_under_one_name_everywhere(store, scrubbed):
    runs, _ = records("public.db")
    hosts = [run.environment.host for run in runs[:4]]
    assert hosts in (["host-1"] * 2 + ["host-2"] * 2, ["host-2"] * 2 + ["host-1"] * 2)
    for run, host in zip(runs, hosts, strict=False):
        assert run.spec["pretrain"]["data"]["data_dir"] == "path-1"
        assert (
            run.command == f"emabench run --seed {run.spec['pretrain']['seed']} '--data-dir=path-1'"
        )
        (warning,) = run.warnings
        assert warning.startswith(f"{host}: path-")
    assert runs[4].jobs[0].attempts[0].reason.startswith("FileNotFoundError: no 'path-")
    assert runs[-1].spec["weights"] == "path-2"
    assert scrubbed["replaced"] == {"hosts": 3, "users": 1, "paths": 4}


def test_tags_and_notes_stay_without_the_names_in_them(store, scrubbed):
    (own,) = [run for run in records("public.db")[0] if run.is_evaluation]
    (host, paper), note = own.tags, own.note
    assert (paper, host[:5]) == ("paper", "host-")
    assert re.fullmatch(r"as on host-\d, see 'path-\d'", note)


def test_the_hash_of_an_environment_is_that_of_the_neutral_one(store, scrubbed):
    with RunStore.open("public.db", mode="read") as opened:
        known = {environment_row(run.environment).hash for run in opened.runs()}
    with closing(sqlite3.connect("public.db")) as database:
        assert {hash for (hash,) in database.execute("SELECT hash FROM environments")} == known


def test_the_comparison_is_the_same(emabench, store, scrubbed):
    answers = [
        json.loads(emabench(["compare", "--json", "--margin", "top1=0.5", "--db", each]).out)
        for each in ("results.db", "public.db")
    ]
    assert answers[0]["rows"] == answers[1]["rows"] != []


def test_the_copy_is_one_small_plain_file_and_the_store_is_as_it_was(emabench, folder, store):
    before = store.read_bytes()
    result = emabench(["db", "scrub", "results.db", "-o", "public.db"])
    size = (folder / "public.db").stat().st_size
    assert result.out == f"public.db: {size:,} bytes; replaced: 3 hosts, 1 users, 4 paths\n"
    assert store.read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["public.db", "results.db"]
    assert size < len(before)
    with closing(sqlite3.connect("public.db")) as database:
        assert database.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert Path("public.db").read_bytes()[18:20] == b"\x01\x01"  # SQLite's mark: without WAL
    refused = emabench(["db", "scrub", "-o", "public.db"])
    assert (refused.code, "--force" in refused.hint) == (2, True)
    itself = emabench(["db", "scrub", "-o", "results.db", "--force"])
    assert (itself.code, store.read_bytes() == before) == (2, True)
    first = Path("public.db").read_bytes()
    assert emabench(["db", "scrub", "public.db", "-o", "again.db"]).code == 0
    assert emabench(["db", "scrub", "-o", "public.db", "--force"]).code == 0
    for other in ("public.db", "again.db"):  # what is neutral already stays
        with closing(sqlite3.connect(other)) as one, closing(sqlite3.connect(":memory:")) as two:
            two.deserialize(first)
            assert list(one.iterdump()) == list(two.iterdump())


@pytest.fixture
def shelf(scrubbed):
    """A folder that every user may enter, unlike pytest's own, with nothing but the copy."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    shutil.copy("public.db", folder)
    yield folder
    shutil.rmtree(folder)


def test_commands_read_the_copy_in_a_read_only_folder_and_change_no_byte(emabench, shelf):
    copy = shelf / "public.db"
    before = copy.read_bytes()
    answers = [emabench([*words, "--db", str(copy)]) for words in READING]
    with read_only(shelf):
        again = [emabench([*words, "--db", str(copy)]) for words in READING]
        assert emabench(["run", "--preset", "smoke", "--db", str(copy)]).code == 1
    assert [each.code for each in again] == [0] * len(READING)
    for one, other in zip(answers, again, strict=True):
        assert one.out.splitlines()[1:] == other.out.splitlines()[1:]  # a bundle says when it is
    assert copy.read_bytes() == before
    assert [path.name for path in shelf.iterdir()] == ["public.db"]
