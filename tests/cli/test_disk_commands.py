"""du and prune on real files: what is counted, what goes, and what must never go."""

import json
import os
import random
import re
from pathlib import Path

import pytest
import torch
from programs import on_terminal
from seeding import ENVIRONMENT, complete, plan

from emabench.artifacts.files import JobFile, delete_files, scan_files
from emabench.artifacts.layout import CHECKPOINT, LOG, PREVIOUS_CHECKPOINT, attempt_folder
from emabench.records import CostReading
from emabench.store import RunStore
from emabench.training.checkpoint import save_checkpoint

ROOT = Path("results-artifacts")
ORPHAN = "0123456789ab"
WEIGHTS = "online.safetensors"


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


def put(job_id, *names, attempt=1, size=1000, root=ROOT):
    """Write files into the folder of an attempt; return their paths."""
    place = attempt_folder(root, job_id, attempt)
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).write_bytes(b"x" * size)
    return [place / name for name in names]


def checkpoint(job_id, attempt, *, damaged=False):
    """Write a real checkpoint into the folder of an attempt."""
    path = save_checkpoint(
        attempt_folder(ROOT, job_id, attempt), {"step": torch.tensor(attempt)}, owner=""
    )
    if damaged:
        path.write_bytes(path.read_bytes()[:-100])
    return path


def attempts(store, count, **fields):
    """A run whose pretraining failed all but the last time, and is running now."""
    run = store.add_run(plan(**fields), max_attempts=99)
    for number in range(count):
        claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
        if number < count - 1:
            store.queue.fail(claim, reason="killed", cost=None, retry=True)
    return run, claim


def files():
    return {path for path in ROOT.rglob("*") if not path.is_dir() or path.is_symlink()}


def prune(emabench, *options):
    result = emabench(["prune", "--yes", "--json", *options])
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert answer["schema_version"] == 1
    assert answer["bytes"] == sum(file["bytes"] for file in answer["files"])
    return {Path(file["path"]): file["reason"] for file in answer["files"]}


@pytest.mark.parametrize("command", [["du"], ["prune", "--yes"], ["prune", "--dry-run"]])
def test_without_a_store_nothing_is_judged(command, emabench, folder):
    put(ORPHAN, CHECKPOINT)
    result = emabench(command)
    assert (result.code, result.out) == (3, "")
    assert "there is no store at results.db" in result.err
    assert len(files()) == 1


# du


def test_du_adds_up_by_run_and_kind(emabench, store, folder):
    small, large = complete(store, plan(seed=0)), complete(store, plan(seed=1, name="large"))
    evaluation = store.run(large).jobs[1].id
    put(small, LOG, size=10)
    put(large, CHECKPOINT, PREVIOUS_CHECKPOINT, WEIGHTS, LOG, attempt=2)
    put(large, "tmpabc.tmp", "core", size=100)
    put(evaluation, LOG, size=1)
    put(ORPHAN, CHECKPOINT, size=5000)
    (ROOT / "notes.txt").write_bytes(b"12345")
    (ROOT / "of-mine").mkdir()
    (ROOT / "of-mine" / "data").write_bytes(b"1")
    answer = json.loads(emabench(["du", "--json"]).out)
    kinds = {"checkpoints": 2000, "weights": 1000, "logs": 1001, "other": 200}
    assert answer["schema_version"] == 1
    assert answer["folder"] == "results-artifacts"
    assert answer["runs"] == [
        {"id": large, "name": "large", "state": "done", "total_bytes": 4201, "bytes": kinds},
        {
            "id": small,
            "name": None,
            "state": "done",
            "total_bytes": 10,
            "bytes": {"checkpoints": 0, "weights": 0, "logs": 10, "other": 0},
        },
    ]
    assert [(each["job"], each["total_bytes"]) for each in answer["orphans"]] == [(ORPHAN, 5000)]
    assert answer["stranger_bytes"] == 6
    assert answer["total_bytes"] == sum(answer["bytes"].values()) == 4201 + 10 + 5000 + 6


def test_du_reads_well(emabench, store):
    run = complete(store, plan(method="moco", ema_scope="full"))
    put(run, CHECKPOINT, size=3 * 2**20)
    put(run, LOG, size=10)
    put(ORPHAN, LOG, size=2048)
    result = emabench(["du"])
    row, orphan, total = [line.split() for line in result.out.splitlines() if "B" in line]
    assert row == [
        run,
        "moco",
        "full",
        "0",
        "done",
        "3.0",
        "MiB",
        "-",
        "10",
        "B",
        "-",
        "3.0",
        "MiB",
    ]
    assert orphan[1:6] == ["1", "job", "not", "in", "the"]
    assert total[:3] == ["total", "3.0", "MiB"]
    assert "2.0 KiB belong to jobs that are not in the store" in result.hint


def test_du_of_nothing(emabench, store):
    result = emabench(["du"])
    assert (result.code, result.out) == (0, "results-artifacts holds no files\n")
    assert json.loads(emabench(["du", "--json"]).out)["total_bytes"] == 0


# prune


def test_a_dry_run_lists_and_deletes_nothing(emabench, store):
    run = complete(store, plan())
    put(run, CHECKPOINT, size=2048)
    before = files()
    result = emabench(["prune", "--dry-run"])
    assert result.code == 0
    assert f"{ROOT / run / 'attempt-1' / CHECKPOINT}" in result.out
    assert "would free 1 file, 2.0 KiB" in result.out
    assert "1 checkpoints of done jobs" in result.out
    answer = json.loads(emabench(["prune", "--dry-run", "--json"]).out)
    assert (answer["dry_run"], answer["bytes"], len(answer["files"])) == (True, 2048, 1)
    assert files() == before


def test_prune_without_a_terminal_wants_a_yes(emabench, store):
    put(complete(store, plan()), CHECKPOINT)
    result = emabench(["prune"])
    assert (result.code, result.out) == (2, "")
    assert "--yes" in result.hint
    assert len(files()) == 1


@pytest.mark.parametrize(("reply", "left"), [("n", 1), ("y", 0)])
def test_prune_asks_on_a_terminal(store, reply, left):
    put(complete(store, plan()), CHECKPOINT)
    with on_terminal("prune") as program:
        program.wait_for("delete 1 file, 1000 B? [y/N]")
        assert "1 checkpoints of done jobs" in program.text
        program.type(f"{reply}\n")
        assert program.end() == 0
    assert len(files()) == left
    assert ("freed nothing" in program.text) is (reply == "n")


def test_nothing_to_prune_is_said_and_not_asked(emabench, store):
    put(complete(store, plan()), LOG, WEIGHTS)
    result = emabench(["prune"])
    assert (result.code, result.out) == (0, "freed nothing\n")


def test_what_is_done_needs_no_checkpoint(emabench, store, folder):
    done = complete(store, plan(seed=0))
    gone = put(done, CHECKPOINT, PREVIOUS_CHECKPOINT) + put(done, CHECKPOINT, attempt=3)
    kept = put(done, LOG, WEIGHTS, attempt=3)
    assert prune(emabench) == dict.fromkeys(gone, "done")
    assert files() == set(kept)
    assert not kept[0].parent.with_name("attempt-1").exists(), "an empty folder goes too"
    assert ROOT.is_dir()


def test_what_waits_for_its_evaluation_keeps_its_weights(emabench, store):
    run, claim = attempts(store, 1)
    store.queue.finish(claim, results={}, cost=CostReading())
    kept = put(run.id, WEIGHTS, LOG)
    gone = put(run.id, CHECKPOINT)
    assert set(prune(emabench, "--weights", "--logs")) == set(gone)
    assert files() == set(kept)


def test_nothing_of_a_running_attempt_is_touched(emabench, store):
    run, _ = attempts(store, 2)
    put(run.id, "tmpold.tmp", attempt=1)
    kept = put(run.id, "tmpnew.tmp", LOG, WEIGHTS, CHECKPOINT, PREVIOUS_CHECKPOINT, attempt=2)
    assert set(prune(emabench, "--weights", "--logs").values()) == {"unfinished"}
    assert files() == set(kept)


def test_a_newer_checkpoint_supersedes_only_if_it_can_be_read(emabench, store):
    run, claim = attempts(store, 4)
    one, two = checkpoint(run.id, 1), checkpoint(run.id, 2)
    three = checkpoint(run.id, 3, damaged=True)
    put(run.id, LOG, attempt=4)
    assert prune(emabench) == {one: "superseded"}
    assert {two, three} <= files()
    store.queue.fail(claim, reason="killed", cost=None, retry=True)
    checkpoint(run.id, 4)
    assert prune(emabench) == {two: "superseded", three: "superseded"}


def test_two_checkpoints_of_one_attempt_are_both_kept(emabench, store):
    run, _ = attempts(store, 2)
    checkpoint(run.id, 1)
    checkpoint(run.id, 1)
    assert len(files()) == 2
    assert prune(emabench) == {}
    damaged = checkpoint(run.id, 2, damaged=True)
    assert prune(emabench) == {}
    damaged.rename(damaged.with_name(PREVIOUS_CHECKPOINT))
    checkpoint(run.id, 2)
    assert set(prune(emabench).values()) == {"superseded"}
    assert {path.parent.name for path in files()} == {"attempt-2"}


@pytest.mark.parametrize("state", ["failed", "cancelled", "queued"])
def test_what_may_be_tried_again_keeps_what_it_goes_on_from(emabench, store, state):
    run, claim = attempts(store, 1)
    if state == "failed":
        store.queue.fail(claim, reason="nan", cost=None)
    elif state == "cancelled":
        store.queue.cancel([run.pretrain_job])
    else:
        store.queue.release(claim, reason="stopped", cost=None)
    kept = {checkpoint(run.id, 1), *put(run.id, LOG, WEIGHTS)}
    assert store.job(run.id).state == state
    assert prune(emabench, "--weights", "--logs") == {}
    assert files() == kept


def test_weights_and_logs_of_done_runs_go_on_request(emabench, store):
    run = complete(store, plan())
    log, weights = put(run, LOG, WEIGHTS)
    (other,) = put(store.run(run).jobs[1].id, LOG)
    assert prune(emabench) == {}
    assert prune(emabench, "--weights") == {weights: "weights"}
    assert prune(emabench, "--logs") == {log: "logs", other: "logs"}
    assert list(ROOT.iterdir()) == []


def test_files_of_unknown_jobs_go_and_other_files_stay(emabench, store):
    orphans = put(ORPHAN, LOG, CHECKPOINT, "anything")
    (ROOT / "notes.txt").write_text("mine")
    (ROOT / "not-a-job" / "attempt-1").mkdir(parents=True)
    (ROOT / "not-a-job" / "attempt-1" / CHECKPOINT).write_text("mine")
    assert prune(emabench) == dict.fromkeys(orphans, "orphan")
    assert sorted(path.name for path in files()) == [CHECKPOINT, "notes.txt"]
    assert sorted(entry.name for entry in ROOT.iterdir()) == ["not-a-job", "notes.txt"]


def test_a_folder_that_stores_may_share_loses_orphans_only_on_request(emabench, store, folder):
    with RunStore.open("other.db", mode="write") as other:
        foreign = put(complete(other, plan()), WEIGHTS, root=folder / "shared")
    gone = put(complete(store, plan()), CHECKPOINT, root=folder / "shared")
    result = emabench(["prune", "--artifacts", "shared", "--yes"])
    assert "another store may use shared; --orphans deletes them" in result.err
    assert foreign[0].exists()
    assert not gone[0].exists()
    assert "freed 1 file" in result.out
    again = emabench(["prune", "--artifacts", "shared", "--yes", "--orphans"])
    assert "another store" not in again.err
    assert not foreign[0].exists()


def test_the_own_folder_by_another_name_is_the_own_folder(emabench, store, folder, monkeypatch):
    orphans = put(ORPHAN, LOG)
    monkeypatch.setenv("EMABENCH_ARTIFACTS", str(folder / "results-artifacts"))
    assert len(prune(emabench)) == len(orphans)


def test_links_lead_nowhere(emabench, store, folder):
    run = complete(store, plan())
    precious = folder / "precious"
    precious.mkdir()
    (precious / CHECKPOINT).write_bytes(b"x" * 10_000)
    place = put(run, LOG)[0].parent
    (place / CHECKPOINT).symlink_to(precious / CHECKPOINT)
    (place.parent / "attempt-7").symlink_to(precious)
    (ROOT / ORPHAN).symlink_to(precious)
    assert json.loads(emabench(["du", "--json"]).out)["total_bytes"] < 10_000
    prune(emabench)
    assert not (place / CHECKPOINT).is_symlink()
    assert (precious / CHECKPOINT).stat().st_size == 10_000


def test_what_cannot_be_deleted_is_told_and_the_rest_goes(store, folder):
    run = complete(store, plan())
    first, last = put(run, CHECKPOINT, LOG)
    stubborn = first.parent / "folder"
    stubborn.mkdir()
    files = [JobFile(path, 1000, run, 1) for path in (first, stubborn, last)]
    deletion = delete_files(ROOT, files)
    assert [file.path for file in deletion.files] == [first, last]
    (failure,) = deletion.failures
    assert f"cannot delete {stubborn}: " in failure
    assert stubborn.is_dir()


def test_deleting_what_is_gone_already_is_no_failure(store, folder):
    run = complete(store, plan())
    (path,) = put(run, LOG)
    found = scan_files(ROOT)
    path.unlink()
    assert delete_files(ROOT, found).failures == ()
    assert not (ROOT / run).exists()


def test_whatever_lies_there_a_job_can_still_go_on(emabench, store):
    """Random states: the newest readable checkpoint of an open job survives every prune."""
    dice = random.Random(7)
    newest = {}
    for seed in range(12):
        count = dice.randint(1, 5)
        run, claim = attempts(store, count, seed=seed)
        for number in range(1, count + 1):
            how = dice.choice(["none", "good", "damaged"])
            if how != "none":
                path = checkpoint(run.id, number, damaged=how == "damaged")
                if how == "good":
                    newest[run.id] = path
        if dice.random() < 0.5:
            store.queue.fail(claim, reason="nan", cost=None, retry=dice.random() < 0.5)
    assert newest
    reasons = prune(emabench, "--weights", "--logs")
    assert set(reasons.values()) == {"superseded"}
    assert all(path.exists() for path in newest.values())
    for path in reasons:
        number = int(path.parent.name.removeprefix("attempt-"))
        best = newest[path.parent.parent.name]
        assert number < int(best.parent.name.removeprefix("attempt-"))
    assert prune(emabench, "--weights", "--logs") == {}


def test_an_unreadable_folder_is_an_error(emabench, store, monkeypatch):
    put(complete(store, plan()), LOG)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    result = emabench(["du"])
    assert result.code == 1
    assert "cannot read the folder" in result.err
    assert "--artifacts" in result.hint


def test_rm_deletes_nothing_behind_a_link(emabench, store, folder):
    run = complete(store, plan())
    (behind,) = put(run, LOG, root=folder / "elsewhere")
    ROOT.mkdir(exist_ok=True)
    (ROOT / run).symlink_to(folder / "elsewhere" / run)
    assert "x" in emabench(["logs", run]).out
    assert emabench(["rm", run, "--yes"]).code == 0
    assert behind.exists()


@pytest.mark.parametrize("shared", [False, True])
def test_the_command_that_du_names_frees_what_it_says(emabench, store, folder, shared):
    complete(store, plan())
    root = folder / "other" if shared else ROOT
    orphans = put(ORPHAN, LOG, root=root)
    where = ["--artifacts", str(root)] if shared else []
    told = emabench(["du", *where]).err
    command = re.search(r"emabench (prune[ a-z-]*) deletes them", told)[1].split()
    assert emabench([*command, *where, "--yes"]).code == 0
    assert not any(path.exists() for path in orphans)
