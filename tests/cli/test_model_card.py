"""``weights`` puts a model card beside the weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from safetensors.torch import save_file
from seeding import complete, evaluated, evaluation, plan

from emabench.artifacts.layout import attempt_folder
from emabench.evaluation.weights_file import digest
from emabench.networks.backbone import build_backbone
from emabench.plans.grids import command_line
from emabench.spec import BackboneSpec
from emabench.store import RunStore

OPTIONS = {"layers": [1, 1, 1, 1], "channels": [8, 16, 32, 64]}


@pytest.fixture
def run(folder):
    """The id of a run with weights of two networks, in the store of the current folder."""
    fields = {"ema_scope": "full", "pretrain__data__data_dir": "/home/me/images"}
    fields |= {"pretrain__data__image_size": 28, "pretrain__backbone__stem": "original"}
    also = [{"dataset": "folder", "data_dir": "/home/me/, more", "name": "more"}]
    fields |= {"evaluation__data__data_dir": "/home/me/other", "evaluation__also": also}
    planned = plan(pretrain__backbone__options=OPTIONS, **fields)
    point = {name.replace("__", "."): value for name, value in fields.items()}
    command = command_line(point | {"pretrain.seed": 0}, preset=None, file=None)
    with RunStore.open("results.db", mode="write") as store:
        made = complete(store, replace(planned, command=command))
        evaluated(store, evaluation(made, evaluation__network="target"), top1=12.5)
    weights = attempt_folder(folder / "results-artifacts", made, 1)
    weights.mkdir(parents=True)
    backbone = BackboneSpec(name="resnet18", stem="original", options=OPTIONS)
    for network in ("online", "target"):
        state = build_backbone(backbone, 28).model.state_dict()
        save_file(state, weights / f"{network}.safetensors")
    return made


def card(emabench, *words, place="README.md"):
    result = emabench(["weights", "@last", "-o", "w.safetensors", *words])
    assert result.code == 0, result.err
    assert f"model card: {place}" in result.err
    return result.out, Path(place).read_text()


def table(text, first):
    """The rows of the table of Markdown that begins with a header."""
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_card_says_what_the_weights_are(emabench, run, folder):
    code, text = card(emabench)
    _, header, body = text.split("---\n", 2)
    known = yaml.safe_load(header)
    assert known["library_name"] == "timm"
    assert "license" not in known
    assert "# license: not set" in header
    head, _, top1, knn = table(body, "accuracy")
    row = dict(zip(head, top1, strict=True))
    assert (row["accuracy"], row["network"], row["%"]) == ("top1", "online", "60.00")
    assert (row["test images"], row["95 % interval"]) == ("9", "[26.67, 81.12]")
    assert knn[0] == "knn_top1"
    assert "12.50" not in body, "that is of another network"
    assert digest(folder / "w.safetensors") in body
    assert " --data-dir … --image-size 28 " in body
    assert " --set 'evaluation.data.data_dir=…' " in body
    assert '"data_dir": …, "name": "more"}]\' --seed 0\n' in body
    assert "name: more" in body
    spec = yaml.safe_load(body.partition("```yaml\n")[2].partition("```")[0])
    assert spec["pretrain"]["ema"]["scope"] == "full"
    assert "/home/me" not in text
    assert str(folder) not in text
    assert "test-host" not in text
    loads = body.partition("```python\n")[2].partition("```")[0]
    assert loads.strip() == code.strip().replace(str(folder), "")
    exec(loads, {})


def test_each_network_has_its_own_accuracies(emabench, run):
    _, text = card(emabench, "--network", "target")
    rows = table(text, "accuracy")[2:]
    assert [(row[0], row[1], row[4]) for row in rows] == [
        ("top1", "target", "12.50"), ("top5", "target", "90.00"), ("knn_top1", "target", "10.50"),
    ]  # fmt: skip
    assert rows[1][5] == "", "nobody knows which images those were"


def test_nobody_elses_readme_is_replaced(emabench, run, folder):
    (folder / "README.md").write_text("# My project\n")
    _, text = card(emabench, place="w.safetensors.md")
    assert (folder / "README.md").read_text() == "# My project\n"
    assert card(emabench, "--force", place="w.safetensors.md")[1] == text
    (folder / "w.safetensors").unlink()
    refused = emabench(["weights", "@last", "-o", "w.safetensors"])
    assert (refused.code, "w.safetensors.md exists already" in refused.err) == (2, True)
    assert not (folder / "w.safetensors").exists()


def test_weights_called_readme_stay_weights_and_both_files_are_for_everybody(emabench, run, folder):
    for file in (folder / "results-artifacts").rglob("*.safetensors"):
        file.chmod(0o600)
    result = emabench(["weights", "@last", "-o", "README.md", "--json"])
    said = json.loads(result.out)
    assert (said["file"], said["card"]) == ("README.md", "README.md.md")
    assert digest(folder / "README.md") in (folder / "README.md.md").read_text()
    (folder / "some").touch()
    everybody = (folder / "some").stat().st_mode
    assert {each.stat().st_mode for each in folder.glob("README*")} == {everybody}


def test_what_stops_the_writing_leaves_no_draft(emabench, run, folder, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfile", stop)
    assert emabench(["weights", "@last", "-o", "w.safetensors"]).code == 130
    assert not list(folder.glob("*w.safetensors*"))


def test_the_card_of_the_same_file_is_renewed(emabench, run, folder):
    card(emabench)
    assert "the target network" in card(emabench, "--force", "--network", "target")[1]
    other = json.loads(emabench(["weights", "@last", "-o", "v.safetensors", "--json"]).out)
    assert other["card"] == "v.safetensors.md"


def test_text_of_others_stays_text(emabench, run, folder):
    with RunStore.open("results.db", mode="write") as store:
        size = {"pretrain__data__image_size": 28, "pretrain__backbone__stem": "original"}
        planned = plan(method="sim|clr`<b>", **size)
        ended = complete(store, planned)
    (folder / "results-artifacts" / run).rename(folder / "results-artifacts" / ended)
    result = emabench(["weights", ended, "-o", "x.safetensors"])
    assert result.code == 0, result.err
    assert "`sim|clr<b>`" in (folder / "README.md").read_text()
