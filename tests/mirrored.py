"""What the files of trackers hold, read with the trackers' own readers."""

from __future__ import annotations

import json
import math
import struct
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Held:
    """What a tracker holds of a run: every value of each metric at each step, and figures."""

    curves: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    figures: dict[str, float] = field(default_factory=dict)
    group: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    state: str = ""

    def add(self, name: str, step: int, value: float) -> None:
        if name.startswith(("result/", "cost/")):
            assert name not in self.figures
            self.figures[name] = float(value)
        else:
            self.curves[name, step].append(float(value))


def read_tensorboard(place: Path) -> dict[str, Held]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.plugins.hparams import metadata
    from tensorboard.util.tensor_util import make_ndarray

    found = {}
    for folder in place.iterdir():
        if not folder.is_dir():
            continue
        (file,) = folder.iterdir()  # nothing else is left
        held = found[folder.name.rpartition("-")[2]] = Held()
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                content = value.metadata.plugin_data.content
                if value.tag == metadata.SESSION_START_INFO_TAG:
                    start = metadata.parse_session_start_info_plugin_data(content)
                    held.group = start.group_name
                    held.settings = {
                        path: getattr(each, each.WhichOneof("kind"))
                        for path, each in start.hparams.items()
                    }
                elif value.tag == metadata.SESSION_END_INFO_TAG:
                    end = metadata.parse_session_end_info_plugin_data(content)
                    held.state = {1: "done", 2: "failed"}[end.status]
                elif value.tag not in ("spec", "about"):
                    held.add(value.tag, event.step, make_ndarray(value.tensor).item())
    return found


def read_mlflow(place: Path) -> dict[str, Held]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own
        from mlflow.tracking import MlflowClient

        return _read_mlflow(MlflowClient(f"sqlite:///{place.absolute()}"))


def _read_mlflow(client: Any) -> dict[str, Held]:
    found = {}
    for run in client.search_runs([client.get_experiment_by_name("emabench").experiment_id]):
        tags = run.data.tags
        assert tags["emabench.run"] not in found
        held = found[tags["emabench.run"]] = Held(
            group=tags["emabench.group"], settings=run.data.params, state=tags["emabench.state"]
        )
        statuses = {"done": "FINISHED", "failed": "FAILED", "running": "RUNNING"}
        assert run.info.status == statuses.get(held.state, run.info.status)
        for name in run.data.metrics:
            for each in client.get_metric_history(run.info.run_id, name):
                held.add(name, each.step, each.value)
    return found


def read_wandb(place: Path) -> dict[str, Held]:
    found: dict[str, Held] = defaultdict(Held)
    for file in sorted(place.glob("wandb/offline-run-*/run-*.wandb")):
        held = found[file.stem.removeprefix("run-")]
        for record in _records_of_wandb(file.read_bytes()):
            if record.HasField("run"):
                assert (record.run.project, record.run.resume) == ("emabench", True)
                held.group = record.run.run_group
            held.settings |= {e.key: json.loads(e.value_json) for e in record.config.update}
            for each in record.summary.update:
                name = each.nested_key[0] if each.nested_key else each.key
                if name.startswith(("result/", "cost/")):
                    held.figures[name] = float(json.loads(each.value_json))
                elif name == "emabench/state":
                    held.state = json.loads(each.value_json)
            row = {e.nested_key[0]: json.loads(e.value_json) for e in record.history.item}
            for name in row.keys() - {"_step", "_timestamp", "_runtime", "epoch"}:
                held.add(name, row["_step"], row[name])
    return found


def _records_of_wandb(data: bytes) -> Iterator[Any]:
    """Yield the records of a segment: LevelDB's log, in blocks of 32 KiB, after a header."""
    from wandb.proto.wandb_internal_pb2 import Record

    assert data[:4] == b":W&B"
    place, whole = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        if kind == 0 or place + 7 + length > len(data):  # a kill cut it off
            return
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b""


READERS = {"mlflow": read_mlflow, "tensorboard": read_tensorboard, "wandb": read_wandb}
"""By tracker: reads its place, and returns what it holds of each run by id."""


def kept(tracker: str, value: float) -> float:
    """Return a number as a tracker can hold it."""
    if tracker == "tensorboard":
        return float(np.float32(value))
    if tracker == "mlflow" and math.isinf(value):
        return math.copysign(sys.float_info.max, value)
    return float(value)
