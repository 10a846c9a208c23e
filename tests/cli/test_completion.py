"""What the shell proposes for values: from the package and the store, and nothing slow for it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from seeding import complete, plan

from emabench.cli.app.discovery import command_names, load_command
from emabench.cli.options import completion
from emabench.data.images import list_datasets
from emabench.methods import method_names
from emabench.networks.backbone import build_backbone
from emabench.spec import BackboneSpec
from emabench.spec.paths import full_path
from emabench.spec.scope import EmaScope
from emabench.spec.settings import preset_names
from emabench.spec.study import study_names
from emabench.store import RunStore

SLOW = {"torch", "timm", "sqlalchemy", "numpy", "emabench.spec", "yaml"}


class Typed:
    """The context of a command line that is being typed."""

    def __init__(self, **params):
        self.params = params


def proposed(words, name, begun="", **typed):
    """Return what the shell shows for a parameter of a command, and the words beside it."""
    command = load_command(words)
    parameter = next(each for each in command.params if each.name == name)
    found = parameter.shell_complete(Typed(**typed), begun)
    return [(each.value, each.help) if each.help else each.value for each in found]


@pytest.fixture
def runs(folder):
    with RunStore.open("results.db", mode="write") as store:
        found = [complete(store, plan(name="first")), store.add_run(plan(seed=1)).id]
        store.tag(found, add=["paper"])
        store.tag(found[:1], add=["good"])
    return found


def test_what_the_package_has_is_proposed_in_whole():
    assert proposed("run", "method") == method_names()
    assert proposed("run", "preset") == preset_names()
    assert completion.complete_studies() == study_names()
    assert [name for name, _ in proposed("run", "dataset")] == [d.name for d in list_datasets()]
    assert "throughput" in proposed("compare", "metric")


def test_of_a_comma_list_the_last_part_is_completed():
    assert proposed("run", "method", "moco,simc") == ["moco,simclr"]
    assert proposed("compare", "metric", "top1,top") == ["top1,top5"]
    assert proposed("run", "preset", "smo") == ["smoke"]


def test_every_field_that_is_proposed_is_one():
    for name in completion.complete_run_fields(""):
        assert name in (*completion.RUN_LABELS, *completion.USUAL_RESULTS) or (
            name in completion.COST_READINGS or full_path(name)
        )


@pytest.mark.parametrize(
    ("backbone", "begun", "expected"),
    [
        (None, "none,la", [f"none,layer{n}" for n in (1, 2, 3, 4)]),
        ("vit_tiny_patch16_224", "from:block1", [f"from:block{n}" for n in (1, 10, 11, 12)]),
        ("resnet18", "layer4+p", ["layer4+projector"]),
        ("convnext_tiny", "from:stage4", ["from:stage4"]),
        ("densenet121", "f", ["full"]),
    ],
)
def test_scopes_are_those_of_the_backbone(backbone, begun, expected):
    assert proposed("run", "ema_scope", begun, backbone=backbone) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", completion._BACKBONES)
def test_every_backbone_that_is_proposed_is_cut_as_its_scopes_say(name):
    spec = BackboneSpec.parse({"name": name}, what="backbone").as_timm()
    blocks = (*build_backbone(spec, 32 if "patch" not in name else 224).block_names, "projector")
    for scope in completion.complete_scopes(Typed(backbone=name), ""):
        EmaScope.parse(scope, blocks)
    assert f"from:{blocks[-2]}" in completion.complete_scopes(Typed(backbone=name), "from:")


def test_runs_and_tags_are_those_of_the_store(runs, monkeypatch):
    done, queued = runs
    ids = [("@last", "the newest run"), (queued, "queued"), (done, "first done")]
    assert proposed("show", "run") == ids
    assert proposed("show", "run", done[:6]) == [(done, "first done")]
    assert proposed("list", "tag", "p") == [("paper", "2 runs")]
    assert proposed("list", "tag", "paper,") == [("paper,good", "1 run")]
    assert proposed("list", "where", "tag=g") == ["tag=good"]
    assert "top1=" in proposed("list", "where", "top")
    Path("results.db").rename("other.db")
    assert proposed("show", "run", done[:6], db="other.db") == [(done, "first done")]
    monkeypatch.setenv("EMABENCH_DB", "other.db")
    assert proposed("list", "tag", "p") == [("paper", "2 runs")]


def test_wherever_an_id_is_asked_for_the_shell_proposes_some(folder):
    for name in command_names():
        command = load_command(name)
        for each in getattr(command, "commands", {"": command}).values():
            for parameter in each.params:
                if re.search(r"\b(RUN|ID)\b", parameter.metavar or ""):
                    (last,) = parameter.shell_complete(Typed(), "@l")
                    assert last.value == "@last", (name, parameter.name)


@pytest.mark.parametrize("db", ["none.db", "folder", "text.txt", "postgresql://u@h/n"])
def test_where_there_is_no_store_nothing_is_proposed(folder, db):
    (folder / "folder").mkdir()
    (folder / "text.txt").write_text("no store")
    before = sorted(folder.iterdir())
    assert proposed("show", "run", "a", db=db) == []
    assert proposed("list", "tag", db=db) == []
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("emabench run --method simc", "simclr"),
        ("emabench compare --metric top1,thr", "top1,throughput"),
        ("emabench show @l", "@last"),
        ("emabench list --tag pa", "paper"),
    ],
)
def test_the_shell_is_answered_without_anything_slow(runs, line, expected):
    shell = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    process = subprocess.run(
        [sys.executable, "-c", CHECKED],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "_EMABENCH_COMPLETE": "complete_bash", **shell},
    )
    assert process.stdout.split() == [expected]
    assert process.stderr.splitlines()[-1] == "[]"


CHECKED = f"""
import sys
before = set(sys.modules)
from emabench.cli.app.main import main
try:
    main()
finally:
    print(sorted((set(sys.modules) - before) & {SLOW!r}), file=sys.stderr)
"""
