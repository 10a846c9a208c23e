"""Arms: runs that agree on everything except the seed, and the fields in which arms differ."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emabench.extensions.plugin_reference import PLUGINS, PluginKind, references_in
from emabench.records import RunRecord
from emabench.spec.paths import ADDED_LATER
from emabench.spec.pretrain import EXTENDS
from emabench.spec.revisions import EVALUATION, PRETRAINING, names_in
from emabench.table import show_value

METHOD = "pretrain.method.name"
SCOPE = "pretrain.ema.scope"
SEED = "pretrain.seed"
TARGET_GRADIENT = "pretrain.ema.target_gradient"
IDENTITY = ("device_kind", "precision", "threads", "data")
"""Names of the identity of a run: they stand beside the field paths, and have no dots."""
TOLD_BY_IDENTITY = {
    "device_kind": ("pretrain.device",),
    "precision": ("pretrain.precision",),
    "threads": ("pretrain.threads",),
    "data": ("pretrain.data.data_dir",),
    "evaluation_data": ("evaluation.data.data_dir",),
    "init": ("pretrain.init",),
    "teacher": ("pretrain.ema.teacher",),
}
"""Fields that only say how the identity was chosen: ``auto`` and ``cpu`` may be the same device."""
_OF_A_SEED = tuple(
    f"pretrain.extends.{name}" for name in ("run", "fingerprint", "training", "checkpoint")
)
"""Fields that tell which of the seeds of an arm a run extends."""
_PLUGIN = "plugins."
"""Begins the field that holds the digest of a plugin; its kind follows."""
_BACKBONE = "pretrain.backbone.name"
_DATASET = "pretrain.data.dataset"

_Key = tuple[str, frozenset[str]]
"""What the runs of an arm have in common: their fields as text, and what changed their numbers."""
_METHOD_OPTIONS = "pretrain.method.options."
_LONGEST = 24
"""Letters of a value for which a label has room; the hash of the images is longer."""
_FEW_VALUES = 4
"""Of fields that change together, so many pairs of values are written out."""


@dataclass(frozen=True)
class Arm:
    """Runs that differ only in their seed, one per seed.

    Attributes:
        fields: every field of the spec by its path, and the identity; the seed left out.
        runs: by seed, in the order of seeds.
        texts: the fields as text that is equal where they are; what is null is left out.
        label: what tells it from the arms beside it: ``projector``, ``moco full decay=0.9``.
        before: names of what changed the numbers of another arm of the same fields; its own runs
            are of before.
    """

    fields: Mapping[str, Any]
    runs: Mapping[int, RunRecord]
    texts: Mapping[str, str] = field(repr=False)
    label: str = ""
    before: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.fields.get(METHOD))

    @property
    def scope(self) -> str:
        """The EMA scope in its canonical spelling."""
        return str(self.fields.get(SCOPE))


def fields_of(run: RunRecord) -> dict[str, Any]:
    """Return every field of a run's spec by its path, and its identity.

    What changed its numbers is no field: nobody chose it.
    """
    fields = {**ADDED_LATER, **flat_fields(run.spec)}
    fields.update(
        (name, value)
        for name, value in run.identity.items()
        if name not in (PRETRAINING, EVALUATION, PLUGINS, EXTENDS)
    )
    for reference in references_in(run.identity):
        field = f"{_PLUGIN}{reference.kind}"
        fields[field] = " ".join(filter(None, (fields.get(field), reference.digest)))
    for name in run.identity:
        for path in TOLD_BY_IDENTITY.get(name, ()):
            fields.pop(path, None)
    fields.pop("evaluation.floors", None)  # figures beside the others, which it leaves as they are
    for path in _OF_A_SEED:
        fields.pop(path, None)
    return fields


def image_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of a run, or texts of an arm, that say on which images it was tested."""
    where, elsewhere = ("pretrain.data.", "evaluation.data."), (".data_dir", ".train_subset")
    return {
        path: value
        for path, value in fields.items()
        if value is not None
        and (
            path in ("data", "evaluation_data")
            or (path.startswith(where) and not path.endswith(elsewhere))
        )
    }


def flat_fields(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested fields by their dotted paths."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        # A dict is what JSON gives; asking whether it is a Mapping takes ten times as long.
        if isinstance(value, dict):
            flat.update(flat_fields(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def group(
    runs: Iterable[RunRecord], fields: Callable[[RunRecord], dict[str, Any]] = fields_of
) -> list[Arm]:
    """Put runs into arms, in the order of their first run; of one seed the newest run counts.

    Runs of before a fix that changed their numbers stand in an arm of their own.

    Args:
        runs: newest last.
        fields: what tells the arm of a run, and its seed.
    """
    known: dict[_Key, dict[str, Any]] = {}
    # Flattening and sorting the fields of each run takes longest, and all seeds of an arm tell the
    # same; one arm may have several of these texts, such as those of older specs.
    by_text: dict[str, tuple[_Key, dict[str, Any]]] = {}
    members: dict[_Key, dict[int, RunRecord]] = defaultdict(dict)
    for run in runs:
        seed, text = _without_seed(run)
        if text not in by_text:
            found = fields(run)
            found.pop(SEED, None)
            revisions = frozenset(names_in(run.identity, PRETRAINING))
            by_text[text] = (_as_text(found), revisions), found
        key, known[key] = by_text[text]
        members[key][seed] = run
    newest: dict[str, frozenset[str]] = defaultdict(frozenset)
    for fields_text, revisions in members:
        newest[fields_text] |= revisions
    return [
        Arm(
            known[key],
            dict(sorted(seeds.items())),
            {path: _as_text(value) for path, value in known[key].items() if value is not None},
            before=tuple(sorted(newest[key[0]] - key[1])),
        )
        for key, seeds in members.items()
    ]


def arm_name(run: RunRecord) -> str:
    """Return a name of the arm of a run, whatever stands beside it: ``moco-projector-1f2e3d4c``."""
    fields = {name: value for name, value in fields_of(run).items() if name != SEED}
    told = _as_text([fields, sorted(names_in(run.identity, PRETRAINING))])
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    return f"{fields.get(METHOD)}-{fields.get(SCOPE)}-{digest}"


def disagreement(first: Arm, second: Arm) -> set[str]:
    """Return the fields in which two arms differ, method and scope included."""
    return {path for path, _ in first.texts.items() ^ second.texts.items()}


def differing_fields(arms: Sequence[Arm]) -> list[str]:
    """Return the fields in which arms differ, beside method and scope.

    An option of the method counts only where it differs among arms of one method, and
    ``target_gradient`` only among arms of one method and scope: elsewhere the method or the scope
    tells it.
    """
    paths = dict.fromkeys(path for arm in arms for path in arm.fields)
    return [path for path in paths if path not in (METHOD, SCOPE) and _open_groups(arms, path)]


def told_by_others(arms: Sequence[Arm], differing: Sequence[str]) -> dict[str, str]:
    """Return the fields that always change together with another, and with which.

    Of such fields a label needs only one: that with the shortest words.

    Args:
        arms: all that are shown beside each other.
        differing: see ``differing_fields``.
    """
    patterns: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for path in differing:
        if any(_group(arm, path) for arm in arms):
            continue
        texts = [arm.texts.get(path, "") for arm in arms]
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        patterns[tuple(places[text] for text in texts)].append(path)
    found: dict[str, str] = {}
    for together in patterns.values():
        named = min(together, key=lambda path: max(len(_in_label(arm, path)) for arm in arms))
        found |= {path: named for path in together if path != named}
    return found


def arm_labels(
    arms: Sequence[Arm], differing: Sequence[str], *, with_scope: bool = True
) -> list[str]:
    """Return method and scope of every arm, as far as needed, and the other fields that differ.

    A field that the rest of the label tells is left out: an option that all arms of the method
    share, or what always changes with another field. So is one that is not set, or null. Where that
    leaves two arms with one label, theirs have whole values and paths, and what is null.

    Args:
        arms: all that are shown beside each other.
        differing: see ``differing_fields``.
        with_scope: leave out the scope of methods, which the words around tell, by False.
    """
    labels = _labels(arms, differing, with_scope=with_scope, whole=False)
    twice = {label for label, count in Counter(labels).items() if count > 1}
    if not twice:
        return labels
    whole = _labels(arms, differing, with_scope=with_scope, whole=True)
    return [long if label in twice else label for label, long in zip(labels, whole, strict=True)]


def _labels(
    arms: Sequence[Arm], differing: Sequence[str], *, with_scope: bool, whole: bool
) -> list[str]:
    with_method = len({arm.method for arm in arms}) > 1
    told = told_by_others(arms, differing)
    named = {path: _open_groups(arms, path) for path in differing if path not in told}
    labels = []
    for arm in arms:
        parts = [arm.method] if with_method else []
        if with_scope or not parts:
            parts.append(arm.scope)
        parts += [
            _in_full(arm, path) if whole else _in_label(arm, path)
            for path, groups in named.items()
            if (whole or arm.fields.get(path) is not None) and _group(arm, path) in groups
        ]
        parts += [f"before {name}" for name in arm.before]
        labels.append(" ".join(parts))
    return labels


def fields_together(arms: Sequence[Arm], differing: Sequence[str]) -> list[str]:
    """Say of the fields that labels leave out for another with which values of it they go.

    Args:
        arms: all that are shown beside each other.
        differing: see ``differing_fields``.
    """
    lines = []
    for path, named in told_by_others(arms, differing).items():
        pairs = dict.fromkeys((_in_label(arm, named), _in_label(arm, path)) for arm in arms)
        if len(pairs) <= _FEW_VALUES:
            lines.append(", ".join(f"{one} has {other}" for one, other in pairs))
        else:
            lines.append(f"{_short(path)} changes with {_short(named)}")
    return lines


def _scope_rank(scope: str) -> tuple[int, int, str]:
    """Return a key that sorts scopes by how much they average: ``none`` first, ``full`` last."""
    if scope == "none":
        return 0, 0, scope
    if scope.startswith("from:"):
        number = re.search(r"\d+$", scope)
        return 2, -int(number[0]) if number else 0, scope
    if scope == "backbone":
        return 3, 0, scope
    if scope in ("full", "encoder"):
        return 4, 0, scope
    return 1, scope.count("+"), scope


def value_rank(value: Any) -> tuple[int, float, tuple[int, int, str]]:
    """Return a key that sorts the values of a factor: numbers by size, scopes by their blocks."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (0 if value is None else 2), 0.0, _scope_rank(show_value(value))
    return 1, float(value), (0, 0, "")


def _group(arm: Arm, path: str) -> tuple[str, ...]:
    """Return what tells a field of an arm unless it differs among the arms that have it too."""
    if path.startswith((_METHOD_OPTIONS, f"{_PLUGIN}{PluginKind.METHOD}")):
        return (arm.method,)
    if path == f"{_PLUGIN}{PluginKind.BACKBONE}":
        return (str(arm.fields.get(_BACKBONE)),)
    if path == f"{_PLUGIN}{PluginKind.DATASET}":
        return (str(arm.fields.get(_DATASET)),)
    return (arm.method, arm.scope) if path == TARGET_GRADIENT else ()


def _open_groups(arms: Sequence[Arm], path: str) -> set[tuple[str, ...]]:
    """Return the groups of arms in which a field differs."""
    values: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for arm in arms:
        values[_group(arm, path)].add(arm.texts.get(path, ""))
    return {group for group, different in values.items() if len(different) > 1}


def _in_label(arm: Arm, path: str) -> str:
    value = show_value(arm.fields.get(path))
    short = value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
    return f"{_short(path)}={short}"


def _in_full(arm: Arm, path: str) -> str:
    return f"{path.removeprefix('pretrain.')}={show_value(arm.fields.get(path))}"


def _short(path: str) -> str:
    return path.rpartition(".")[2]


def _without_seed(run: RunRecord) -> tuple[int, str]:
    """Return the seed of a run, and all else that can tell its arm as text, in any order."""
    pretrain = dict(run.spec.get("pretrain") or {})
    seed = pretrain.pop("seed", 0)
    commit = None if run.environment is None else run.environment.commit
    told = [{**run.spec, "pretrain": pretrain}, run.identity, run.name, commit]
    return seed, json.dumps(told, default=str)


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
