"""Reading a bundle of runs: looked at as a whole first, then into a store in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from sqlalchemy import exc, func, insert, select
from sqlalchemy.orm import Session

from emabench.errors import DataError
from emabench.store.runs.points import write_points
from emabench.store.runs.studies import add_to_studies
from emabench.store.schema import tables
from emabench.store.schema.tables import Attempt, Cost, EnvironmentRow, Experiment, Job, Result
from emabench.store.transfer.bundle import FORMAT, VERSION
from emabench.store.transfer.bundle_values import run_values

_NO_BUNDLE = "this is no bundle of runs"


def runs_of(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the runs of a bundle, as values of columns, each with the number of its line.

    Raises:
        DataError: a line is damaged, lines are missing, or a newer emabench wrote them; the error
            names the line.
    """
    number, count, expected = 0, 0, 0
    for number, line in enumerate(lines, start=1):
        if number == 1:
            expected = _announced(line)
            continue
        try:
            run = run_values(json.loads(line, parse_constant=_refuse))
        except (ValueError, RecursionError) as error:
            said = "it is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            raise _damaged(number, said) from None
        count += 1
        yield number, run
    if number == 0:
        raise DataError(_NO_BUNDLE, hint="emabench export writes one")
    if count != expected:
        raise DataError(
            f"the bundle ends after line {number}, with {count} of its {expected} runs",
            hint="nothing was imported; copy it again",
        )


def insert_runs(
    session: Session, runs: Iterable[tuple[int, Mapping[str, Any]]]
) -> tuple[list[str], list[str]]:
    """Insert the runs that the store does not hold yet.

    Args:
        session: a writing session; all or nothing is its transaction's business.
        runs: as ``runs_of`` gives them.

    Returns:
        Ids of the runs that were inserted, and of those that were there.

    Raises:
        DataError: a run contradicts what the store holds.
    """
    inserted: list[str] = []
    existing: list[str] = []
    for number, run in runs:
        try:
            new = _insert_once(session, run)
        except exc.IntegrityError:
            # On a server another process inserted the run, its repeat or its environment just now.
            try:
                new = _insert_once(session, run)
            except exc.IntegrityError as error:
                raise _damaged(number, str(error.orig).splitlines()[0]) from error
        except exc.DataError as error:
            raise _damaged(number, str(error.orig).splitlines()[0]) from error
        (inserted if new else existing).append(run["jobs"][0]["job"]["id"])
        session.expunge_all()
    return inserted, existing


def _announced(line: str) -> int:
    """Return the number of runs that the first line of a bundle announces."""
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise DataError(_NO_BUNDLE, hint="emabench export writes one")
    if head.get("version") != VERSION or str(head.get("schema")) > tables.SCHEMA_REVISION:
        raise DataError(
            f"the bundle was written by emabench {head.get('emabench')}, in version "
            f"{head.get('version')} for schema {head.get('schema')}; "
            f"this one reads version {VERSION} up to schema {tables.SCHEMA_REVISION}",
            hint="pip install --upgrade emabench",
        )
    runs = head.get("runs")
    if not isinstance(runs, int):
        raise _damaged(1, "it does not say how many runs there are")
    return runs


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _damaged(number: int, said: str) -> DataError:
    return DataError(
        f"line {number} of the bundle is damaged: {said}",
        hint="nothing was imported; copy it again, or export the runs again",
    )


def _insert_once(session: Session, run: Mapping[str, Any]) -> bool:
    """Insert a run unless it is there; return whether it was not. It joins its studies anyway."""
    known = session.get(Job, run["jobs"][0]["job"]["id"])
    if known is not None:
        with session.begin_nested():
            add_to_studies(session, known.experiment_id, run["studies"])
        return False
    with session.begin_nested():
        experiment = Experiment(**run["run"])
        experiment.repeat = _free_repeat(session, experiment.fingerprint, experiment.repeat)
        session.add(experiment)
        session.flush()
        for values in run["jobs"]:
            _insert_job(session, experiment.id, values)
        add_to_studies(session, experiment.id, run["studies"])
    return True


def _free_repeat(session: Session, fingerprint: str, wanted: int) -> int:
    """Return the number of the repeat, or the next one if the store has another run of it."""
    repeats = select(Experiment.repeat).where(Experiment.fingerprint == fingerprint)
    if session.scalar(repeats.where(Experiment.repeat == wanted)) is None:
        return wanted
    newest = select(func.max(Experiment.repeat)).where(Experiment.fingerprint == fingerprint)
    return session.scalars(newest).one() + 1


def _insert_job(session: Session, experiment_id: int, values: Mapping[str, Any]) -> None:
    job = Job(experiment_id=experiment_id, **values["job"])
    session.add(job)
    session.flush()
    for each in values["attempts"]:
        attempt = Attempt(
            job_id=job.id,
            environment_id=_environment_id(session, each["environment"]),
            **each["attempt"],
        )
        session.add(attempt)
        session.flush()
        if each["cost"] is not None:
            session.add(Cost(attempt_id=attempt.id, **each["cost"]))
    write_points(session, job.id, values["metrics"])
    if values["results"]:
        rows = [{**row, "job_id": job.id} for row in values["results"]]
        session.execute(insert(Result), rows)
    session.flush()


def _environment_id(session: Session, values: Mapping[str, Any] | None) -> int | None:
    """Return the id of the row of an environment; inserts it where it is new."""
    if values is None:
        return None
    known = select(EnvironmentRow.id).where(EnvironmentRow.hash == values["hash"])
    # So that nobody deletes it now.
    found = session.scalar(known.with_for_update(read=True, key_share=True))
    if found is not None:
        return found
    row = EnvironmentRow(**values)
    session.add(row)
    session.flush()
    return row.id
