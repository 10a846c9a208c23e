"""status, cancel, retry, rm and reap on real stores, in pipes and on a terminal."""

import contextlib
import io
import json
import re
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from made_store import _bench_plan
from programs import in_pipe, on_terminal
from rich.console import Console
from seeding import ENVIRONMENT, complete, plan

from emabench.artifacts.layout import LOG, attempt_folder
from emabench.cli.app.console import err
from emabench.cli.show.queue_view import QueueView
from emabench.cli.show.watch import watch_as_json
from emabench.errors import FencedError, StoreError
from emabench.events import StepProgress
from emabench.queue.heartbeat import Heartbeat
from emabench.records import JobState
from emabench.store import RunStore
from emabench.store.connection import sqlite
from emabench.table import Table

COMMANDS = [["status"], ["cancel", "ab"], ["retry", "ab"], ["rm", "ab", "--yes"], ["reap"]]
PROGRESS = StepProgress(
    step=30,
    total_steps=120,
    epoch=1,
    epochs=4,
    steps_per_epoch=30,
    loss=4.5,
    images_per_second=512.0,
)


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


def running(store, **fields):
    """Queue a run whose pretraining this process works on."""
    run = store.add_run(plan(**fields))
    claim = store.queue.claim(run.pretrain_job, device="cpu")
    store.queue.begin(claim, ENVIRONMENT)
    return run, claim


def abandoned(store, **fields):
    """Queue a run whose pretraining is claimed by a process that is gone."""
    run = store.add_run(plan(**fields))
    code = (
        "import sys\n"
        "from emabench.store import RunStore\n"
        "with RunStore.open('results.db', mode='write') as store:\n"
        "    store.queue.claim(sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", code, run.pretrain_job], check=True)
    return run


def failed(store, **fields):
    run = store.add_run(plan(**fields))
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    store.queue.fail(claim, reason="loss is nan", cost=None)
    return run


def states(store, run):
    return [job.state.value for job in store.run(run.id).jobs]


def answer(result):
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["schema_version"] == 1
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_where_there_is_no_store_none_is_made(command, emabench, folder):
    result = emabench(command)
    assert (result.code, result.out) == (3, "")
    assert "there is no store at results.db" in result.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["cancel", "retry", "rm"])
def test_ids_are_all_known_before_anything_is_done(command, emabench, store):
    queued = [store.add_run(plan(seed=seed)) for seed in range(17)]  # two begin alike
    store.queue.cancel([queued[0].pretrain_job])
    before = store.runs()
    unknown = emabench([command, queued[0].id, queued[1].id, "nope"])
    assert (unknown.code, unknown.out) == (3, "")
    assert "'nope'" in unknown.err
    first = [run.id[0] for run in queued]
    letter = next(letter for letter in first if first.count(letter) > 1)
    ambiguous = emabench([command, queued[1].id, letter])
    assert (ambiguous.code, ambiguous.out) == (2, "")
    assert f"ids begin with '{letter}'" in ambiguous.err
    assert "choose one of" in ambiguous.hint
    assert store.runs() == before


# status


def test_the_status_in_json_holds_all_that_is_known(emabench, store):
    complete(store, plan(seed=9))
    run, claim = running(store, method="moco", ema_scope="full", seed=3, batch_size=64)
    store.queue.beat(claim, PROGRESS)
    lost = failed(store, seed=4)
    late = store.add_run(plan(seed=5))
    urgent = store.add_run(plan(seed=6), priority=2)
    found = answer(emabench(["status", "--json"]))
    assert found["counts"] == {"running": 1, "queued": 5, "done": 2, "failed": 2, "cancelled": 0}
    (attempt,) = found["running"]
    assert attempt.pop("started_at").endswith("+00:00")
    assert attempt.pop("pid") > 0
    assert attempt.pop("host")
    assert attempt == {
        "job": run.id,
        "run": run.id,
        "kind": "pretrain",
        "method": "moco",
        "ema_scope": "full",
        "seed": 3,
        "attempt": 1,
        "device": "cpu",
        "process_gone": False,
        "heartbeat": 1,
        "step": 30,
        "total_steps": 120,
        "loss": 4.5,
        "images_per_second": 512.0,
        "seconds_left": 90 * 64 / 512,
    }
    jobs = [(job["job"], job["waits_for"]) for job in found["queued"]]
    assert jobs == [
        (urgent.pretrain_job, None),
        (urgent.eval_job, urgent.pretrain_job),
        (run.eval_job, run.pretrain_job),
        (late.pretrain_job, None),
        (late.eval_job, late.pretrain_job),
    ]
    assert [(job["job"], job["reason"]) for job in found["failed"]] == [
        (lost.pretrain_job, "loss is nan")
    ]


def test_the_status_in_a_pipe_is_plain_and_whole(emabench, store):
    run, claim = running(store, method="moco", ema_scope="from:layer4", seed=3, batch_size=256)
    store.queue.beat(claim, PROGRESS)
    failed(store, seed=4)
    lines = emabench(["status"]).out.splitlines()
    assert lines[0] == "1 running, 1 queued, 0 done, 2 failed, 0 cancelled"
    (row,) = [line for line in lines if "30/120" in line]
    words = row.split()
    assert words[:6] == [run.id, run.id, "pretrain", "moco", "from:layer4", "3"]
    assert words[6:8] == ["1", "cpu"]
    assert words[-6:] == ["30/120", "25", "4.5000", "512.0", "45.0", "s"]
    assert "loss is nan" in "\n".join(lines)
    assert "\x1b" not in "".join(lines)
    assert "…" not in "".join(lines)


def test_what_is_not_known_is_not_invented(emabench, store):
    running(store)
    (attempt,) = answer(emabench(["status", "--json"]))["running"]
    for name in ("step", "total_steps", "loss", "images_per_second", "seconds_left"):
        assert attempt[name] is None


def test_a_loss_of_nan_makes_no_broken_json(emabench, store):
    _, claim = running(store)
    store.queue.beat(claim, StepProgress(1, 2, 1, 1, 2, float("nan"), float("inf")))
    (attempt,) = answer(emabench(["status", "--json"]))["running"]
    assert (attempt["loss"], attempt["images_per_second"]) == (None, None)
    assert emabench(["status"]).code == 0


def test_a_process_that_is_gone_is_told(emabench, store):
    run = abandoned(store)
    running(store, seed=1)
    found = answer(emabench(["status", "--json"]))["running"]
    assert [each["process_gone"] for each in found] == [True, False]
    assert found[0]["job"] == run.id
    assert emabench(["status"]).out.count("its process is gone") == 1


def test_the_limit_shortens_lists_but_not_counts(emabench, store):
    for seed in range(6):
        store.add_run(plan(seed=seed))
    result = emabench(["status", "--limit", "3"])
    assert "12 queued" in result.out
    assert "next, 3 of 12" in result.out
    assert len(answer(emabench(["status", "--limit", "3", "--json"]))["queued"]) == 3


def test_an_empty_store_is_no_error(emabench, store):
    result = emabench(["status"])
    assert (result.code, result.out) == (
        0,
        "0 running, 0 queued, 0 done, 0 failed, 0 cancelled\n",
    )
    assert "emabench queue adds some" in result.hint


def test_looking_changes_no_byte_and_leaves_one_file(emabench, folder):
    with RunStore.open("results.db", mode="write") as store:
        store.add_run(plan())
        assert emabench(["status"]).code == 0
    assert [entry.name for entry in folder.iterdir()] == ["results.db"]
    before = (folder / "results.db").read_bytes()
    assert emabench(["status"]).code == 0
    assert emabench(["status", "--json"]).code == 0
    assert [entry.name for entry in folder.iterdir()] == ["results.db"]
    assert (folder / "results.db").read_bytes() == before


def test_looking_does_not_wait_for_a_writer(emabench, store, monkeypatch):
    monkeypatch.setattr(sqlite, "_LOCK_SECONDS", 0.01)
    store.add_run(plan())
    with contextlib.closing(sqlite3.connect("results.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert "2 queued" in emabench(["status"]).out
        writer.execute("ROLLBACK")


def test_a_watch_in_a_pipe_ends_when_nothing_is_left_to_do(store):
    run, claim = running(store)
    with in_pipe("status", "--watch", "--interval", "0.1") as program:
        program.wait_for("1 running, 1 queued")
        store.queue.beat(claim, PROGRESS)
        program.wait_for("30/120")
        store.queue.cancel([run.pretrain_job, run.eval_job])
        assert program.end() == 0
        assert program.err == ""
    assert "\x1b" not in program.text
    assert program.text.splitlines()[-1].endswith(
        "  0 running, 0 queued, 0 done, 0 failed, 2 cancelled"
    )


def test_a_watch_in_json_is_one_line_for_each_look(store):
    run = store.add_run(plan())
    with in_pipe("status", "--watch", "--interval", "0.1", "--json") as program:
        program.wait_for("\n", after=program.wait_for("\n"))
        store.queue.cancel([run.pretrain_job, run.eval_job])
        assert program.end() == 0
    looks = [json.loads(line) for line in program.text.splitlines()]
    assert len(looks) >= 3
    assert {look["schema_version"] for look in looks} == {1}
    assert looks[0]["counts"]["queued"] == 2
    assert looks[-1]["counts"]["cancelled"] == 2


def test_a_watch_on_a_terminal_is_left_quietly_with_ctrl_c(store):
    _, claim = running(store, method="moco")
    store.queue.beat(claim, PROGRESS)
    with on_terminal("status", "--watch", "--interval", "0.1") as program:
        seen = program.wait_for("Ctrl-C quits")
        assert "30/120" in program.text
        assert "━" in program.text
        program.wait_for("Ctrl-C quits", after=seen)
        program.interrupt()
        assert program.end() == 130
    assert "error" not in program.text
    assert "Traceback" not in program.text
    hidden, shown = (program.text.rfind(f"\x1b[?25{how}") for how in "lh")
    assert shown > hidden > -1, "the cursor is back"


def test_a_watch_goes_on_while_the_store_is_locked(store, capsys, monkeypatch):
    run = store.add_run(plan())
    store.close()
    monkeypatch.setattr(sqlite, "_LOCK_SECONDS", 0.01)
    looks = []
    with contextlib.closing(sqlite3.connect("results.db", isolation_level=None)) as locker:

        def look():
            looks.append(None)
            if len(looks) == 2:
                locker.execute("BEGIN EXCLUSIVE")
            if len(looks) == 5:
                locker.execute("ROLLBACK")
                with RunStore.open("results.db", mode="write") as again:
                    again.queue.cancel([run.pretrain_job, run.eval_job])
            with RunStore.open("results.db", mode="read") as reader:
                return reader.queue.snapshot()

        watch_as_json(look, err(), interval=0.01)
    captured = capsys.readouterr()
    found = [json.loads(line)["counts"] for line in captured.out.splitlines()]
    assert [counts["cancelled"] for counts in found] == [0, 2]
    assert captured.err.count("is locked by another process") == 3


def test_a_watch_gives_up_on_a_store_that_stays_broken(store, capsys, monkeypatch):
    store.add_run(plan())
    looks = iter([store.queue.snapshot()])

    def look():
        for queue in looks:
            return queue
        raise StoreError("broken")

    with pytest.raises(StoreError, match="broken"):
        watch_as_json(look, err(), interval=0.001)


@pytest.mark.parametrize("options", ["", "--json"])
def test_a_reader_that_leaves_a_watch_ends_it(store, options):
    store.add_run(plan())
    watch = f"{sys.executable} -m emabench status --watch --interval 600 {options}"
    process = subprocess.run(
        ["bash", "-c", f"{watch} | head -n 1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert len(process.stdout.splitlines()) == 1
    assert process.stderr == ""


# cancel


def test_cancelling_a_run_cancels_all_its_jobs(emabench, store):
    run, other = store.add_run(plan(seed=0)), store.add_run(plan(seed=1))
    result = emabench(["cancel", run.id[:8]])
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        f"{run.pretrain_job} pretrain simclr none 0: cancelled",
        f"{run.eval_job} linear_eval simclr none 0: cancelled",
    ]
    assert states(store, run) == ["cancelled", "cancelled"]
    assert states(store, other) == ["queued", "queued"]


def test_cancelling_an_evaluation_leaves_its_pretraining(emabench, store):
    run = store.add_run(plan())
    (job,) = answer(emabench(["cancel", run.eval_job, "--json"]))["jobs"]
    assert job == {
        "id": run.eval_job,
        "run": run.id,
        "kind": "linear_eval",
        "state": "cancelled",
        "changed": True,
    }
    assert states(store, run) == ["queued", "cancelled"]


def test_a_cancelled_worker_can_write_nothing_more(emabench, store):
    run, claim = running(store)
    result = emabench(["cancel", "@last"])
    assert "stop within seconds" in result.err
    with pytest.raises(FencedError):
        store.queue.beat(claim)
    assert states(store, run) == ["cancelled", "cancelled"]


def test_there_is_nothing_to_cancel_in_what_is_done(emabench, store):
    complete(store, plan())
    result = emabench(["cancel", "@last", "@last"])
    assert result.code == 0
    assert [line.partition(": ")[2] for line in result.out.splitlines()] == [
        "nothing to do: it is done"
    ] * 2
    assert not any(
        job["changed"] for job in answer(emabench(["cancel", "@last", "--json"]))["jobs"]
    )


# retry


def test_a_run_that_failed_is_queued_again(emabench, store):
    run = failed(store)
    assert states(store, run) == ["failed", "failed"]
    result = emabench(["retry", run.id])
    assert result.out.count(": queued again\n") == 2
    assert states(store, run) == ["queued", "queued"]
    again = emabench(["retry", run.id])
    assert (again.code, again.out.count("nothing to do: it is queued\n")) == (0, 2)


def test_an_evaluation_takes_the_pretraining_that_it_needs_along(emabench, store):
    run = failed(store)
    changed = answer(emabench(["retry", run.eval_job, "--json"]))["jobs"]
    assert {job["id"] for job in changed if job["changed"]} == {run.pretrain_job, run.eval_job}


def test_retry_failed_takes_all_that_failed_and_nothing_else(emabench, store):
    nan, smoke = failed(store, seed=0), failed(store, seed=1, smoke=True)
    cancelled = store.add_run(plan(seed=2))
    store.queue.cancel([cancelled.pretrain_job])
    done = complete(store, plan(seed=3))
    lost = store.add_run(_bench_plan(arms=2))
    claim = store.queue.claim(lost.eval_job, environment=ENVIRONMENT)
    store.queue.fail(claim, reason="no space left on device", cost=None)
    result = emabench(["retry", "--failed"])
    assert result.out.count("queued again") == 5
    assert store.job(lost.id).state is JobState.QUEUED
    assert states(store, nan) == states(store, smoke) == ["queued", "queued"]
    assert states(store, cancelled) == ["cancelled", "cancelled"]
    assert store.run(done).state is JobState.DONE
    nothing = emabench(["retry", "--failed"])
    assert (nothing.code, nothing.out) == (0, "nothing to do: no run has failed\n")
    assert answer(emabench(["retry", "--failed", "--json"]))["jobs"] == []


def test_retry_wants_to_know_what(emabench, store):
    result = emabench(["retry"])
    assert (result.code, result.out) == (2, "")
    assert "--failed" in result.hint


# rm


def with_files(run_id, *names, attempt=1):
    place = attempt_folder_of(run_id, attempt)
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / name).write_bytes(b"x" * 1000)
    return place


def attempt_folder_of(job_id, attempt=1):
    return attempt_folder(Path("results-artifacts"), job_id, attempt)


def test_rm_without_a_terminal_wants_a_yes(emabench, store):
    run = store.add_run(plan())
    place = with_files(run.id, LOG)
    result = emabench(["rm", run.id])
    assert (result.code, result.out) == (2, "")
    assert f"run {run.id}" in result.err
    assert "--yes" in result.hint
    assert (store.run(run.id).id, place.is_dir()) == (run.id, True)


def test_rm_takes_the_run_and_its_files_and_nothing_else(emabench, store, folder):
    runs = [complete(store, plan(seed=seed)) for seed in range(3)]
    evaluations = [store.run(run).jobs[1].id for run in runs]
    for job in (*runs, *evaluations):
        with_files(job, LOG, "online.safetensors")
    gone = answer(emabench(["rm", runs[0], runs[2], runs[2][:10], "--yes", "--json"]))
    assert [run["id"] for run in gone["runs"]] == [runs[0], runs[2]]
    assert gone["freed_bytes"] == 8000
    assert [run.id for run in store.runs()] == [runs[1]]
    left = {entry.name for entry in (folder / "results-artifacts").iterdir()}
    assert left == {runs[1], evaluations[1]}
    text = emabench(["rm", "@last", "--yes"])
    assert text.out == f"{runs[1]} simclr none 1: removed\n"
    assert store.runs() == []


def test_rm_refuses_what_runs(emabench, store):
    run, _ = running(store)
    idle = store.add_run(plan(seed=1))
    result = emabench(["rm", idle.id, run.id, "--yes"])
    assert (result.code, result.out) == (2, "")
    assert f"run {run.id} is running" in result.err
    assert f"emabench cancel {run.id}" in result.hint
    assert len(store.runs()) == 2


def test_rm_wants_whole_runs(emabench, store):
    run = store.add_run(plan())
    result = emabench(["rm", run.eval_job, "--yes"])
    assert result.code == 2
    assert f"emabench rm {run.id}" in result.hint
    assert len(store.runs()) == 1


@pytest.mark.parametrize(("reply", "left"), [("n", 2), ("", 2), ("y", 0)])
def test_rm_asks_on_a_terminal_and_says_what_is_lost(store, reply, left):
    runs = [complete(store, plan(seed=seed)) for seed in range(2)]
    with_files(runs[0], "online.safetensors")
    with on_terminal("rm", *runs) as program:
        program.wait_for("[y/N]")
        question = " ".join(program.text.split())
        assert (
            "remove 2 runs (2 of them done) with results, metrics and 1000 B of files" in question
        )
        program.type(f"{reply}\n")
        assert program.end() == 0
    assert len(store.runs()) == left
    assert attempt_folder_of(runs[0]).exists() is (left == 2)
    assert ("nothing was removed" in program.text) is (left == 2)


# reap


def test_a_process_that_is_gone_is_reaped_at_once_and_no_other(emabench, store):
    lost, (alive, _) = abandoned(store), running(store, seed=1)
    result = emabench(["reap", "--stale-after", "0"])
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        f"{lost.id} pretrain simclr none 0, attempt 1: its process is gone, queued again\n"
    )
    assert states(store, lost) == ["queued", "queued"]
    assert states(store, alive) == ["running", "queued"]
    again = emabench(["reap", "--stale-after", "0"])
    assert (again.code, again.out) == (0, "nothing to do: no attempt is dead\n")


def test_the_last_attempt_fails_for_good(emabench, store):
    run = store.add_run(plan(), max_attempts=1)
    assert abandoned(store).id == run.id
    (attempt,) = answer(emabench(["reap", "--stale-after", "0", "--json"]))["attempts"]
    assert (attempt["job"], attempt["state"]) == (run.id, "failed")
    assert (attempt["reason"], attempt["attempt"]) == ("its process is gone", 1)
    assert states(store, run) == ["failed", "failed"]


def test_a_heart_that_stands_still_is_reaped_and_one_that_beats_is_not(emabench, store):
    silent, _ = running(store, seed=0)
    beating, claim = running(store, seed=1)
    with Heartbeat(store.queue, claim, seconds=0.05):
        result = emabench(["reap", "--stale-after", "1"])
    assert f"waiting up to 1.0 s for the next heartbeat of {silent.id}, {beating.id}" in result.err
    assert result.out == (
        f"{silent.id} pretrain simclr none 0, attempt 1: its heartbeat stopped, queued again\n"
    )
    assert states(store, beating)[0] == "running"


def test_reap_waits_no_longer_than_for_the_last_heart_to_beat(emabench, store):
    _, claim = running(store)
    with Heartbeat(store.queue, claim, seconds=0.05):
        result = emabench(["reap", "--stale-after", "100000"])
    assert result.out == "nothing to do: no attempt is dead\n"


def test_reap_lets_be_what_ends_while_it_waits(emabench, store):
    run, claim = running(store)

    def finish():
        time.sleep(0.5)
        store.queue.release(claim, reason="stopped", cost=None)

    thread = threading.Thread(target=finish)
    thread.start()
    result = emabench(["reap", "--stale-after", "100000"])
    thread.join()
    assert result.out == "nothing to do: no attempt is dead\n"
    assert states(store, run) == ["queued", "queued"]


def test_reap_is_interrupted_like_anything_else(store):
    run, _ = running(store)
    with in_pipe("reap", "--stale-after", "100000", "--json") as program:
        # It says so on stderr; nothing may come on stdout before the end.
        assert program.process.stderr is not None
        assert run.id in program.process.stderr.readline().decode()
        program.interrupt()
        assert program.end() == 130
        assert program.text == ""
        assert "interrupted" in program.err
    assert states(store, run)[0] == "running"


def test_what_others_wrote_moves_no_terminal(store):
    evil = "a\x1b]0;owned\x1b\\b\x1b[2J"
    run = store.add_run(plan(name=evil))
    claim = store.queue.claim(run.pretrain_job, environment=replace(ENVIRONMENT, host=evil))
    store.queue.fail(claim, reason=evil, cost=None, retry=False)
    store.queue.claim(store.add_run(plan(seed=1)).pretrain_job, device=evil)
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200)
    console.print(QueueView(store.queue.snapshot(limit=9)))
    assert "owned" in stream.getvalue()
    assert not {"\x1b]0;", "\x1b[2J"} & set(re.findall(r"\x1b(?:\]0;|\[2J)", stream.getvalue()))
    assert "\x1b" not in Table((f"top1@{evil}",), (("x",),)).to_csv()
