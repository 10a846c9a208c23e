"""With the network cut every command works, and none reaches for it but a data set's download."""

import json
import os
import subprocess
import sys

import pytest

from emabench.cli.app.discovery import command_names

CUT = """
import os, sys

def cut(event, arguments):
    if event == "socket.getaddrinfo" or (
        event == "socket.connect" and not isinstance(arguments[1], str | bytes)  # no Unix socket
    ):
        with open(os.environ["REACHED"], "a") as record:
            record.write(f"{event} {arguments[-1]}\\n")
        raise OSError("the network is cut")

sys.addaudithook(cut)
"""
"""What a process of Python loads before anything else, and so do those that it starts."""
COMMANDS = """
import json, sys
from emabench.cli.app.main import run
json.dump([run(line) for line in json.load(sys.stdin)], open("codes.json", "w"))
"""
SMOKE = ["--preset", "smoke", "--db", "runs.db"]
LINES = [
    ["doctor"],
    ["methods"],
    ["datasets"],
    ["backbones", "resnet18"],
    ["spec", "presets"],
    ["run", *SMOKE, "--ema-scope", "projector,full"],
    ["queue", *SMOKE, "--seed", "1"],
    ["status", "--db", "runs.db"],
    ["work", "--db", "runs.db", "--idle-exit"],
    ["eval", "@last", "--set", "evaluation.knn.k=5", "--db", "runs.db"],
    ["bench", *SMOKE, "--ema-scope", "none,projector", "--steps", "2"],
    ["cost", "--preset", "smoke", "--method", "moco", "--db", "runs.db"],
    ["list", "--smoke", "--db", "runs.db"],
    ["show", "@last", "--db", "runs.db"],
    ["compare", "--smoke", "--db", "runs.db"],
    ["stability", "--smoke", "--quantity", "grad_norm", "--db", "runs.db"],
    ["plot", "seeds", "--smoke", "--db", "runs.db", "-o", "seeds.svg"],
    ["report", "--smoke", "--db", "runs.db", "-o", "report.html"],
    ["diff", "@last", "@last", "--db", "runs.db"],
    ["logs", "@last", "--db", "runs.db"],
    ["weights", "@last", "--db", "runs.db", "-o", "backbone.safetensors"],
    ["export", "--db", "runs.db", "-o", "runs.jsonl"],
    ["import", "runs.jsonl", "--db", "others.db"],
    ["studies", "list"],
    ["sync", "--db", "runs.db"],
    ["reap", "--db", "runs.db"],
    ["cancel", "@last", "--db", "runs.db"],
    ["retry", "@last", "--db", "runs.db"],
    ["db", "check", "--db", "runs.db"],
    ["du", "--db", "runs.db"],
    ["prune", "--dry-run", "--db", "runs.db"],
    ["rm", "@last", "--yes", "--db", "others.db"],
]


@pytest.fixture
def with_network_cut(folder):
    """Run command lines in one process; return their exit codes, and what reached for a network."""
    (folder / "cut").mkdir()
    (folder / "cut" / "sitecustomize.py").write_text(CUT)

    def call(lines):
        places = os.pathsep.join([str(folder / "cut"), os.environ["PYTHONPATH"]])
        subprocess.run(
            [sys.executable, "-c", COMMANDS],
            input=json.dumps(lines),
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": places, "REACHED": str(folder / "reached")},
        )
        reached = folder / "reached"
        return (
            json.loads((folder / "codes.json").read_text()),
            reached.read_text().splitlines() if reached.exists() else [],
        )

    return call


def test_every_command_works_and_none_reaches_for_the_network(with_network_cut):
    assert {line[0] for line in LINES} | {"dashboard"} == set(command_names())
    codes, reached = with_network_cut(LINES)
    failed = [line for line, code in zip(LINES, codes, strict=True) if code]
    assert failed == []
    assert reached == []


def test_only_the_download_of_a_data_set_reaches_for_it(with_network_cut):
    download = [*SMOKE, "--dataset", "cifar10", "--data-dir", "images"]
    codes, reached = with_network_cut([["queue", *download]])
    assert codes == [1]
    assert reached
