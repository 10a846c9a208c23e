"""With the network cut every command works, and none reaches for it but --download."""

import json
import os
import subprocess
import sys

import pytest
from cut_network import cut_network

from emabench.cli.app.discovery import command_names

COMMANDS = """
import json, os, sys
from emabench.cli.app.main import run
json.dump(
    [(run(line), os.path.exists(os.environ["REACHED"])) for line in json.load(sys.stdin)],
    open("answers.json", "w"),
)
"""
SMOKE = ["--preset", "smoke", "--db", "runs.db"]
LINES = [
    ["doctor"],
    ["methods"],
    ["datasets"],
    ["backbones", "resnet18"],
    ["spec", "presets"],
    ["run", *SMOKE, "--ema-scope", "projector"],
    ["queue", *SMOKE, "--seed", "1"],
    ["status", "--db", "runs.db"],
    ["work", "--db", "runs.db", "--idle-exit"],
    ["eval", "@last", "--set", "evaluation.knn.k=5", "--db", "runs.db"],
    ["bench", *SMOKE, "--ema-scope", "none", "--steps", "2"],
    ["cost", "--preset", "smoke", "--method", "moco", "--db", "runs.db"],
    ["list", "--smoke", "--db", "runs.db"],
    ["show", "@last", "--db", "runs.db"],
    ["tag", "kept", "@last", "--db", "runs.db"],
    ["note", "@last", "the newest", "--db", "runs.db"],
    ["rename", "newest", "@last", "--db", "runs.db"],
    ["published", "--method", "byol"],
    ["compare", "--smoke", "--db", "runs.db"],
    ["stability", "--smoke", "--quantity", "grad_norm", "--db", "runs.db"],
    ["plot", "seeds", "--smoke", "--db", "runs.db", "-o", "seeds.svg"],
    ["report", "--smoke", "--db", "runs.db", "-o", "report.html"],
    ["diff", "@last", "@last", "--db", "runs.db"],
    ["correlate", "loss", "top1", "--smoke", "--db", "runs.db"],
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

CIFAR = ["queue", *SMOKE, "--dataset", "cifar10", "--data-dir", "images"]


@pytest.mark.external
def test_every_command_works_and_only_a_download_reaches_for_the_network(folder):
    assert {line[0] for line in LINES} | {"dashboard", "mirror"} == set(command_names())
    subprocess.run(
        [sys.executable, "-c", COMMANDS],
        input=json.dumps([*LINES, CIFAR, [*CIFAR, "--download"]]),
        text=True,
        check=True,
        env={**os.environ, **cut_network(folder)},
    )
    *answers, missing, downloaded = json.loads((folder / "answers.json").read_text())
    failed = [(line, *answer) for line, answer in zip(LINES, answers, strict=True) if any(answer)]
    assert failed == []
    assert missing == [1, False]
    assert downloaded == [1, True]
