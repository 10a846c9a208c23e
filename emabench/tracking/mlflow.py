"""MLflow: runs in a SQLite file, found again by a tag that holds the id of the run."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import sqlite3
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from emabench.errors import EmabenchError, UsageError, first_line
from emabench.records import JobState
from emabench.tracking._mirrored_run import MirroredRun
from emabench.tracking._tracker import Tracker, digest_of

RUN_TAG = "emabench.run"
"""Holds the id of the run in the store."""
_DIGEST_TAG = "emabench.digest"
"""Holds the digest of all that was written; set when all of it is."""
_EXPERIMENT = "emabench"
_STATES = {
    JobState.DONE: "FINISHED",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "KILLED",
    JobState.QUEUED: "SCHEDULED",
    JobState.RUNNING: "RUNNING",
}
_LONGEST = 6000
"""Letters of a parameter that MLflow takes; of a tag it takes more."""
_MOST = {"metrics": 1000, "params": 100, "tags": 100}
"""What MLflow takes at once."""

_Value = tuple[str, int, str]
"""A value that MLflow holds: name, step, and the number as text, which is equal for NaN too."""


class MLflow(Tracker):
    """Writes what a run lacks; one that holds what the store no longer says is made anew.

    MLflow keeps two values of one step beside each other and deletes neither, so that a step which
    a resumed attempt overwrote takes another MLflow run; the old one goes into MLflow's trash.
    """

    own_place = "mlflow.db"
    viewer = "mlflow server --backend-store-uri sqlite:///{place}"

    def open(self) -> None:
        """Import the client, make the file with its tables, and find the experiment."""
        self._check_place()
        # It would tell its makers of every call, and its tracking server might be elsewhere.
        os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its own use of other packages
            self._entities = self.load("mlflow.entities")
            tracking = self.load("mlflow.tracking")
            self.place.parent.mkdir(parents=True, exist_ok=True)
            self.take(self.place.with_name(f".{self.place.name}.lock"))
            self.place.open("ab").close()  # what cannot be written MLflow tries for minutes
            try:
                uri = f"sqlite:///{self.place.absolute()}"
                self._client = tracking.MlflowClient(tracking_uri=uri, registry_uri=uri)
                self._experiment = self._find_experiment()
            except Exception as error:
                raise self._refusal(error) from error

    def write(self, run: MirroredRun) -> int:
        """Write what MLflow lacks of a run.

        Raises:
            EmabenchError: the file cannot be written.
        """
        try:
            return self._write(run)
        except Exception as error:
            raise self._refusal(error) from error

    def _write(self, run: MirroredRun) -> int:
        wanted, params, tags = _values(run), _params(run), _tags(run)
        digest = digest_of([sorted(wanted), params, tags])
        known = self._find_run(run)
        if known is not None and known.data.tags.get(_DIGEST_TAG) == digest:
            return 0
        there = set() if known is None else self._values_of(known)
        if known is not None and (there - wanted or known.data.params.items() - params.items()):
            self._client.delete_run(known.info.run_id)
            known, there = None, set()
        if known is None:
            known = self._new_run(run)
        new = sorted(wanted - there)
        id, moment = known.info.run_id, _milliseconds(run.begun_at)
        self._log(
            id,
            metrics=[
                self._entities.Metric(name, float(value), moment, step) for name, step, value in new
            ],
            params=[self._entities.Param(name, value) for name, value in params.items()],
            tags=[self._entities.RunTag(name, value) for name, value in tags.items()],
        )
        status = _STATES[run.record.state]
        if run.is_over:
            self._client.set_terminated(id, status, _milliseconds(run.ended_at))
        else:
            self._client.update_run(id, status=status)
        self._client.set_tag(id, _DIGEST_TAG, digest)
        return len(new)

    def _check_place(self) -> None:
        """Refuse what MLflow would add its tables to, or try to open for minutes.

        Raises:
            UsageError: a store is there.
            EmabenchError: a file of another kind is there.
            IsADirectoryError: a folder is there.
        """
        if self.place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not self.place.exists():
            return
        with contextlib.closing(sqlite3.connect(self.place)) as database:
            try:
                found = database.execute("SELECT name FROM sqlite_master").fetchall()
            except sqlite3.DatabaseError as error:
                raise self._refusal(error) from None
        if {("attempts",), ("costs",)} <= set(found):
            raise UsageError(
                f"{self.place} is a store of emabench", hint="name another file with -o"
            )

    def _find_experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        known = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if known is None else known.experiment_id)

    def _find_run(self, run: MirroredRun) -> Any:
        """Return the newest MLflow run of a run that is not in the trash; None if there is none."""
        condition = f"tags.`{RUN_TAG}` = '{run.id}'"
        found = self._client.search_runs([self._experiment], condition, max_results=1)
        return found[0] if found else None

    def _new_run(self, run: MirroredRun) -> Any:
        # With its tag at once: one without would never be found again.
        return self._client.create_run(
            self._experiment,
            start_time=_milliseconds(run.begun_at),
            tags={RUN_TAG: run.id},
            run_name=run.label,
        )

    def _values_of(self, known: Any) -> set[_Value]:
        return {
            (each.key, each.step, repr(each.value))
            for name in known.data.metrics
            for each in self._client.get_metric_history(known.info.run_id, name)
        }

    def _log(self, id: str, **values: Sequence[Any]) -> None:
        for kind, all_of_kind in values.items():
            most = _MOST[kind]
            for start in range(0, len(all_of_kind), most):
                self._client.log_batch(id, **{kind: all_of_kind[start : start + most]})

    def _refusal(self, error: Exception) -> EmabenchError:
        if isinstance(error, EmabenchError):
            return error
        return EmabenchError(
            f"MLflow cannot write to {self.place}: {first_line(error)}",
            hint="choose another file with -o",
        )


def _values(run: MirroredRun) -> set[_Value]:
    """Return the values of a run as MLflow holds them: nothing is infinite there."""
    curves = (
        (name, step, value) for step, _, values in run.steps for name, value in values.items()
    )
    figures = ((name, run.last_step, value) for name, value in run.figures.items())
    most = sys.float_info.max
    return {
        (_name(name), step, repr(value if math.isnan(value) else max(-most, min(most, value))))
        for name, step, value in (*curves, *figures)
    }


def _params(run: MirroredRun) -> Mapping[str, str]:
    return {_name(path): str(value)[:_LONGEST] for path, value in run.settings.items()}


def _tags(run: MirroredRun) -> Mapping[str, str]:
    return {f"emabench.{name}": text[:_LONGEST] for name, text in run.about.items()}


def _name(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name)


def _milliseconds(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
