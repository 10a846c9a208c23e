"""What the shell proposes for a value. It shall answer at once: nothing slow is imported here.

SQLAlchemy alone takes longer than a key press may, so that the ids and tags of a store are read
without it, and of a store in a file only. Whatever goes wrong proposes nothing. Typer leaves out
what does not begin as the value that is being typed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from emabench.records import COST_READINGS, RUN_LABELS, USUAL_RESULTS
from emabench.table import counted, visible

PACKAGE = Path(__file__).parents[2]
_CUTS = {
    "vit_large": ("block", 24),
    "vit_": ("block", 12),
    "deit": ("block", 12),
    "efficientnet_b": ("stage", 7),
    "mobilenetv2": ("stage", 7),
    "mobilenetv3_small": ("stage", 6),
    "mobilenetv3": ("stage", 7),
    "convnext": ("stage", 4),
    "regnet": ("stage", 4),
    "swin_": ("stage", 4),
    "densenet": ("", 0),
    "pixels": ("", 0),
    "": ("layer", 4),
}
"""By the beginning of a backbone's name, how its blocks are called and how many follow the stem.

A name that is not known is most often that of a ResNet."""
_BACKBONES = (
    "small-resnet",
    "tiny-resnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "deit_tiny_patch16_224",
    "convnext_tiny",
    "efficientnet_b0",
    "mobilenetv3_small_100",
    "regnety_002",
    "swin_tiny_patch4_window7_224",
)
_FIELDS = (
    "method",
    "ema_scope",
    "backbone",
    "dataset",
    "data_dir",
    "epochs",
    "batch_size",
    "lr",
    "seed",
    "device",
    "precision",
    "ema.decay",
)
"""Some of the fields of a spec: those that have flags, and the decay."""
_NEWEST = 50
"""Runs that are proposed."""
_PATIENCE = 0.2
"""Seconds to wait for a store that is locked."""
_RUNS = """
SELECT jobs.id, coalesce(experiments.name, ''), jobs.state
FROM jobs JOIN experiments ON experiments.id = jobs.experiment_id
WHERE jobs.position = 0 AND jobs.id LIKE ? || '%' ORDER BY experiments.id DESC LIMIT ?
"""
_TAGS = "SELECT tag, count(*) FROM run_tags GROUP BY tag ORDER BY tag"


def complete_runs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Propose the ids of the newest runs, each with its name and state, and ``@last``."""
    rows = _rows(ctx, _RUNS, incomplete, _NEWEST)
    found = [(run, " ".join(filter(None, words))) for run, *words in rows]
    return [("@last", "the newest run"), *found]


def complete_tags(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Propose the tags of the store; of a comma list, its last part."""
    return _last_part(incomplete, _tags(ctx))


def complete_methods(incomplete: str) -> list[str]:
    """Propose the built-in methods; of a comma list, its last part."""
    return _of_list(incomplete, _files("methods", ".py"))


def complete_presets() -> list[str]:
    """Propose the presets of the package."""
    return _files("spec/presets", ".yaml")


def complete_studies() -> list[str]:
    """Propose the studies of the package."""
    return _files("studies", ".yaml")


def complete_datasets(incomplete: str) -> list[tuple[str, str]]:
    """Propose the built-in data sets; of a comma list, its last part."""
    from emabench.data.sources.catalogue import built_in_datasets

    return _last_part(incomplete, [(each.name, each.description) for each in built_in_datasets()])


def complete_metrics(incomplete: str) -> list[str]:
    """Propose the metrics that a comparison knows; of a comma list, its last part."""
    from emabench.analysis.metrics import metric_names

    return _of_list(incomplete, metric_names())


def complete_backbones(incomplete: str) -> list[str]:
    """Propose a backbone of each family, and those of the presets; there are a thousand more."""
    return _of_list(incomplete, _BACKBONES)


def complete_scopes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Propose the EMA scopes of the backbone that is named before; of a list, its last part."""
    before, comma, begun = incomplete.rpartition(",")
    blocks = [*_blocks(str(ctx.params.get("backbone") or "")), "projector"]
    joined, plus, _ = begun.rpartition("+")
    known = ["none", "projector", "full", "backbone", *blocks, *(f"from:{b}" for b in blocks[1:])]
    if plus:
        known = [f"{joined}+{block}" for block in blocks if block not in joined.split("+")]
    return [f"{before}{comma}{scope}" for scope in dict.fromkeys(known)]


def _blocks(backbone: str) -> list[str]:
    """Return the blocks of a backbone, as far as its name tells them."""
    for begin, (name, count) in _CUTS.items():
        if backbone.startswith(begin):
            stem = ["stem"] if count else []
            return [*stem, *(f"{name}{index + 1}" for index in range(count))]
    return []


def _files(folder: str, end: str) -> list[str]:
    files = (PACKAGE / folder).iterdir()
    return sorted(f.stem for f in files if f.suffix == end and f.name[0] != "_")


def _of_list(incomplete: str, names: Iterable[str]) -> list[str]:
    return [value for value, _ in _last_part(incomplete, [(name, "") for name in names])]


def complete_run_fields(incomplete: str) -> list[str]:
    """Propose what can be asked of a run by name; of a comma list, its last part."""
    known = (*_FIELDS, *RUN_LABELS, *USUAL_RESULTS, *COST_READINGS)
    return _of_list(incomplete, known)


def complete_condition(ctx: typer.Context, incomplete: str) -> list[str]:
    """Propose the names that a condition may begin with, and the tags of the store."""
    if incomplete.startswith("tag="):
        return [f"tag={tag}" for tag, _ in _tags(ctx)]
    return [f"{name}=" for name in complete_run_fields(incomplete)]


def _last_part(incomplete: str, known: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return what a comma list may become, by what its last part may be."""
    before, comma, _ = incomplete.rpartition(",")
    given = before.split(",")
    return [(f"{before}{comma}{value}", words) for value, words in known if value not in given]


def _tags(ctx: typer.Context) -> list[tuple[str, str]]:
    return [(tag, counted(int(count), "run")) for tag, count in _rows(ctx, _TAGS)]


def _rows(ctx: typer.Context, query: str, *values: object) -> list[tuple[str, ...]]:
    """Return what a store in a file says, as text that a terminal may show."""
    with contextlib.suppress(sqlite3.Error, OSError), _opened(ctx) as connection:
        rows = connection.execute(query, values).fetchall()
        return [tuple(visible(str(cell)) for cell in row) for row in rows]
    return []


@contextlib.contextmanager
def _opened(ctx: typer.Context) -> Iterator[sqlite3.Connection]:
    from emabench.cli.options.run_choice import DEFAULT_DB

    location = ctx.params.get("db") or os.environ.get("EMABENCH_DB") or DEFAULT_DB
    path = Path(str(location).removeprefix("sqlite:///")).absolute()
    with contextlib.closing(
        sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)
    ) as connection:
        yield connection
