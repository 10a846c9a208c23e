"""The schema: typed declarative tables. Rows never leave the store (see ``runs``).

::

    experiments ─< jobs ─< attempts ── costs
                    │          └────── environments (one row per distinct environment)
                    ├──< series ─< metrics  (job, name; step)
                    └──< results  (job, name)
    experiments ─< study_runs  (study, experiment)
    experiments ─< run_tags  (tag, experiment)
    study_plans, study_looks  (study): what it fixed beforehand, and who looked

Times are UTC. NULL is unknown, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from emabench.records import DEFAULT_MAX_ATTEMPTS, JobKind, JobState
from emabench.spec.version import SPEC_VERSION

SCHEMA_REVISION = "0007"
"""The newest revision under ``migrations/versions``; a test keeps the two equal."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, with its time zone also where the database keeps none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC on the way in."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Say UTC on the way out, whatever the session of a server says."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _words(kind: type[StrEnum]) -> Enum:
    """Store the members of an enum as their values, in plain text."""
    return Enum(
        kind, native_enum=False, length=16, values_callable=lambda words: [w.value for w in words]
    )


class StoreTable(DeclarativeBase):
    """The parent of all tables: fixed names for constraints, JSON for nested values."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
        list[int]: JSON,
        list[float]: JSON,
        str: Text,
        JobKind: _words(JobKind),
        JobState: _words(JobState),
    }


class Experiment(StoreTable):
    """A pretraining with its evaluation, or a separate evaluation: one row each."""

    __tablename__ = "experiments"
    __table_args__ = (UniqueConstraint("fingerprint", "repeat"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256 of spec and identity together."""
    repeat: Mapped[int]
    """0 for the first run of a fingerprint; forced repeats count up."""
    name: Mapped[str | None]
    """The label that it was given."""
    smoke: Mapped[bool]
    """Whether it only proves that the program works."""
    command: Mapped[str | None]
    """The command that repeats it."""
    spec: Mapped[dict[str, Any]]
    """The resolved experiment."""
    identity: Mapped[dict[str, Any]]
    """What its figures depend on besides the spec, such as the hash of the images."""
    warnings: Mapped[list[str]]
    """The notes that the user saw when it was planned."""
    created_at: Mapped[datetime] = mapped_column(index=True)
    """When it was planned."""
    note: Mapped[str | None]
    """What somebody wrote about it afterwards."""

    jobs: Mapped[list[Job]] = relationship(back_populates="experiment", order_by="Job.position")
    studies: Mapped[list[StudyMember]] = relationship(
        order_by="StudyMember.study", passive_deletes=True
    )
    tags: Mapped[list[RunTag]] = relationship(order_by="RunTag.tag", passive_deletes=True)


class StudyMember(StoreTable):
    """A run belongs to a study; studies share the runs that are the same in each."""

    __tablename__ = "study_runs"

    study: Mapped[str] = mapped_column(primary_key=True)
    """Name of the study."""
    experiment_id: Mapped[int] = mapped_column(
        # By the database, which knows also what another process says at the same moment.
        ForeignKey("experiments.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        index=True,
    )


LONGEST_TAG = 64
"""Letters."""


class RunTag(StoreTable):
    """A word that somebody put on a run, to find it again."""

    __tablename__ = "run_tags"

    tag: Mapped[str] = mapped_column(String(LONGEST_TAG), primary_key=True)
    """The word."""
    experiment_id: Mapped[int] = mapped_column(
        ForeignKey("experiments.id", ondelete="CASCADE"),  # as for studies
        primary_key=True,
        autoincrement=False,
        index=True,
    )


class StudyPlanRow(StoreTable):
    """What a study fixed before its first run, as ``records.StudyPlan``."""

    __tablename__ = "study_plans"

    study: Mapped[str] = mapped_column(primary_key=True)
    """Name of the study."""
    smoke: Mapped[bool] = mapped_column(primary_key=True)
    """Whether it is about smoke runs."""
    pairs: Mapped[list[int]]
    """Numbers of pairs at which it looks."""
    levels: Mapped[list[float]]
    """Of the interval at each look."""
    terms: Mapped[dict[str, Any]]
    """Metrics, margins, factor, baseline and the number of questions."""
    planned_at: Mapped[datetime]
    """When it was fixed."""
    done_before: Mapped[int]
    """Runs of the study that were done already then."""


class StudyLookRow(StoreTable):
    """A look at the runs of a study, as ``records.TakenLook``."""

    __tablename__ = "study_looks"

    id: Mapped[int] = mapped_column(primary_key=True)
    study: Mapped[str] = mapped_column(index=True)
    """Name of the study."""
    smoke: Mapped[bool]
    """Whether at smoke runs."""
    taken_at: Mapped[datetime]
    """When."""
    taken_by: Mapped[str]
    """The command."""
    pairs: Mapped[int]
    """Most pairs of any question."""
    verdicts: Mapped[dict[str, Any]]
    """By the label of the arm: ``n``, its pairs, and ``verdict``."""


class Job(StoreTable):
    """One queued unit of work."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("experiments.id"), index=True)
    position: Mapped[int]
    """Order of the jobs within their experiment."""
    kind: Mapped[JobKind]
    """What the job does."""
    state: Mapped[JobState]
    """Where it stands."""
    fingerprint: Mapped[str] = mapped_column(String(64), index=True)
    depends_on: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int]
    """Number of the newest attempt; 0 before the first."""
    failures: Mapped[int] = mapped_column(default=0)
    """Attempts that failed since somebody asked for the job; interruptions do not count."""
    max_attempts: Mapped[int] = mapped_column(default=DEFAULT_MAX_ATTEMPTS)
    """After this many failures the job is given up."""
    priority: Mapped[int] = mapped_column(default=0)
    """The highest is claimed first; then the oldest run, then the order within the run."""
    device_kind: Mapped[str | None]
    """What a worker must offer: the kind of device that the job was resolved for and, after blanks,
    the plugins that it uses; see ``needed_text``. So a worker that knows no plugins, whatever its
    version, leaves alone what needs one."""
    spec_version: Mapped[int] = mapped_column(default=SPEC_VERSION)
    """Version of the language of specs; a worker leaves jobs of a newer one alone."""
    reason: Mapped[str | None]
    """Why it failed or was cancelled."""
    created_at: Mapped[datetime]
    """When it was added."""
    queued_at: Mapped[datetime]
    """When it was last put into the queue."""

    experiment: Mapped[Experiment] = relationship(back_populates="jobs")
    attempts: Mapped[list[Attempt]] = relationship(back_populates="job", order_by="Attempt.number")
    results: Mapped[list[Result]] = relationship()

    __table_args__ = (
        # The order of the queue: a claim reads its first entries, however long the queue is.
        Index(
            "ix_jobs_queue", "state", "device_kind", priority.desc(), "experiment_id", "position"
        ),
    )


def needed_text(device_kind: str | None, plugins: Sequence[str]) -> str | None:
    """Return what ``Job.device_kind`` holds: ``cpu``, or ``cpu method:soft_simclr@1f2e…``.

    Args:
        device_kind: kind of device.
        plugins: references, sorted; none has a blank.
    """
    return device_kind and " ".join((device_kind, *plugins))


def split_needs(text: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the kind of device and the plugins that ``needed_text`` was given."""
    if text is None:
        return None, ()
    kind, *plugins = text.split(" ")
    return kind, tuple(plugins)


PLACE_MARK = "#"
"""Ends the name of a host where a mark of its boot and PID namespace follows; no name has one."""


def host_name(place: str) -> str:
    """Return the name of the host alone, of the host of an attempt."""
    return place.partition(PLACE_MARK)[0]


class Attempt(StoreTable):
    """One try at a job, and the process that makes it."""

    __tablename__ = "attempts"
    __table_args__ = (UniqueConstraint("job_id", "number"), Index(None, "state", "host"))

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    number: Mapped[int]
    """Counts the attempts at the job, from 1."""
    state: Mapped[JobState]
    """Where it stands."""
    started_at: Mapped[datetime]
    """When it began."""
    ended_at: Mapped[datetime | None]
    """When it ended."""
    reason: Mapped[str | None]
    """Why it did not end well."""
    host: Mapped[str]
    """Name of the machine, and after a ``#`` a mark of its boot and of the PID namespace."""
    pid: Mapped[int]
    """Process that works on it."""
    process_started: Mapped[float | None]
    """Seconds after the boot of the host at which the process began: tells it from a later one
    with the same pid, whatever the clock of the host does."""
    environment_id: Mapped[int | None] = mapped_column(ForeignKey("environments.id"), index=True)
    """NULL until the process that works on the attempt has said where it runs."""
    heartbeat: Mapped[int] = mapped_column(default=0)
    """Counts on while the process lives; an observer measures with its own clock for how long
    it has not."""
    device: Mapped[str | None]
    """Name of the device it works on, for example ``cuda:1``."""
    step: Mapped[int | None]
    """Optimiser steps that the training has made."""
    total_steps: Mapped[int | None]
    """Optimiser steps that it will make."""
    loss: Mapped[float | None]
    """Loss of the last report."""
    images_per_second: Mapped[float | None]
    """Speed of the last report."""

    job: Mapped[Job] = relationship(back_populates="attempts")
    environment: Mapped[EnvironmentRow | None] = relationship()
    cost: Mapped[Cost | None] = relationship()


class EnvironmentRow(StoreTable):
    """A machine with its versions, as ``records.Environment``; equal ones share a row."""

    __tablename__ = "environments"

    id: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 of all the others."""
    device: Mapped[str]
    device_kind: Mapped[str]
    device_count: Mapped[int]
    host: Mapped[str]
    threads: Mapped[int]
    precision: Mapped[str]
    compiled: Mapped[bool]
    versions: Mapped[dict[str, Any]]
    platform: Mapped[str]
    commit: Mapped[str | None]
    dirty: Mapped[bool | None]


class Series(StoreTable):
    """One metric of one job, named once and not with each of its values."""

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("job_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    name: Mapped[str] = mapped_column(String(64))


class Metric(StoreTable):
    """One value of one metric during training; a resumed attempt overwrites it."""

    __tablename__ = "metrics"
    # Most of a store is rows of this table: a row is its key, so that no index repeats it.
    __table_args__ = ({"sqlite_with_rowid": False},)

    series_id: Mapped[int] = mapped_column(
        ForeignKey("series.id"), primary_key=True, autoincrement=False
    )
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    value: Mapped[float | None]
    """NULL stands for NaN, which SQLite cannot hold."""


class Result(StoreTable):
    """One final figure of a job, with the correctness of each test image where it is known."""

    __tablename__ = "results"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[float | None]
    correct: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    """One bit per test image, in the order of the test set, the first in the highest bit."""
    correct_count: Mapped[int | None]
    """Number of images in ``correct``."""


class Cost(StoreTable):
    """What an attempt cost: one column per reading of ``records.CostReading``, same units."""

    __tablename__ = "costs"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempts.id"), primary_key=True)
    queue_s: Mapped[float | None]
    init_s: Mapped[float | None]
    data_prep_s: Mapped[float | None]
    warmup_s: Mapped[float | None]
    train_s: Mapped[float | None]
    data_wait_s: Mapped[float | None]
    probe_s: Mapped[float | None]
    monitor_s: Mapped[float | None]
    eval_s: Mapped[float | None]
    checkpoint_s: Mapped[float | None]
    total_s: Mapped[float | None]
    throughput: Mapped[float | None]
    throughput_p10: Mapped[float | None]
    throughput_p90: Mapped[float | None]
    throughput_windows: Mapped[int | None]
    step_ms: Mapped[float | None]
    augment_ms: Mapped[float | None]
    online_forward_ms: Mapped[float | None]
    target_forward_ms: Mapped[float | None]
    loss_ms: Mapped[float | None]
    backward_ms: Mapped[float | None]
    optimizer_ms: Mapped[float | None]
    ema_update_ms: Mapped[float | None]
    sampled_steps: Mapped[int | None]
    steps: Mapped[int | None]
    flops_per_step: Mapped[float | None]
    ema_bytes: Mapped[int | None] = mapped_column(BigInteger)
    ema_bytes_moved: Mapped[int | None] = mapped_column(BigInteger)
    device_peak_allocated: Mapped[int | None] = mapped_column(BigInteger)
    device_peak_reserved: Mapped[int | None] = mapped_column(BigInteger)
    host_peak_rss: Mapped[int | None] = mapped_column(BigInteger)
    energy_j: Mapped[float | None]
