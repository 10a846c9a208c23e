"""The folder that the commands of a page run in: a store of real runs, and the page's files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMALL = {
    "EMABENCH_EPOCHS": "2",
    "EMABENCH_TRAIN_SUBSET": "100",
    "EMABENCH_TEST_SUBSET": "50",
    "EMABENCH_BATCH_SIZE": "10",
}
"""The size of every run whose command says no other: settings, so that commands stay as shown."""
ARMS = "run --method simclr,moco --ema-scope none,projector,full --seed 0..1"
MAKE = (
    f"{ARMS} --name night --study projector-vs-full",
    f"{ARMS} --name night --study gradient-stability",
    "run --ema-scope none,layer4,from:layer3,projector,full --seed 0 --study which-block",
    "bench --preset smoke --method simclr --ema-scope projector --steps 2",
)
"""What makes the store of the pages."""


@dataclass(frozen=True)
class Prepared:
    """What all pages share: the folder that is copied, and ids of two finished runs."""

    folder: Path
    ids: tuple[str, str]


def environment(programs: Path, warm: Path | None) -> dict[str, str]:
    """Return the environment of a page's commands."""
    found = {**os.environ, **SMALL, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    return found | ({} if warm is None else {"DOCS_WARM_PROCESS": str(warm)})


def prepare(folder: Path, env: dict[str, str]) -> Prepared:
    """Make the files of the pages in an empty folder, by the program itself."""
    for command in (*MAKE, "export -o runs.jsonl", "export -o runs.jsonl.gz", "list --json"):
        done = subprocess.run(
            ["emabench", *command.split()], cwd=folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
    first, second = (run["id"] for run in json.loads(done.stdout)["runs"][:2])
    shutil.copy(ROOT / "tests" / "assets" / "stores" / "0001.db", folder / "old.db")
    for name in ("laptop.db", "shared.db"):
        shutil.copy(folder / "results.db", folder / name)
    for name in ("images", "flowers", "cifar10-jpeg"):
        _images(folder / name)
    _arrays(folder / "flowers", folder / "pathmnist.npz")
    _shards(folder / "flowers", folder / "shards")
    (folder / "photos").mkdir()  # no labels
    for number, image in enumerate(sorted((folder / "flowers" / "train").rglob("*.png"))):
        shutil.copy(image, folder / "photos" / f"{number}.png")
    (study,) = re.findall(r"```yaml\n(title: .*?)```", _page("how-to/studies"), re.S)
    (folder / "my-study.yaml").write_text(study)
    (spec,) = re.findall(r"```yaml\n(preset: .*?)```", _page("reference/specs"), re.S)
    (folder / "study.yaml").write_text(spec)
    _timm_weights(folder)
    return Prepared(folder, (first, second))


def furnish(folder: Path, prepared: Prepared, page: str) -> None:
    """Copy the prepared files into the folder of a page, and save the files that it shows.

    A page shows a file by a block and the words "Save it as `NAME`" after it.
    """
    # Links, because nothing that is finished is written again.
    shutil.copytree(prepared.folder, folder, copy_function=_link, dirs_exist_ok=True)
    if (ROOT / "results.db.example").exists():
        shutil.copy(ROOT / "results.db.example", folder)
    (folder / "tests").symlink_to(ROOT / "tests")
    plugins = [_page(f"how-to/{name}") for name in ("own-method", "own-data", "own-backbone")]
    for text in (*plugins, page):
        for name, source in saved_files(text).items():
            (folder / name).write_text(source)


def saved_files(page: str) -> dict[str, str]:
    """Return the files that a page shows and tells to save, by their names."""
    blocks = re.findall(r"```\w+\n((?:(?!```).)*)```\s+Save it as `([^`]+)`", page, re.S)
    return {name: source for source, name in blocks}


def _link(source: str, target: str) -> None:
    if Path(source).suffix in (".db", ".yaml"):
        shutil.copy(source, target)
    else:
        os.link(source, target)


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text("utf-8")


def _images(folder: Path) -> None:
    """Save some of the embedded images as a tree of PNG files: 200 to train on, 100 to test on."""
    from PIL import Image

    from emabench.data.images import load_dataset
    from emabench.spec import DataSpec

    data = load_dataset(DataSpec(dataset="fashion-mini", train_subset=200, test_subset=100))
    for name, split in (("train", data.train), ("test", data.test)):
        for number, label in enumerate(split.labels.tolist()):
            place = folder / name / str(label)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(split.images[number]).save(place / f"{number}.png")


def _arrays(tree: Path, place: Path) -> None:
    """Save a tree of images as MedMNIST saves its own."""
    import numpy as np
    from PIL import Image

    arrays = {}
    for part in ("train", "test"):
        files = sorted((tree / part).rglob("*.png"))
        arrays[f"{part}_images"] = np.stack([np.asarray(Image.open(file)) for file in files])
        arrays[f"{part}_labels"] = np.array([[int(file.parent.name)] for file in files], np.uint8)
    np.savez_compressed(place, **arrays)


def _shards(tree: Path, folder: Path) -> None:
    """Save a tree of images as shards: eight to train on, one to test on."""
    import io
    import tarfile

    folder.mkdir()
    for part, count in (("train", 8), ("test", 1)):
        files = sorted((tree / part).rglob("*.png"))
        for number in range(count):
            with tarfile.open(folder / f"{part}-{number:03}.tar", "w") as shard:
                for file in files[number::count]:
                    name = f"{file.parent.name}-{file.stem}"
                    shard.add(file, f"{name}.png")
                    label = tarfile.TarInfo(f"{name}.cls")
                    label.size = len(file.parent.name)
                    shard.addfile(label, io.BytesIO(file.parent.name.encode()))


def _timm_weights(folder: Path) -> None:
    """Save untrained networks as timm, MoCo and DINO would."""
    code = """
import argparse, timm, torch, safetensors.torch as s
state = timm.create_model("resnet18").state_dict()
for name in ("resnet18", "r18"):
    s.save_file(state, f"{name}.safetensors")
both = {f"module.encoder_{each}.{name}": value for each in "qk" for name, value in state.items()}
torch.save({"arch": "resnet18", "state_dict": both, "args": argparse.Namespace()}, "moco.pth.tar")
state = timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict()
student = {f"module.backbone.{name}": value for name, value in state.items()}
teacher = {f"backbone.{name}": value for name, value in state.items()}
torch.save({"student": student, "teacher": teacher}, "dino.pth")
"""
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
