"""emabench in a notebook or a script: a store that is read, its runs, and a run of one's own.

::

    with emabench.open_store("results.db") as store:
        runs = store.select(study="projector-vs-full", where={"method": "moco"})
    runs.compare("top1,throughput", margin={"top1": 0.5})
    emabench.run(method="simclr", ema_scope="projector", epochs=3)

The command line is a user of these. ``docs/reference/library.md`` says what stays as it is.
"""

from __future__ import annotations

import html
import os
import signal
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack, overload

from emabench.analysis.comparison import ArmComparison
from emabench.analysis.gate import GateResult, check
from emabench.analysis.question import Asked, Question
from emabench.artifacts.layout import Keep, artifacts_folder
from emabench.errors import (
    CautionWarning,
    EmabenchError,
    InterruptedRunError,
    NotFoundError,
    StoreError,
    UnknownNameError,
)
from emabench.extensions.named_plugins import with_plugins
from emabench.records import RunQuery, RunRecord, RunValues, WantedValues
from emabench.report.tables import comparison_table, run_table
from emabench.spec.paths import SHORT_NAMES, full_path, value_at
from emabench.store import RunStore
from emabench.store.connection.location import Location
from emabench.store.runs.run_query import run_query
from emabench.table import Table, counted, visible

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from emabench.analysis.tasks.across_tasks import AcrossTasks
    from emabench.events import Listener
    from emabench.report.figures._gathered import GatheredPicture
    from emabench.report.figures._picture import Picture

Run = RunRecord
_MOST_ROWS = 60
"""Of many runs a notebook shows the newest."""


def open_store(location: str | os.PathLike[str]) -> Store:
    """Open the store at a path (SQLite) or URL; it is read, and nothing else.

    Args:
        location: for example ``results.db`` or ``postgresql://user@host/name``.

    Raises:
        NotFoundError: nothing is there.
        SchemaVersionError: the store has another schema version.
        StoreError: something else is there, or it cannot be read.
    """
    return Store(os.fspath(location))


@dataclass(frozen=True)
class _Place:
    """Where a store is: found again from any folder, and named without a password."""

    location: str
    label: str

    @classmethod
    def of(cls, location: str) -> _Place:
        found = Location.parse(location)
        return cls(location if found.path is None else str(found.path.absolute()), found.label)


class Store:
    """A store that is open; use it in a ``with`` statement or call ``close``.

    It may be used from several threads, and while others write to it.
    """

    def __init__(self, location: str) -> None:
        self._store: RunStore | None = RunStore.open(location, mode="read")
        self._place = _Place.of(location)

    def __repr__(self) -> str:
        return f"<{'closed ' if self._store is None else ''}store {self._place.label}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up all connections; runs that were selected stay as they are."""
        if self._store is not None:
            self._store.close()
        self._store = None

    def select(
        self,
        *,
        study: str | None = None,
        where: Mapping[str, Any] | Iterable[str] | None = None,
        name: str | None = None,
        ids: str | Iterable[str] | None = None,
        smoke: bool = False,
    ) -> Runs:
        """Return runs as they are at this moment, the newest last; none may fit.

        Args:
            study: only those that belong to this study.
            where: only those with these values of fields, such as ``{"method": "moco",
                "ema.decay": 0.99}``, or conditions as the command line takes them.
            name: only those that were given this name.
            ids: these runs, by id, unique beginning of one, or ``@last``, in this order, whatever
                else is asked.
            smoke: whether smoke runs are wanted too.

        Raises:
            NotFoundError: no run belongs to the study, or has an id.
            UsageError: there is no such field, or several ids begin so.
            StoreError: the store is closed, or cannot be read.
        """
        if self._store is None:
            raise StoreError(
                f"the store {self._place.label} is closed",
                hint="select inside of its 'with', or open it again",
            )
        conditions = where if where is None or isinstance(where, Mapping) else _several(where)
        named = None if ids is None else _several(ids)
        query = run_query(conditions, ids=named, name=name, study=study, smoke=smoke)
        return Runs(tuple(self._store.runs(query.with_smoke)), query, self._place)


@dataclass(frozen=True, repr=False)
class Runs(Sequence[RunRecord]):
    """Runs of a store, the newest last: their records and where the store is, never a session.

    They outlive the store's ``with`` and can be pickled; a pickle of runs from a server holds its
    URL as it was given. What else the store holds of them is read when a method asks for it, in one
    transaction; every method raises ``StoreError`` where that fails.
    """

    _records: tuple[RunRecord, ...]
    """With the smoke runs that nobody wants, so that a comparison can say how many there are."""
    _query: RunQuery
    _place: _Place

    def __len__(self) -> int:
        return len(self._shown)

    @overload
    def __getitem__(self, index: int) -> RunRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> RunRecord | Runs:
        if isinstance(index, slice):
            return Runs(self._shown[index], self._query, self._place)
        return self._shown[index]

    def __iter__(self) -> Iterator[RunRecord]:
        return iter(self._shown)

    def __repr__(self) -> str:
        count = counted(len(self), "run")
        return f"<{count} of {', '.join([self._place.label, *self._query.words()])}>"

    def _repr_html_(self) -> str:
        newest = run_table.reading_table(self._shown[-_MOST_ROWS:]).to_html()
        earlier = len(self) - _MOST_ROWS
        note = _lines([f"and {counted(earlier, 'earlier run')}"]) if earlier > 0 else ""
        return _lines([repr(self)[1:-1]]) + newest + note

    def to_frame(self, *fields: str) -> pandas.DataFrame:
        """Return a pandas table, one row a run, as ``emabench list --csv`` has them.

        Args:
            fields: more fields of the spec, a column each: ``ema.decay``, ``optimizer.lr``.

        Returns:
            ``id``, ``name``, ``state``, ``smoke``, the fields of the spec, results in percent,
            every reading of the cost, ``created_at``. Unknown is NaN, or None in text.

        Raises:
            SpecError: there is no such field.
            EmabenchError: pandas is not installed.
        """
        table = run_table.data_table(self._shown)
        paths = {field: full_path(field) for field in fields}
        frame = _frame(table, exact=run_table.DESCRIBED)
        for field, path in paths.items():
            frame[field] = [value_at(run.spec, path) for run in self]
        frame["created_at"] = [run.created_at for run in self]
        return frame

    def curves(self, *names: str) -> pandas.DataFrame:
        """Return the metrics of the training in long form, in the order of runs and steps.

        Args:
            names: such as ``loss`` or ``online_top1``; one that ends in ``:`` stands for all that
                begin so, such as ``grad_norm_cv:``. None at all is every metric.

        Returns:
            ``run`` (its id), ``step`` (of the optimiser), ``epoch`` (from 1), ``name``, ``value``
            (NaN where it is unknown). A run without a metric has no row of it.

        Raises:
            UnknownNameError: no run recorded a metric of this name.
            EmabenchError: pandas is not installed.
        """
        points = self._values(WantedValues(points=names or None)).points
        rows = [
            (run.id, point.step, point.epoch, point.name, point.value)
            for run in self
            for point in points[run.id]
        ]
        self._check_recorded(names, {name for *_, name, _ in rows})
        headers = ("run", "step", "epoch", "name", "value")
        frame = _frame(Table(headers, tuple(rows)), exact=headers)
        return frame.astype({"step": int, "epoch": int, "value": float})

    def compare(
        self,
        metrics: str | Iterable[str] | None = None,
        *,
        by: str | None = None,
        baseline: str | None = None,
        margin: Mapping[str, float | str] | Iterable[str] = (),
        interval: str | None = None,
        fail_if: Iterable[str] = (),
        along: str | Iterable[str] = (),
    ) -> Comparison:
        """Compare finished runs, grouped by everything except the seed: cheaper, and not worse?

        What is not given is what the study of the runs says, if they were selected by one of the
        package, and else the default of ``emabench compare``.

        Args:
            metrics: names, or a comma list of them; ``top1,throughput`` unless given.
            by: the field whose values are compared; the EMA scope unless given.
            baseline: the value to compare with.
            margin: by metric: a difference within it is none. In points, or the fraction of a
                ratio, or text such as ``2%``.
            interval: ``t``, ``bca`` for a bootstrap, or ``anytime`` for intervals that hold at
                every look; unless given, that of the study's planned looks, if it has several,
                else ``t``.
            fail_if: rules of a gate such as ``top1:-0.5``; their results are in ``gate``.
            along: fields, or groups of them, that differ by design along with the factor.

        Raises:
            NotFoundError: no run is left to compare, or none holds any of the metrics.
            UsageError: a word of the question cannot be read.
        """
        words = None if metrics is None else ",".join(_several(metrics))
        widths = margin if isinstance(margin, Mapping) else _several(margin)
        asked = Asked(
            words, by, baseline, widths, interval, _several(fail_if), along=_several(along)
        )
        return self.answer(Question.settle(asked, self._query.study))

    def answer(self, question: Question) -> Comparison:
        """Answer a question that is settled, for who wants to know first that it can be."""
        smoke = self._query.smoke or self._are_named
        with RunStore.open(self._place.location, mode="read") as store:
            looks = store.looks({study for run in self for study in run.studies})
            question = question.planned(looks, smoke=smoke)
            values = store.values([run.id for run in self], question.wanted())
        found = question.answer(self._records, values, smoke=smoke, looks=looks)
        return Comparison.of(found, check(found, question.rules))

    def across(self, question: Question, fields: Iterable[str]) -> tuple[Comparison, AcrossTasks]:
        """Answer a question, and by its first metric over several tasks at once.

        Args:
            question: as for ``answer``.
            fields: those whose values make a task, such as ``dataset`` and ``method``.
        """
        from emabench.analysis.factor import Factor
        from emabench.analysis.metric_values import MetricValues, wanted_values
        from emabench.analysis.tasks.across_tasks import across_tasks

        found = self.answer(question)
        values = MetricValues.of(self._values(wanted_values(found.metrics)))
        return found, across_tasks(found, [Factor.parse(each) for each in fields], values)

    def plot(self, kind: str, **options: str) -> Figure:
        """Return a picture of finished runs as a matplotlib figure that pyplot does not know.

        What must be known before it is believed is a ``CautionWarning``.

        Args:
            kind: ``pareto``, ``forest``, ``curves``, ``cost``, ``stability``, ``blocks`` or
                ``seeds``.
            options: of the picture, as ``emabench plot`` has them, such as ``metric="knn_top1"``.

        Raises:
            UnknownNameError: there is no such picture or option.
            NotFoundError: no run is left to draw, or none holds what is shown.
        """
        from emabench.report.figures import make_picture

        gathered = self.gather(make_picture(kind, options))
        for caution in gathered.cautions:
            warnings.warn(caution.message, CautionWarning, stacklevel=2)
        return gathered.figure()

    def gather(self, picture: Picture) -> GatheredPicture:
        """Gather the numbers of a picture, for who wants them before they are drawn."""
        from emabench.report.figures._gathered import (
            gather_compared,
            gather_picture,
            values_of_picture,
        )

        if picture.asked is not None:
            found = self.answer(Question.settle(picture.asked, self._query.study))
            return gather_compared(picture, found, self._query, self._place.label)
        values = self._values(values_of_picture(picture))
        return gather_picture(picture, self._records, values, self._query, self._place.label)

    @cached_property
    def _shown(self) -> tuple[RunRecord, ...]:
        if self._query.smoke or self._are_named:
            return self._records
        return tuple(run for run in self._records if not run.smoke)

    @property
    def _are_named(self) -> bool:
        return bool(self._query.ids)

    def _values(self, wanted: WantedValues) -> RunValues:
        with RunStore.open(self._place.location, mode="read") as store:
            return store.values([run.id for run in self], wanted)

    def _check_recorded(self, names: Sequence[str], found: set[str]) -> None:
        """Raise where none of the runs, if there are any, recorded a metric that was named."""
        for name in names if self else ():
            if not any(
                each == name or (name[-1:] == ":" and each.startswith(name)) for each in found
            ):
                points = self._values(WantedValues(points=None)).points
                known = {point.name for each in points.values() for point in each}
                raise UnknownNameError("metric of the training", name, known)


@dataclass(frozen=True, repr=False)
class Comparison(ArmComparison):
    """A comparison of arms; a notebook shows it as a table, with the answer below it.

    Attributes:
        gate: what became of each rule of ``fail_if``, arm by arm.
    """

    gate: tuple[GateResult, ...] = ()

    @classmethod
    def of(cls, found: ArmComparison, gate: Iterable[GateResult]) -> Comparison:
        """Take over what analysis found."""
        return cls(**vars(found), gate=tuple(gate))

    def __repr__(self) -> str:
        lines = [f"- {line}" for line in comparison_table.headlines(self)]
        return "\n".join([comparison_table.reading_table(self).to_markdown(), *lines]).rstrip()

    def _repr_html_(self) -> str:
        sections = [comparison_table.reading_table(self), comparison_table.verdict_table(self)]
        return "\n".join(
            [
                *(section.to_html() for section in sections if section.rows),
                _lines(comparison_table.headlines(self)),
                _lines(result.words for result in self.gate),
                _lines(f"warning: {caution.message}" for caution in self.cautions),
                _lines(f"note: {note}" for note in self.notes),
            ]
        )

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas table, one row an arm, as ``emabench compare --csv`` has them.

        Returns:
            The fields that tell the arms apart, ``n``, ``seeds``, and for each metric its mean, its
            spread, the values of the seeds, and the paired difference or ratio with its interval, p
            and verdict. Unknown is NaN, or None in text.

        Raises:
            EmabenchError: pandas is not installed.
        """
        table = comparison_table.data_table(self)
        texts = ("_values", "_verdict", "_verdict_corrected")
        numbers = {
            header
            for metric in self.metrics
            for header in table.headers
            if header.startswith(f"{metric.name}_") and not header.endswith(texts)
        }
        return _frame(table, exact=set(table.headers) - numbers - {"more_seeds"})

    def to_json(self) -> dict[str, Any]:
        """Return plain values as ``emabench compare --json`` prints them, in full precision."""
        gate = [result.to_json() for result in self.gate]
        return {**super().to_json(), **({"gate": gate} if gate else {})}


class RunFields(TypedDict, total=False):
    """The fields of a run that have a flag of their own on the command line."""

    method: str
    ema_scope: str
    backbone: str
    init: str | os.PathLike[str]
    dataset: str
    data_dir: str | os.PathLike[str]
    epochs: int
    batch_size: int
    lr: float
    seed: int
    train_subset: int | None
    test_subset: int | None
    image_size: int
    device: str
    devices: int
    precision: str


def run(
    *,
    db: str | os.PathLike[str] = "results.db",
    on_event: Listener | None = None,
    set: Mapping[str, Any] | None = None,
    preset: str | None = None,
    spec: str | os.PathLike[str] | None = None,
    name: str | None = None,
    study: str | None = None,
    force: bool = False,
    plugins: Iterable[str | os.PathLike[str]] | None = None,
    **fields: Unpack[RunFields],
) -> RunRecord:
    """Pretrain, evaluate and record one run, as ``emabench run`` does, and return it.

    A finished run that is identical is returned and not repeated. What is not given is taken from
    the settings ``EMABENCH_*``, then from the spec file, then from the preset. Text means what it
    means on the command line. The store is the one that is named, whatever ``EMABENCH_DB`` says.

    It trains in a process of its own. In the main thread Ctrl-C asks for a checkpoint, and another
    one stops at once; in other threads what ``on_event`` raises stops in good order, and so does
    the end of the main thread. The same call then resumes the run.

    Args:
        db: path or URL of the store; created if it is not there.
        on_event: told of every event of ``emabench.events`` as it happens, in this thread, which
            waits for it; without it nothing is shown.
        set: any field by its path, such as ``{"ema.decay": 0.99}``; wins over the others.
        preset: underneath; ``quick`` unless it is given here or by the spec file.
        spec: a spec file.
        name: label of the run.
        study: that the run belongs to.
        force: repeat a run that exists.
        plugins: files and modules, as ``--plugin`` takes them; those of ``EMABENCH_PLUGINS`` if
            left out.
        **fields: as the flags of the command line are called, with ``_`` for ``-``.

    Raises:
        UsageError: a field or value does not exist, or stands for several.
        DataError: the images cannot be read.
        EmabenchError: the run failed, or the store cannot be written.
        KeyboardInterrupt: the user stopped it; it is queued again.
    """
    from emabench.engines import local
    from emabench.plans.grids import resolve_all, single_point
    from emabench.queue.kept_weights import kept_weights
    from emabench.queue.process import prepare
    from emabench.queue.stop_request import StopRequest
    from emabench.queue.worker import Workplace

    listener = on_event or (lambda event: None)
    given = {**_settings(SHORT_NAMES), **fields}
    _check_fields(given)
    point = single_point(
        given,
        set or {},
        preset=preset or _setting("preset"),
        file=None if spec is None else Path(spec),
    )
    prepare()
    location = os.fspath(db)
    folder = _setting("artifacts")
    place = Workplace(
        artifacts_folder(location, None if folder is None else Path(folder)),
        keep=_keep(),
    )
    with nullcontext() if plugins is None else with_plugins([os.fspath(each) for each in plugins]):
        kept = kept_weights(location, place.artifacts)
        plans = resolve_all([point], name=name, study=study, kept=kept, on_event=listener)
        try:
            with StopRequest(signal.SIGINT) as stop:
                outcomes, runs = local.execute(
                    plans, db=location, place=place, force=force, on_event=listener, stop=stop
                )
        except InterruptedRunError as error:
            # Who goes through many runs and passes over those that fail must not pass over this.
            raise KeyboardInterrupt(f"{error.message}; the same call resumes the run") from error
    local.raise_unless_done(outcomes, what="runs")
    if not runs:
        raise NotFoundError(f"the run {outcomes[0].run.id} was removed from the store meanwhile")
    (found,) = runs.values()
    return found


def _several(texts: str | Iterable[str]) -> tuple[str, ...]:
    """Return one text or several as several: a text is no list of its letters."""
    return (texts,) if isinstance(texts, str) else tuple(texts)


def _setting(name: str) -> str | None:
    return os.environ.get(f"EMABENCH_{name.upper()}") or None


def _settings(names: Iterable[str]) -> dict[str, str]:
    return {name: value for name in names if (value := _setting(name)) is not None}


def _keep() -> Keep:
    word = _setting("keep") or Keep.WEIGHTS
    if word not in list(Keep):
        raise UnknownNameError("value of EMABENCH_KEEP", word, Keep)
    return Keep(word)


def _check_fields(names: Iterable[str]) -> None:
    for name in names:
        if name not in SHORT_NAMES:
            try:
                path = full_path(name).removeprefix("pretrain.")
            except EmabenchError:
                raise UnknownNameError("field", name, SHORT_NAMES) from None
            hint = f"it has no flag of its own: set={{{path!r}: …}}"
            raise UnknownNameError("field", name, SHORT_NAMES, hint=hint)


def _frame(table: Table, *, exact: Iterable[str]) -> pandas.DataFrame:
    """Return a table of pandas; columns are numbers unless they are to be kept exactly.

    Raises:
        EmabenchError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise EmabenchError(
            "a table of pandas needs pandas, which is not installed",
            hint="pip install 'emabench[pandas]'",
        ) from None
    frame = pandas.DataFrame.from_records(list(table.rows), columns=list(table.headers))
    kept = frozenset(exact)
    return frame.astype({header: float for header in table.headers if header not in kept})


def _lines(texts: Iterable[str]) -> str:
    """Return lines of text as HTML; nothing for none."""
    return "".join(f"<div>{html.escape(visible(text))}</div>" for text in texts)
