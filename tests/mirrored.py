"""What the files of trackers hold, read with the trackers' own readers."""

from __future__ import annotations

from collections import defaultdict
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
            self.figures[name] = value
        else:
            self.curves[name, step].append(value)


def read_tensorboard(place: Path) -> dict[str, Held]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.plugins.hparams import metadata
    from tensorboard.util.tensor_util import make_ndarray

    found = {}
    for folder in place.iterdir():
        if not folder.is_dir():
            continue
        (file,) = folder.iterdir()
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


READERS = {"tensorboard": read_tensorboard}
"""By tracker: reads its place, and returns what it holds of each run by id."""


def kept(tracker: str, value: float) -> float:
    """Return a number as a tracker can hold it."""
    return float(np.float32(value)) if tracker == "tensorboard" else value
