"""``plot``, ``report`` and ``dashboard`` on the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from programs import in_pipe
from seeding import ENVIRONMENT, complete, plan
from studied import study

from emabench.records import CostReading
from emabench.store import RunStore

SLOW = pytest.mark.slow
PLOTS = [
    "pareto",
    "stability",
    *(pytest.param(kind, marks=SLOW) for kind in ("forest", "curves", "cost", "blocks", "seeds")),
]


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


@pytest.mark.parametrize("kind", PLOTS)
def test_a_picture_is_written_and_its_numbers_printed(store, emabench, kind):
    study(store, arms=2, seeds=2)
    other = replace(ENVIRONMENT, versions={"python": "3.11.0", "torch": "2.7.0"})
    complete(store, plan(seed=7), environment=other)
    result = emabench(["plot", kind, "-o", f"{kind}.svg", "--json"])
    assert result.code == 0, result.err
    values = json.loads(result.out)
    expected = "few-pairs" if kind == "forest" else "versions"  # the other run is not compared
    assert expected in [each["code"] for each in values["cautions"]], result.err
    told = [f"warning: {each}" for each in values["warnings"]]
    told += [f"note: {each}" for each in values["notes"]]
    said = [line for line in result.err.splitlines() if line.startswith(("note: ", "warning: "))]
    assert sorted(told) == sorted(said)
    assert (values["schema_version"], values["kind"], values["file"]) == (1, kind, f"{kind}.svg")
    assert "5 runs" in values["source"]
    assert f"{kind}.svg written" in result.err
    text = Path(f"{kind}.svg").read_text("utf-8")
    assert "<svg" in text
    assert "source: results.db" in text


def test_the_picture_of_stability_names_its_source(store, emabench):
    study(store, arms=2, seeds=2, study="gradient-stability")
    asked = ["stability", "--study", "gradient-stability", "-o", "x.svg"]
    result = emabench(asked)
    assert result.code == 0, result.err
    text = Path("x.svg").read_text("utf-8")
    assert "source: results.db, study gradient-stability · 4 runs" in text


@pytest.mark.parametrize(
    ("options", "code", "message", "hint"),
    [
        (["plot", "pareto", "-o", "x.jpg"], 2, "cannot be written as 'x.jpg'", ".png"),
        (["plot", "pareto", "-o", "no/x.png"], 2, "there is no folder", "make it"),
        (["plot", "pareto", "-o", "x.png", "--cost", "stepms"], 2, "'stepms'", "step_ms"),
        (["plot", "cost", "-o", "x.png", "--of", "stepp"], 2, "'stepp'", "step"),
        (["plot", "curves", "-o", "x.png", "--metric", "los"], 2, "'los'", "loss"),
        (["plot", "stability", "-o", "x.png"], 3, "no run has grad_norm_cv", "monitors"),
        (["plot", "paretto", "-o", "x.png"], 2, "'paretto'", "pareto"),
        (["plot", "seeds", "-o", "x.png", "--where", "seed=7"], 3, "nothing to draw", "loosen"),
        (["plot", "seeds", "-o", "x.png", "--metric", "energy"], 3, "no run has energy", "show"),
        (["report", "-o", "x.pdf"], 2, "not a name for a page", ".html"),
        (["report", "-o", "no/x.html"], 2, "there is no folder", "make it"),
        (["report", "-o", "x.html", "--metric", "top11"], 2, "'top11'", "top1"),
        (["report", "-o", "x.html", "--where", "seed=7"], 3, "nothing to compare", "emabench run"),
        (["dashboard", "--host", "0.0.0.0"], 2, "needs a token", "openssl"),
        (["dashboard", "--host", "0.0.0.0", "--token", "x"], 2, "can be guessed", "openssl"),
        (["dashboard", "--db", "nowhere.db"], 3, "there is no store", "emabench run"),
    ],
)
def test_a_wrong_request_is_one_line_with_a_hint(store, emabench, options, code, message, hint):
    complete(store, plan(ema_scope="none"))
    result = emabench(options)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert hint in result.hint
    assert not [path for path in Path().iterdir() if path.suffix in (".png", ".html", ".pdf")]


@pytest.mark.parametrize("command", [["plot", "pareto", "-o", "x.png"], ["report", "-o", "x.html"]])
def test_a_store_without_an_answer_says_why(store, emabench, command):
    empty = emabench(command)
    assert (empty.code, empty.out) == (3, "")
    assert "emabench run" in empty.hint
    store.add_run(plan(seed=1))
    waiting = emabench(command)
    assert (waiting.code, "1 queued" in waiting.err) == (3, True)
    failed = store.add_run(plan(seed=2))
    store.queue.fail(
        store.queue.claim(failed.pretrain_job, environment=ENVIRONMENT), reason="x", cost=None
    )
    store.queue.cancel([store.runs()[0].id])
    broken = emabench(command)
    assert (broken.code, "1 failed" in broken.err) == (3, True)
    complete(store, plan(smoke=True))
    assert emabench(command).code == 3
    assert emabench([*command, "--smoke"]).code == 0


def test_the_report_says_what_it_holds(store, emabench):
    study(store, arms=3, seeds=2)
    result = emabench(["report", "-o", "report.html", "--json"])
    values = json.loads(result.out)
    assert (values["file"], values["runs"]) == ("report.html", 6)
    assert values["bytes"] == Path("report.html").stat().st_size
    assert any("fewer than 3 pairs" in warning for warning in values["warnings"])
    assert "warning: " in result.err
    assert [path.name for path in Path().glob("*report.html*")] == ["report.html"]


def test_a_password_is_on_no_page(emabench):
    result = emabench(["report", "-o", "x.html", "--db", "postgresql://me:secret@127.0.0.1:1/x"])
    assert result.code == 1
    assert "secret" not in result.err


@pytest.mark.slow
@pytest.mark.parametrize("words", [["report", "-o", "r.html"], ["plot", "pareto", "-o", "p.png"]])
def test_neither_loads_torch(store, words):
    study(store, arms=2, seeds=1)
    code = (
        "import sys; from emabench.cli.app.main import run;"
        f"assert run({words!r}) == 0; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=SLOW)])
def test_a_signal_ends_the_dashboard(store, number):
    study(store, arms=2, seeds=1)
    before = Path("results.db").read_bytes()
    with in_pipe("dashboard", "--port", "0", "--json") as program:
        program.wait_for("}")
        address = json.loads(program.text)["url"]
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"Cheaper, and not worse?" in answer.read()
        program.process.send_signal(number)
        assert program.end() == 130
        assert "Ctrl-C stops it" in program.err
    assert Path("results.db").read_bytes() == before


@pytest.mark.slow
def test_a_store_without_runs_has_a_dashboard_too(store):
    with in_pipe("dashboard", "--port", "0", "--json") as program:
        program.wait_for("}")
        with urllib.request.urlopen(json.loads(program.text)["url"], timeout=60) as answer:
            text = answer.read().decode()
        assert "No comparison yet" in text
        assert "nothing to compare" in text
        assert "0 queued" in text


def test_runs_without_an_accuracy_have_a_report_of_their_costs(store, emabench):
    for scope in ("none", "full"):
        for seed in (0, 1):
            run = store.add_run(plan(ema_scope=scope, seed=seed, evaluation__enabled=False))
            claim = store.queue.claim(run.id, environment=ENVIRONMENT)
            cost = CostReading(throughput=1000.0 + seed, total_s=12.0)
            store.queue.finish(claim, results={}, cost=cost)
    result = emabench(["report", "-o", "report.html", "--metric", "top1"])
    assert (result.code, "no run has top1" in result.err) == (0, True)
    assert "throughput" in Path("report.html").read_text(encoding="utf-8")
