"""TensorBoard: one event file a run, whose name and bytes follow from the store alone."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emabench.records import JobState
from emabench.spec.experiment import to_yaml
from emabench.table import visible
from emabench.tracking._mirrored_run import MirroredRun
from emabench.tracking._tracker import Tracker

FILE = "events.out.tfevents.emabench"
"""The name of every event file, each in the folder of its run."""


class TensorBoard(Tracker):
    """Appends to the file of a run as long as it begins like what the store says; else it is new.

    A file that a kill cut off still begins so, and one that holds steps which a resumed attempt
    overwrote with other values does not. Values are float32, as TensorBoard has them.
    """

    own_place = "tensorboard"
    viewer = "tensorboard --logdir {place}"

    def open(self) -> None:
        """Import the writers of records, and make the folder."""
        self._records = self.load("tensorboard.summary.writer.record_writer")
        self._events = self.load("tensorboard.compat.proto.event_pb2")
        self._summaries = self.load("tensorboard.compat.proto.summary_pb2")
        self._text = self.load("tensorboard.plugins.text.summary_v2")
        self._hparams = self.load("tensorboard.plugins.hparams.plugin_data_pb2")
        self._hparams_api = self.load("tensorboard.plugins.hparams.api_pb2")
        self._hparams_metadata = self.load("tensorboard.plugins.hparams.metadata")
        self.place.mkdir(parents=True, exist_ok=True)
        self.take(self.place / ".lock")

    def write(self, run: MirroredRun) -> int:
        """Make the file of a run what the store says.

        Raises:
            EmabenchError: the file cannot be written.
        """
        file = self.place / re.sub(r"[^\w.+=-]+", "-", run.label) / FILE
        content, ends = self._content(run)
        try:
            known = file.read_bytes() if file.exists() else b""
            if known and content.startswith(known):
                kept = len(known)
                _append(file, content[kept:])
            else:
                kept = 0
                _replace(file, content)
        except OSError as error:
            raise self.failure(error) from None
        return sum(end > kept for end in ends)

    def _content(self, run: MirroredRun) -> tuple[bytes, list[int]]:
        """Return the file of a run, and where each of its values ends."""
        content, ends = bytearray(), []
        for event, is_value in self._all_events(run):
            content += self._framed(event)
            if is_value:
                ends.append(len(content))
        return bytes(content), ends

    def _all_events(self, run: MirroredRun) -> Iterator[tuple[Any, bool]]:
        """Yield the events of a run, and whether each is a value; what may change comes last."""
        moment = run.begun_at.timestamp()

        def event(step: int = 0, **what: Any) -> Any:
            return self._events.Event(wall_time=moment, step=step, **what)

        yield event(file_version="brain.Event:2"), False
        yield event(summary=self._session_start(run)), False
        spec = f"```yaml\n{visible(to_yaml(run.record.spec))}```"
        yield event(summary=self._text.text_pb("spec", spec)), False
        for step, _, values in run.steps:
            for name, value in values.items():
                yield event(step, summary=self._scalar(name, value)), True
        for name, value in run.figures.items():
            yield event(run.last_step, summary=self._scalar(name, value)), True
        if run.is_over:
            about = "\n\n".join(f"{name}: `{text}`" for name, text in run.about.items())
            yield event(run.last_step, summary=self._text.text_pb("about", about)), False
            yield event(run.last_step, summary=self._session_end(run)), False

    def _scalar(self, name: str, value: float) -> Any:
        known = self._summaries.Summary.Value(tag=name, simple_value=value)
        return self._summaries.Summary(value=[known])

    def _session_start(self, run: MirroredRun) -> Any:
        start = self._hparams.SessionStartInfo(
            group_name=run.group, start_time_secs=run.begun_at.timestamp()
        )
        for path, value in run.settings.items():
            if isinstance(value, bool):
                start.hparams[path].bool_value = value
            elif isinstance(value, str):
                start.hparams[path].string_value = value
            else:
                start.hparams[path].number_value = value
        data = self._hparams.HParamsPluginData(session_start_info=start)
        return self._session(self._hparams_metadata.SESSION_START_INFO_TAG, data)

    def _session_end(self, run: MirroredRun) -> Any:
        done = run.record.state is JobState.DONE
        end = self._hparams.SessionEndInfo(
            status=self._hparams_api.STATUS_SUCCESS if done else self._hparams_api.STATUS_FAILURE,
            end_time_secs=run.ended_at.timestamp(),
        )
        data = self._hparams.HParamsPluginData(session_end_info=end)
        return self._session(self._hparams_metadata.SESSION_END_INFO_TAG, data)

    def _session(self, tag: str, data: Any) -> Any:
        # Not by its create_summary_metadata, of which no order of fields is certain.
        data.version = self._hparams_metadata.PLUGIN_DATA_VERSION
        plugin = self._summaries.SummaryMetadata.PluginData(
            plugin_name=self._hparams_metadata.PLUGIN_NAME,
            content=data.SerializeToString(deterministic=True),
        )
        value = self._summaries.Summary.Value(
            tag=tag,
            metadata=self._summaries.SummaryMetadata(plugin_data=plugin),
            tensor=self._hparams_metadata.NULL_TENSOR,
        )
        return self._summaries.Summary(value=[value])

    def _framed(self, event: Any) -> bytes:
        parts: list[bytes] = []
        writer = self._records.RecordWriter(_Parts(parts))
        writer.write(event.SerializeToString(deterministic=True))
        return b"".join(parts)


class _Parts:
    """A file for ``RecordWriter`` that keeps what is written."""

    def __init__(self, parts: list[bytes]) -> None:
        self.write = parts.append


def _append(file: Path, more: bytes) -> None:
    if more:
        with file.open("ab") as stream:
            stream.write(more)


def _replace(file: Path, content: bytes) -> None:
    file.parent.mkdir(exist_ok=True)
    draft = file.with_name(f".{secrets.token_hex(4)}.tmp")  # no name that TensorBoard would read
    try:
        draft.write_bytes(content)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
