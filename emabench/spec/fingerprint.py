"""The canonical identity of a resolved spec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from emabench.spec.revisions import counted_identities


def fingerprint(value: Any) -> str:
    """Return 32 hex digits that identify nested plain values.

    The order of keys does not matter; every value does, so that callers pass the complete
    resolved spec, defaults included.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def run_fingerprints(fields: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    """Return those of a run before and after its evaluation was mended; the last is that of today.

    Args:
        fields: of the resolved experiment.
        identity: device kind, precision, threads, the content of the data, and the changes of
            numbers that concern the run.
    """
    counts = what_counts(fields)
    return [
        fingerprint({"spec": counts, "identity": counted})
        for counted in counted_identities(identity)
    ]


def without_places(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides the figures of an evaluation: no places, no floors."""
    copied: dict[str, Any] = json.loads(json.dumps(evaluation))
    for data in (copied.get("data") or {}, *copied.get("also", ())):
        _forget_place(data)
    copied.pop("floors", None)
    return copied


def what_counts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what changes no result: where things lie, and how often a state is saved.

    The identity has the content of data and given weights, and the device's kind. What was added to
    the language of specs later, and is off, is left out too, so that the same run keeps its
    fingerprint.
    """
    copied: dict[str, Any] = json.loads(json.dumps(fields))
    inner = copied["pretrain"]
    _forget_place(inner["data"])
    copied["evaluation"] = without_places(copied["evaluation"])
    for group, name in ((copied, "profile"), (inner, "compile")):
        if not group.get(name):
            group.pop(name, None)
    inner.get("extends", {}).pop("run", None)
    if inner.get("devices") == 1:
        del inner["devices"]
    saving = ("checkpoint_epochs", "checkpoint_steps", "checkpoint_minutes")
    for name in ("device", "init", *saving):
        inner.pop(name, None)
    inner["ema"].pop("teacher", None)
    return copied


def _forget_place(data: dict[str, Any]) -> None:
    for name in ("data_dir", "image_column", "label_column"):
        data.pop(name, None)
