"""Weights & Biases, offline: each invocation writes what is new of a run as a segment."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from typing import Any

from emabench.errors import EmabenchError, first_line
from emabench.records import JobState
from emabench.tracking._mirrored_run import MirroredRun
from emabench.tracking._tracker import Tracker, digest_of

_PROJECT = "emabench"
_BEFORE = {"step": -1, "digest": ""}


class WeightsAndBiases(Tracker):
    """Writes segments that ``wandb sync`` sends, and keeps how far each run has come.

    A segment cannot be written again, so that the first value of a step stands. The mark of a run
    moves when its values are surely in a file: a mirror that is killed may repeat the last ones.
    """

    own_place = "wandb-mirror"
    viewer = "wandb sync {place}/wandb"

    def open(self) -> None:
        """Import the package, told to stay offline, and make the folders."""
        # Its settings may come from the environment, of somebody who else works online.
        os.environ |= {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"}
        os.environ["WANDB_SILENT"] = "true"
        self._wandb = self.load("wandb")
        self._marks = self.place / "marks"
        self._marks.mkdir(parents=True, exist_ok=True)
        self.take(self.place / ".lock")
        self._open: dict[str, Any] = {}
        self._due: dict[str, dict[str, Any]] = {}

    def write(self, run: MirroredRun) -> int:
        """Append what lies above the mark of a run.

        Raises:
            EmabenchError: a segment cannot be written, or a mark cannot be read.
        """
        try:
            return self._write(run)
        except OSError as error:
            raise self.failure(error) from None
        except (self._wandb.Error, ValueError) as error:
            raise EmabenchError(
                f"W&B cannot write to {self.place}: {first_line(error)}",
                hint="choose another place with -o",
            ) from error

    def close(self) -> None:
        """Finish the segments of runs that are not over."""
        for id in list(self._open):
            self._finish(id, exit_code=0)
        super().close()

    def _write(self, run: MirroredRun) -> int:
        self._move_mark(run.id)
        mark = self._mark(run.id)
        digest = digest_of([run.settings, run.about, run.figures])
        new = [each for each in run.steps if each[0] > mark["step"]]
        if not new and mark["digest"] == digest:
            return 0
        segment = self._open.get(run.id) or self._begin(run)
        for step, epoch, values in new:
            segment.log({**values, "epoch": epoch}, step=step)
        count = sum(len(values) for _, _, values in new)
        if mark["digest"] != digest:
            segment.config.update(dict(run.settings), allow_val_change=True)
            segment.summary.update({**run.figures, **_about(run)})
            count += len(run.figures)
        self._due[run.id] = {"step": max(mark["step"], run.last_step), "digest": digest}
        if run.is_over:
            self._finish(run.id, exit_code=0 if run.record.state is JobState.DONE else 1)
        return count

    def _begin(self, run: MirroredRun) -> Any:
        self._await_free_name(run.id)
        segment = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            id=run.id,
            resume="allow",
            reinit="create_new",
            name=run.label,
            group=run.group,
            tags=list(run.record.studies),
            dir=str(self.place),
            settings=self._wandb.Settings(
                mode="offline",
                silent=True,
                console="off",
                # What it would find out by itself is about the mirror, and not about the run.
                disable_git=True,
                disable_code=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        self._open[run.id] = segment
        return segment

    def _await_free_name(self, id: str) -> None:
        """Wait until a segment that begins now has a name of its own: it holds the second."""
        while list(self.place.glob(f"wandb/*-run-{datetime.now():%Y%m%d_%H%M%S}-{id}")):
            time.sleep(0.1)

    def _finish(self, id: str, *, exit_code: int) -> None:
        self._open.pop(id).finish(exit_code=exit_code)  # waits until all is in the file
        self._move_mark(id)

    def _mark(self, id: str) -> dict[str, Any]:
        file = self._marks / f"{id}.json"
        return dict(json.loads(file.read_text("utf-8"))) if file.exists() else dict(_BEFORE)

    def _move_mark(self, id: str) -> None:
        """Say that what was written of a run since it was last looked at is in a file."""
        due = self._due.pop(id, None)
        if due is not None:
            draft = self._marks / f".{id}.tmp"
            draft.write_text(json.dumps(due), "utf-8")
            draft.replace(self._marks / f"{id}.json")


def _about(run: MirroredRun) -> dict[str, str]:
    return {f"emabench/{name}": text for name, text in run.about.items()}
