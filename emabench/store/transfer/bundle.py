"""The bundle: runs as lines of JSON, with all that a store holds of them, for another store.

::

    {"format": "emabench-runs", "version": 1, "schema": "0007", ..., "runs": 2,
      "plans": [...], "looks": [...]}
    {"fingerprint": ..., "spec": {...}, "studies": [...], "tags": [...], "jobs": [
      {"id": ..., "attempts": [{..., "environment": {...}, "cost": {...}}],
       "metrics": [...], "results": [...]}]}

The first line says what the file is, what the studies of its runs planned and who looked at them;
every other one is a run. Numbers of rows stay behind; ids of jobs go along, and tell a run from any
other in the world. Moments are ISO 8601 with a time zone, bytes base64, infinite numbers ``"inf"``
and ``"-inf"``; null is unknown. Weights, checkpoints and logs are files, not rows: they are not in
it.

Nobody knows where a bundle comes from: what does not fit is refused, whatever a database would make
of it. Keys that no model knows are left out.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    model_validator,
)
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ColumnDefault,
    Double,
    Enum,
    Integer,
    LargeBinary,
    String,
    Text,
    inspect,
    select,
)
from sqlalchemy.orm import Session, selectinload, undefer

from emabench.errors import DataError
from emabench.records import JobKind, JobState
from emabench.spec.experiment import unreadable
from emabench.spec.plain import unique_pairs
from emabench.store.runs.labels import LONGEST_NOTE, TAG
from emabench.store.schema import tables
from emabench.store.schema.tables import (
    Attempt,
    Cost,
    EnvironmentRow,
    Experiment,
    Job,
    Metric,
    Result,
    Series,
    StoreTable,
    StudyLookRow,
    StudyMember,
    StudyPlanRow,
)
from emabench.version import __version__

FORMAT = "emabench-runs"
VERSION = 1
_SAID = 300
"""Letters of what is said of a line, which may quote it."""
_NO_BUNDLE = "this is not a bundle of runs"
_INFINITE = {"inf": math.inf, "-inf": -math.inf}
_TABLES = {
    "environment": "environments",
    "cost": "costs",
    "plans": "study_plans",
    "looks": "study_looks",
}
"""Where a key of a line is not the name of the table whose row it holds."""


def _or(words: str) -> WrapValidator:
    """Refuse in these words what pydantic refuses."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            if error.errors()[0]["type"] == "value_error":  # it has words of its own
                raise
            raise ValueError(f"{value!r} {words}") from None

    return WrapValidator(validate)


def _text_to(read: Callable[[str], Any]) -> BeforeValidator:
    """Make a value of a text; what makes it says what is wrong."""

    def validate(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not text")
        return read(value)

    return BeforeValidator(validate)


def _written_as(write: Callable[[Any], Any]) -> PlainSerializer:
    return PlainSerializer(lambda value: write(value), when_used="json")


def _check_text(value: Any) -> Any:
    if isinstance(value, str):
        value.encode()  # half of a surrogate pair is no text
        if "\0" in value:
            raise ValueError(f"{value!r} is not text")
    return value


def _check_texts(value: Any) -> Any:
    """Check all texts of plain values, the keys among them."""
    if isinstance(value, dict):
        for key, each in value.items():
            _check_text(key)
            _check_texts(each)
    elif isinstance(value, list):
        for each in value:
            _check_texts(each)
    return _check_text(value)


def _check_length(note: str) -> str:
    if len(note) > LONGEST_NOTE:
        raise ValueError(f"it is longer than {LONGEST_NOTE} letters")
    return note


def _number(value: Any) -> Any:
    return _INFINITE.get(value, value) if isinstance(value, str) else value


PlainText = Annotated[str, BeforeValidator(_check_text), _or("is not text")]
Int = Annotated[int, Field(gt=-(2**31), lt=2**31), _or("is not a whole number of 32 bits")]
Number = Annotated[
    float,
    BeforeValidator(_number),
    _or("is not a number"),
    _written_as(lambda value: str(value) if math.isinf(value) else value),
]
JobId = Annotated[
    PlainText,
    Field(max_length=12),
    _or("is longer than 12"),
    Field(pattern="^[0-9a-f]{12}$"),  # a folder is named after it
    _or("is not the id of a job"),
]
Tag = Annotated[
    PlainText,
    Field(pattern=f"^{TAG.pattern}$"),
    _or("is no tag"),
]
Values = Annotated[dict[str, Any], AfterValidator(_check_texts), _or("is not a dict")]
_TYPES: dict[type, Any] = {
    Text: PlainText,
    Boolean: Annotated[bool, _or("is not a bool")],
    Integer: Int,
    BigInteger: Annotated[
        int, Field(gt=-(2**63), lt=2**63), _or("is not a whole number of 64 bits")
    ],
    Double: Number,
    tables.UtcDateTime: Annotated[
        AwareDatetime,
        _text_to(datetime.fromisoformat),
        _or("has no time zone"),
        _written_as(datetime.isoformat),
    ],
    LargeBinary: Annotated[
        bytes,
        _text_to(lambda text: base64.b64decode(text, validate=True)),
        _written_as(lambda bits: base64.b64encode(bits).decode("ascii")),
    ],
    JSON: Values,
}
"""By the type of a column, what a line may hold there."""


class _Row(BaseModel):
    """The columns of a row, and what hangs on it; values are of the types that the columns hold."""

    model_config = ConfigDict(strict=True, ser_json_inf_nan="constants")

    @classmethod
    def of(cls, row: Any, **nested: Any) -> Self:
        """Take the columns from a row of a store, which has looked at them already."""
        own = {name: getattr(row, name) for name in cls.model_fields if name not in nested}
        return cls.model_construct(**own, **nested)


def _row(table: type[StoreTable], *own: str) -> Any:
    """Return the model of a row, without the columns that say where it stands in its store."""
    fields: dict[str, Any] = {}
    for column in inspect(table).columns:
        kind, default = column.type, column.default
        if isinstance(kind, Enum):
            word: Any = kind.enum_class
            type_: Any = Annotated[word, BeforeValidator(word)]
        elif isinstance(kind, String) and kind.length is not None:
            longer = _or(f"is longer than {kind.length}")
            type_ = Annotated[PlainText, Field(max_length=kind.length), longer]
        else:
            type_ = _TYPES[type(kind)]
        fields[column.key] = (
            type_ | None if column.nullable else type_,
            # What an older bundle does not have.
            default.arg if isinstance(default, ColumnDefault) else ...,
        )
    return create_model("Row", __base__=_Row, **{k: v for k, v in fields.items() if k not in own})


class BundledCost(_row(Cost, "attempt_id")):  # type: ignore[misc]
    """What an attempt cost."""


class BundledEnvironment(_row(EnvironmentRow, "id")):  # type: ignore[misc]
    """Where an attempt ran."""


class BundledAttempt(_row(Attempt, "id", "job_id", "environment_id")):  # type: ignore[misc]
    """One try at a job."""

    environment: BundledEnvironment | None
    cost: BundledCost | None


class BundledMetric(_Row):
    """One value of one metric."""

    step: Int
    name: Annotated[PlainText, Field(max_length=64), _or("is longer than 64")]
    epoch: Int
    value: Number | None


class BundledResult(_row(Result, "job_id")):  # type: ignore[misc]
    """One final figure."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        bits, images = self.correct, self.correct_count
        is_known = bits is not None and images is not None
        if (bits, images) != (None, None) and not (
            is_known and images > 0 and len(bits) == math.ceil(images / 8)
        ):
            raise ValueError(f"correct of {self.name} are not the bits of {images} images")
        return self


class BundledJob(_row(Job, "experiment_id")):  # type: ignore[misc]
    """A job that is finished."""

    id: JobId
    attempts: list[BundledAttempt]
    metrics: list[BundledMetric]
    results: list[BundledResult]

    @model_validator(mode="after")
    def _check(self) -> Self:
        numbers = [attempt.number for attempt in self.attempts]
        if numbers != list(range(1, len(numbers) + 1)) or self.attempt != len(numbers):
            raise ValueError(f"job {self.id} says {self.attempt} attempts, these are {numbers}")
        states = [attempt.state for attempt in self.attempts]
        if not all(state.is_finished for state in (self.state, *states)):
            raise ValueError(f"job {self.id} is not finished")
        if self.state is JobState.DONE and states[-1:] != [JobState.DONE]:
            newest = f"its newest attempt is {states[-1]}" if states else "was never tried"
            raise ValueError(f"job {self.id} is done, but {newest}")
        if self.metrics and not states:
            raise ValueError(f"job {self.id} was never tried and has metrics")
        if self.results and self.state is not JobState.DONE:
            raise ValueError(f"job {self.id} is {self.state} and has results")
        is_evaluated = self.state is JobState.DONE and self.kind is JobKind.LINEAR_EVAL
        if is_evaluated and not self.results:
            raise ValueError(f"job {self.id} is done and has no results")
        _check_unique(f"metric of job {self.id}", ((m.step, m.name) for m in self.metrics))
        _check_unique(f"result of job {self.id}", (result.name for result in self.results))
        return self


class BundledRun(_row(Experiment, "id")):  # type: ignore[misc]
    """A run: a pretraining with its evaluations, a separate evaluation, or a bench."""

    warnings: Annotated[list[PlainText], _or("is not a list of texts")]
    studies: list[PlainText] = Field(default_factory=list)
    """Missing in a bundle of a store that knew no studies."""
    tags: list[Tag] = Field(default_factory=list)
    note: Annotated[PlainText, AfterValidator(_check_length)] | None = None
    """Missing, like the tags, in a bundle of a store that knew none."""
    jobs: list[BundledJob]

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [job.kind for job in self.jobs]
        is_evaluation = kinds == [JobKind.LINEAR_EVAL]
        if not is_evaluation and kinds != [JobKind.BENCH] and kinds[:1] != [JobKind.PRETRAIN]:
            raise ValueError("it does not begin with a pretraining")
        _check_unique("job", (job.id for job in self.jobs))
        if [job.position for job in self.jobs] != list(range(len(self.jobs))):
            raise ValueError("its jobs are out of order")
        done: dict[str, bool] = {}
        for job in self.jobs:
            needed = job.depends_on
            if needed is not None and needed not in done:
                raise ValueError(f"job {job.id} needs {needed!r}, which is not a job before it")
            if job.kind is JobKind.LINEAR_EVAL and needed is None and not is_evaluation:
                raise ValueError(f"evaluation {job.id} needs no pretraining")
            done[job.id] = job.state is JobState.DONE
            if done[job.id] and needed is not None and not done[needed]:
                raise ValueError(f"job {job.id} is done, but {needed}, which it needs, is not")
        if is_evaluation and "weights" not in self.spec:
            raise ValueError("it is an evaluation, but does not say of which weights")
        if kinds == [JobKind.BENCH] and not self.spec.get("bench"):
            raise ValueError("it is a bench, but does not say of what")
        if (why := unreadable(self.spec)) is not None:
            raise ValueError(f"spec: {why}")
        return self


class _Terms(BaseModel):
    """The terms of a plan, as far as readers of a store rely on them; early ones know less."""

    model_config = ConfigDict(strict=True)

    metrics: list[str]
    margin: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]
    by: str
    along: list[str] = Field(default_factory=list)
    baseline: str | float | bool | None
    arms: list[str] = Field(default_factory=list)
    questions: Int
    seeds: list[Int] = Field(default_factory=list)


def _check_terms(terms: dict[str, Any]) -> dict[str, Any]:
    _Terms.model_validate(terms)
    return terms


class BundledPlan(_row(StudyPlanRow)):  # type: ignore[misc]
    """What a study of the runs fixed before its first one."""

    pairs: Annotated[list[Annotated[Int, Field(ge=2)]], Field(min_length=1)]
    levels: list[Annotated[Number, Field(gt=0, lt=1)]]
    terms: Annotated[Values, AfterValidator(_check_terms)]
    done_before: Annotated[Int, Field(ge=0, le=10**9)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pairs != sorted(set(self.pairs)) or len(self.pairs) != len(self.levels):
            raise ValueError(f"looks at {self.pairs} pairs have levels {self.levels}")
        return self


class BundledLook(_row(StudyLookRow, "id")):  # type: ignore[misc]
    """A look at a study of the runs."""


class BundleHead(_Row):
    """The first line."""

    runs: Int
    plans: list[BundledPlan] = Field(default_factory=list)
    looks: list[BundledLook] = Field(default_factory=list)
    """Missing, like the plans, in a bundle of a store that knew none."""


def _check_unique(what: str, keys: Iterable[Any]) -> None:
    seen = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"there are two of {what}: {key}")
        seen.add(key)


def bundle_lines(session: Session, experiment_ids: Sequence[int]) -> Iterator[str]:
    """Yield the lines of a bundle, without line ends and in ASCII.

    Args:
        session: a reading session.
        experiment_ids: the runs, in the order in which they are written.
    """
    origin = {
        "format": FORMAT,
        "version": VERSION,
        "schema": tables.SCHEMA_REVISION,
        "emabench": __version__,
        "exported_at": datetime.now(UTC).isoformat(),
    }
    head = _bundled_head(session, experiment_ids)
    yield json.dumps({**origin, **head.model_dump(mode="json")}, allow_nan=False)
    whole = select(Experiment).options(
        selectinload(Experiment.jobs).selectinload(Job.results).options(undefer(Result.correct)),
        selectinload(Experiment.jobs)
        .selectinload(Job.attempts)
        .options(selectinload(Attempt.cost), selectinload(Attempt.environment)),
        selectinload(Experiment.studies),
        selectinload(Experiment.tags),
    )
    for experiment_id in experiment_ids:
        experiment = session.scalars(whole.where(Experiment.id == experiment_id)).one()
        run = BundledRun.of(
            experiment,
            studies=[each.study for each in experiment.studies],
            tags=[each.tag for each in experiment.tags],
            jobs=[_bundled_job(session, job) for job in experiment.jobs],
        )
        yield json.dumps(run.model_dump(mode="json"), allow_nan=False)
        session.expunge_all()


def _bundled_head(session: Session, experiment_ids: Sequence[int]) -> BundleHead:
    mine = set(experiment_ids)  # any number of them: no statement could name all
    members = session.execute(select(StudyMember.study, StudyMember.experiment_id))
    studies = {study for study, experiment_id in members if experiment_id in mine}
    plans = select(StudyPlanRow).order_by(StudyPlanRow.study, StudyPlanRow.smoke)
    looks = select(StudyLookRow).order_by(StudyLookRow.taken_at, StudyLookRow.id)
    return BundleHead(
        runs=len(experiment_ids),
        plans=[BundledPlan.of(row) for row in session.scalars(plans) if row.study in studies],
        looks=[BundledLook.of(row) for row in session.scalars(looks) if row.study in studies],
    )


def _bundled_job(session: Session, job: Job) -> BundledJob:
    points = session.execute(
        select(Metric.step, Series.name, Metric.epoch, Metric.value)
        .join(Series, Series.id == Metric.series_id)
        .where(Series.job_id == job.id)
        .order_by(Metric.step, Series.name)
    )
    attempts = [
        BundledAttempt.of(
            attempt,
            environment=attempt.environment and BundledEnvironment.of(attempt.environment),
            cost=attempt.cost and BundledCost.of(attempt.cost),
        )
        for attempt in job.attempts
    ]
    bundled: BundledJob = BundledJob.of(
        job,
        attempts=attempts,
        metrics=[BundledMetric.of(point) for point in points],
        results=[BundledResult.of(row) for row in sorted(job.results, key=lambda row: row.name)],
    )
    return bundled


def bundled_runs(lines: Iterable[str]) -> Iterator[tuple[int, BundledRun]]:
    """Yield the runs of a bundle, each with the number of its line.

    Raises:
        DataError: a line is damaged, lines are missing, or a newer emabench wrote them; the error
            names the line.
    """
    number, count, expected = 0, 0, 0
    for number, line in enumerate(lines, start=1):
        if number == 1:
            expected = bundle_head(line).runs
            continue
        try:
            run = BundledRun.model_validate(_read(line))
        except (ValueError, RecursionError) as error:
            raise damaged(number, _in_words(error)) from None
        count += 1
        if count > expected:
            raise damaged(number, f"there are more runs than the {expected} announced")
        yield number, run
    if number == 0:
        raise DataError(_NO_BUNDLE, hint="emabench export writes one")
    if count != expected:
        raise DataError(
            f"the bundle ends after line {number}, with {count} of its {expected} runs",
            hint="nothing was imported; copy it again",
        )


def bundle_head(line: str) -> BundleHead:
    """Return what the first line of a bundle says.

    Raises:
        DataError: it is none, damaged, or a newer emabench wrote it.
    """
    try:
        head = _read(line)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise DataError(_NO_BUNDLE, hint="emabench export writes one")
    version, schema = head.get("version"), str(head.get("schema"))
    if type(version) is not int or version != VERSION or schema > tables.SCHEMA_REVISION:
        raise DataError(
            f"the bundle was written by emabench {_brief(head.get('emabench'))}, in version "
            f"{_brief(version)} for schema {_brief(schema)}; this one reads "
            f"version {VERSION} up to schema {tables.SCHEMA_REVISION}",
            hint="pip install --upgrade emabench",
        )
    if type(head.get("runs")) is not int:
        raise damaged(1, "it does not say how many runs there are")
    try:
        return BundleHead.model_validate(head)
    except (ValueError, RecursionError) as error:
        raise damaged(1, _in_words(error)) from None


def _read(line: str) -> Any:
    return json.loads(
        line, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=unique_pairs
    )


def damaged(line: int, said: str) -> DataError:
    """Return the error that names the line of a bundle and what is wrong with it."""
    return DataError(
        f"line {line} of the bundle is damaged: {_brief(said)}",
        hint="nothing was imported; copy it again, or export the runs again",
    )


def _brief(said: object) -> str:
    """Return what somebody else wrote on one line, and no longer than helps."""
    text = " ".join(str(said).split())
    return text if len(text) <= _SAID else f"{text[:_SAID]}…"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    return _refuse(text) if math.isinf(number) else number


def _in_words(error: Exception) -> str:
    """Return what is wrong first with a line, and in which column of which table."""
    if not isinstance(error, ValidationError):
        return "it is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
    first = error.errors(include_url=False)[0]
    keys = [key for key in first["loc"] if isinstance(key, str)]
    said = first["msg"].removeprefix("Value error, ")
    match first["type"]:
        case "missing":
            return f"{keys[-1]} is missing"
        case "list_type":
            return f"{keys[-1]} is not a list"
        case "model_type":
            said = f"{first['input']!r} is not a dict"
        case _ if first["input"] is None:
            said = "it is null"
    if not keys or first["loc"][-1] != keys[-1]:  # it is about a row, not a column
        return said
    table = keys[-2] if len(keys) > 1 else "experiments"
    return f"{_TABLES.get(table, table)}.{keys[-1]}: {said}"
