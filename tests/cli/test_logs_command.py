"""logs: which log is printed, and how one is followed while it is written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from programs import in_pipe
from seeding import ENVIRONMENT, complete, plan

from emabench.artifacts.layout import LOG, attempt_folder
from emabench.records import CostReading
from emabench.store import RunStore

ROOT = Path("results-artifacts")


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


def write(job_id, text, *, attempt=1, root=ROOT):
    """Append to the log of an attempt, as its process does."""
    place = attempt_folder(root, job_id, attempt)
    place.mkdir(parents=True, exist_ok=True)
    with (place / LOG).open("ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def jobs_of(store, run_id):
    return [job.id for job in store.run(run_id).jobs]


def tried_twice(store):
    """A run whose pretraining failed once and is running again."""
    run = store.add_run(plan())
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    store.queue.fail(claim, reason="killed", cost=None, retry=True)
    write(run.id, "first\n", attempt=1)
    return run, store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)


def test_the_log_of_a_real_run(emabench):
    result = emabench(
        ["run", "--preset", "smoke", "--epochs", "1", "--set", "max_steps=2", "--json"]
    )
    (run,) = json.loads(result.out)["runs"]
    lines = emabench(["logs", "@last"]).out.splitlines()
    assert lines[0] == f"==> pretrain {run['id']}, attempt 1 <=="
    assert any("epoch 1/1: loss" in line for line in lines)
    assert any(line.startswith("==> linear_eval ") for line in lines)
    assert lines[-1].endswith(" done")
    usage = json.loads(emabench(["du", "--json"]).out)
    assert [each["id"] for each in usage["runs"]] == [run["id"]]
    assert usage["bytes"]["weights"] > usage["bytes"]["logs"] > 0
    assert usage["bytes"]["other"] == usage["stranger_bytes"] == 0


def test_the_newest_attempt_unless_another_is_asked_for(emabench, store):
    run, _ = tried_twice(store)
    assert emabench(["logs", run.id]).out == "first\n", "the newest one that has a log"
    write(run.id, "second\n", attempt=2)
    assert emabench(["logs", run.id[:9]]).out == "second\n"
    assert emabench(["logs", "@last", "--attempt", "1"]).out == "first\n"
    result = emabench(["logs", run.id, "--attempt", "3"])
    assert (result.code, result.out) == (3, "")
    assert f"job {run.id} has no attempt 3" in result.err
    assert "2 were made" in result.hint


def test_attempts_are_counted_not_spelt(emabench, store):
    run = store.add_run(plan(), max_attempts=20)
    for number in range(1, 11):
        claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
        store.queue.fail(claim, reason="killed", cost=None, retry=True)
        write(run.id, f"{number}\n", attempt=number)
    assert emabench(["logs", run.id]).out == "10\n"


def test_a_run_has_the_logs_of_its_jobs_each_below_a_line(emabench, store):
    pretrain, evaluation = jobs_of(store, complete(store, plan()))
    write(pretrain, "a\nb\nc\n")
    assert emabench(["logs", pretrain]).out == "a\nb\nc\n", "one alone needs no line above"
    write(evaluation, "d\n")
    assert emabench(["logs", "@last"]).out.splitlines() == [
        f"==> pretrain {pretrain}, attempt 1 <==",
        *"abc",
        f"==> linear_eval {evaluation}, attempt 1 <==",
        "d",
    ]
    assert emabench(["logs", evaluation]).out == "d\n"
    assert emabench(["logs", evaluation, "--tail", "5"]).out == "d\n"
    tails = emabench(["logs", pretrain, "--tail", "2"]).out.splitlines()
    assert [line for line in tails if not line.startswith("==>")] == [*"bcd"]
    assert emabench(["logs", evaluation, "--tail", "0"]).out == ""


def test_logs_in_json(emabench, store):
    pretrain, evaluation = jobs_of(store, complete(store, plan()))
    write(pretrain, "a\nb\n")
    write(evaluation, "c\n")
    answer = json.loads(emabench(["logs", pretrain, "--json", "--tail", "1"]).out)
    assert answer["schema_version"] == 1
    assert answer["logs"] == [
        {
            "job": job,
            "run": pretrain,
            "kind": kind,
            "attempt": 1,
            "path": f"results-artifacts/{job}/attempt-1/log.txt",
            "lines": [line],
        }
        for job, kind, line in ((pretrain, "pretrain", "b"), (evaluation, "linear_eval", "c"))
    ]


def test_whatever_a_process_wrote_is_printed(emabench, store):
    run, _ = tried_twice(store)
    write(run.id, b"caf\xe9 \xff\n[red]\x1b no markup\nno newline", attempt=2)
    result = emabench(["logs", run.id])
    assert result.out == "caf\ufffd \ufffd\n[red]\\x1b no markup\nno newline\n"
    assert json.loads(emabench(["logs", run.id, "--json"]).out)["logs"][0]["lines"][1][5] == "\x1b"


def test_the_folder_may_lie_elsewhere(emabench, store, folder):
    run = store.add_run(plan())
    store.queue.claim(run.pretrain_job)
    write(run.id, "there\n", root=folder / "files")
    assert emabench(["logs", run.id, "--artifacts", "files"]).out == "there\n"
    result = emabench(["logs", run.id])
    assert result.code == 3
    assert f"the log of job {run.id} is not in results-artifacts" in result.err
    assert "--artifacts" in result.hint


def test_what_has_no_log_is_not_found(emabench, store):
    run = store.add_run(plan())
    result = emabench(["logs", run.id])
    assert (result.code, result.out) == (3, "")
    assert f"job {run.id} has no log yet: it is queued" in result.err
    assert "logs -f" in result.hint
    assert emabench(["logs", "nope"]).code == 3
    for seed in range(1, 17):
        store.add_run(plan(seed=seed))
    first = [run.id[0] for run in store.runs()]
    letter = next(letter for letter in first if first.count(letter) > 1)
    result = emabench(["logs", letter])
    assert (result.code, result.out) == (2, "")
    assert "choose one of" in result.hint


@pytest.mark.parametrize("options", [[], ["-f"]])
def test_where_there_is_no_store_none_is_made(options, emabench, folder):
    assert emabench(["logs", "@last", *options]).code == 3
    assert list(folder.iterdir()) == []


def test_following_goes_through_attempts_and_jobs_to_the_end(store):
    run = store.add_run(plan())
    with in_pipe("logs", "-f", run.id) as program:
        claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
        write(run.id, "begins\nhal")
        program.wait_for("begins\n")
        write(run.id, "f\n")
        program.wait_for("half\n")
        store.queue.fail(claim, reason="killed", cost=None, retry=True)
        claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
        write(run.id, "goes on\n", attempt=2)
        program.wait_for("goes on\n")
        store.queue.finish(claim, results={}, cost=CostReading())
        claim = store.queue.claim(run.eval_job, environment=ENVIRONMENT)
        write(run.eval_job, "evaluates\n")
        program.wait_for("evaluates\n")
        store.queue.finish(claim, results={}, cost=CostReading())
        write(run.eval_job, "last words, no newline")
        assert program.end() == 0
        assert program.err == ""
    assert program.text.splitlines() == [
        f"==> pretrain {run.id}, attempt 1 <==",
        "begins",
        "half",
        f"==> pretrain {run.id}, attempt 2 <==",
        "goes on",
        f"==> linear_eval {run.eval_job}, attempt 1 <==",
        "evaluates",
        "last words, no newline",
    ]


def test_following_one_job_needs_no_line_above_and_takes_a_tail(store):
    pretrain, evaluation = jobs_of(store, complete(store, plan()))
    write(pretrain, "not this\n")
    write(evaluation, "a\nb\nc\n")
    with in_pipe("logs", "-f", evaluation, "--tail", "1") as program:
        assert program.end() == 0
    assert program.text == "c\n"


def test_following_an_attempt_ends_with_it(store):
    run, _ = tried_twice(store)
    write(run.id, "second\n", attempt=2)
    with in_pipe("logs", "--follow", run.id, "--attempt", "1") as program:
        assert program.end() == 0
    assert program.text.splitlines()[-1] == "first"
    assert store.job(run.id).state == "running"


def test_following_in_json_is_an_object_a_line(store):
    _, evaluation = jobs_of(store, complete(store, plan()))
    write(evaluation, 'say "x"\n')
    with in_pipe("logs", "-f", evaluation, "--json") as program:
        assert program.end() == 0
    (line,) = program.text.splitlines()
    values = json.loads(line)
    assert (values["schema_version"], values["job"]) == (1, evaluation)
    assert values["line"] == 'say "x"'


def test_following_what_ended_without_a_log_is_an_error(emabench, store):
    run = complete(store, plan())
    result = emabench(["logs", "-f", run])
    assert (result.code, result.out) == (3, "")
    assert "is not in results-artifacts" in result.err


def test_following_a_run_that_is_removed_ends(store):
    run = store.add_run(plan())
    with in_pipe("logs", "-f", run.id) as program:
        write(run.id, "line\n")
        program.wait_for("line\n")
        store.remove([run.id])
        assert program.end() == 3
        assert f"there is no job '{run.id}'" in program.err


def test_ctrl_c_leaves_quietly(store):
    run = store.add_run(plan())
    write(run.id, "line\n")
    with in_pipe("logs", "-f", run.id) as program:
        program.wait_for("line\n")
        program.interrupt()
        assert program.end() == 130
        assert program.err == ""


@pytest.mark.parametrize("options", ["", "-f"])
def test_a_reader_that_leaves_ends_it(store, options):
    run = store.add_run(plan())
    write(run.eval_job, "the only line\n")  # no second one notices that the pipe is broken
    script = f"{sys.executable} -m emabench logs {options} {run.eval_job} | head -n 1"
    process = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert (process.stdout, process.stderr) == ("the only line\n", "")
