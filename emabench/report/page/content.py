"""What stands on a page: the question, the answers, the tables, the pictures, and every run."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from emabench.analysis.cautions import Caution, CautionGroup, grouped_cautions
from emabench.analysis.comparison import ArmComparison
from emabench.analysis.curves.stability import FLUCTUATION
from emabench.analysis.metric_values import MetricValues
from emabench.analysis.metrics import MetricInfo
from emabench.errors import EmabenchError, NotFoundError, UsageError
from emabench.records import QueueRecord, RunRecord, RunValues
from emabench.report.figures import load_picture, picture_names
from emabench.report.figures._crowded import fewer_arms
from emabench.report.figures._picture import PageFigure, Picture
from emabench.report.figures._sheet import MANY, source_line
from emabench.report.page.cells import HtmlCell, HtmlRow, HtmlTable, arms_table
from emabench.report.page.run_views import (
    RunCurves,
    RunView,
    common_fields,
    run_curves,
    run_view,
    runs_table,
)
from emabench.report.tables.queue_table import counts_line, queue_tables
from emabench.table import UNKNOWN, Table, show_value
from emabench.version import __version__

if TYPE_CHECKING:
    from emabench.spec.study import StudySpec


_ANSWERS = ("yes", "no", "undecided", "", "baseline")
"""In the order in which a page gives them."""


@dataclass(frozen=True)
class ArmAnswer:
    """The answer for one arm, or of baselines for several: one of ``_ANSWERS``."""

    label: str
    answer: str
    words: str


@dataclass(frozen=True)
class FigureGroup:
    """Pictures of one kind, of which the reader chooses one.

    Attributes:
        key: its name in the page.
        heading: for people.
        caption: what the marks mean.
        figures: at least one.
    """

    key: str
    heading: str
    caption: str
    figures: tuple[PageFigure, ...]


@dataclass(frozen=True)
class Request:
    """What a page is made for, beside the comparison.

    Attributes:
        store: the label of the store.
        choice: how the runs were chosen, in words.
        command: the words of the command that makes the same page.
        study: the study that the runs belong to, if it is known.
    """

    store: str
    choice: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    study: StudySpec | None = None

    @property
    def quantity(self) -> str:
        """Of the gradient monitor: what the pictures show."""
        asked = None if self.study is None else self.study.quantity
        return asked or FLUCTUATION


@dataclass(frozen=True)
class PageContent:
    """All of a page; ``problem`` says why there is no comparison, with a hint."""

    title: str
    question: str
    facts: tuple[tuple[str, str], ...]
    source: str
    command: str
    made: str
    version: str = __version__
    problem: tuple[str, str | None] | None = None
    cautions: tuple[Caution, ...] = ()
    notes: tuple[str, ...] = ()
    verdicts: tuple[ArmAnswer, ...] = ()
    arms: HtmlTable | None = None
    crowd: str | None = None
    groups: tuple[FigureGroup, ...] = ()
    runs: HtmlTable | None = None
    views: tuple[RunView, ...] = ()
    curves: Mapping[str, RunCurves] = field(default_factory=dict)
    common: tuple[tuple[str, str], ...] = ()
    left_out: HtmlTable | None = None
    queue_line: str | None = None
    queue: tuple[tuple[str, Table], ...] = ()

    @property
    def warnings(self) -> list[CautionGroup]:
        """The cautions by kind."""
        return grouped_cautions(self.cautions)

    @property
    def tally(self) -> str:
        """How many arms have which answer, in words; empty without any answer."""
        counts = Counter(each.answer for each in self.verdicts)
        return ", ".join(f"{counts[each]} {each}" for each in _ANSWERS[:3] if counts[each])

    def data(self) -> dict[str, Any]:
        """Return what the scripts of the page read: pictures, curves of runs, the common spec."""
        return {
            "groups": {group.key: list(group.figures) for group in self.groups},
            "curves": dict(self.curves),
            "common": dict(self.common),
        }


def page_content(
    comparison: ArmComparison | EmabenchError,
    request: Request,
    values: RunValues,
    *,
    queue: QueueRecord | None = None,
) -> PageContent:
    """Gather a page.

    Args:
        comparison: what the page is about; or why there is none.
        request: what else is known.
        values: of the compared runs, and what ``wanted_points`` names.
        queue: the queue at this moment, if it is to be seen.
    """
    head = PageContent(
        title="emabench" if request.study is None else request.study.title,
        question=_question(None, request),
        facts=_facts(None, request),
        source=f"source: {request.store}",
        command=shlex.join(request.command),
        made=f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}",
        queue_line=None if queue is None else counts_line(queue),
        queue=() if queue is None else tuple(queue_tables(queue)),
    )
    if isinstance(comparison, EmabenchError):
        return replace(head, problem=(comparison.message, comparison.hint))
    runs = comparison.arms.runs
    everyone = [*runs, *(each.run for each in comparison.left_out)]
    measured = MetricValues.of(values)
    labels = {run.id: row.label for row in comparison.rows for run in row.runs}
    common = common_fields(everyone)
    return replace(
        head,
        question=_question(comparison, request),
        facts=_facts(comparison, request),
        source=source_line(runs, request.store, request.choice),
        cautions=comparison.cautions,
        notes=comparison.notes,
        verdicts=tuple(_verdicts(comparison)),
        arms=arms_table(comparison),
        crowd=_crowd(comparison),
        groups=tuple(_groups(comparison, measured, request.quantity)),
        runs=runs_table(everyone, labels, comparison.metrics, measured),
        views=tuple(run_view(run, labels.get(run.id), common) for run in everyone),
        curves={run.id: run_curves(run, measured.points.get(run.id, ())) for run in everyone},
        common=tuple(common.items()),
        left_out=_left_out(comparison),
    )


def wanted_points(metrics: Sequence[MetricInfo], quantity: str = FLUCTUATION) -> tuple[str, ...]:
    """Return the metrics of the training that the pictures need, as ``WantedValues`` has them.

    Args:
        metrics: that the page compares.
        quantity: of the gradient monitor.
    """
    pictures = (picture for kind in _kinds() for picture in kind.of_page(metrics, quantity))
    return tuple(sorted({name for picture in pictures for name in picture.points}))


def _kinds() -> list[type[Picture]]:
    return sorted(map(load_picture, picture_names()), key=lambda kind: kind.places[1])


def _groups(comparison: ArmComparison, values: MetricValues, quantity: str) -> list[FigureGroup]:
    """Return every kind of picture that the runs can fill; what they do not hold is no picture."""
    groups = []
    for kind in _kinds():
        figures: list[PageFigure] = []
        for picture in kind.of_page(comparison.metrics, quantity):
            with suppress(NotFoundError, UsageError):
                figures += kind.page_figures(picture.gather_comparison(comparison, values))
        if figures:
            groups.append(FigureGroup(kind.name(), kind.heading, kind.caption, tuple(figures)))
    return groups


def _question(comparison: ArmComparison | None, request: Request) -> str:
    if request.study is not None:
        return request.study.question
    if comparison is not None and not comparison.factor.is_scope:
        return f"What does each {comparison.factor.name} cost, and what does it buy?"
    return "What does each EMA scope cost, and what accuracy does it buy?"


def _facts(comparison: ArmComparison | None, request: Request) -> tuple[tuple[str, str], ...]:
    """Return all that was fixed before the runs, beside the question."""
    facts = []
    study = request.study
    if study is not None:
        facts += [
            ("claim", study.claim),
            ("hypothesis", study.hypothesis),
            ("refuted by", study.refuted_by),
        ]
    if comparison is not None:
        margins = [f"{name} {margin:g}" for name, margin in comparison.margins.items()]
        baseline = UNKNOWN if comparison.baseline is None else show_value(comparison.baseline)
        facts += [
            ("compared", f"{comparison.factor.name}, with {baseline} as the baseline"),
            ("metrics", ", ".join(metric.name for metric in comparison.metrics)),
            ("margin", ", ".join(margins) or "none given"),
        ]
    return tuple(facts)


def _crowd(comparison: ArmComparison) -> str | None:
    """Return how to see fewer arms at once, where there are many."""
    count = len(comparison.arms.arms)
    if count <= MANY:
        return None
    fewer = fewer_arms(comparison.arms)
    way = f", or make a page of fewer with {fewer}" if fewer else ""
    return f"{count} arms are many for one chart: hide some of them{way}."


def _verdicts(comparison: ArmComparison) -> list[ArmAnswer]:
    """Return the answers, first those that say most; the baselines share one."""
    found, baselines = [], []
    for row in comparison.rows:
        if row.headline is not None:
            found.append(ArmAnswer(row.label, row.headline.answer, row.headline.words))
        elif row.is_baseline:
            baselines.append(row.label)
        else:
            words = [f"{name}: {cell.words}" for name, cell in row.metrics.items() if cell.words]
            said = "; ".join(words) or "not compared with any other arm"
            found.append(ArmAnswer(row.label, "", said))
    if baselines:
        them = "it" if len(baselines) == 1 else "them"
        said = f"the others are compared with {them}"
        found.append(ArmAnswer(", ".join(baselines), "baseline", said))
    return sorted(found, key=lambda each: _ANSWERS.index(each.answer))


def _left_out(comparison: ArmComparison) -> HtmlTable | None:
    """Return the runs that take no part, and why; None where all do."""
    if not comparison.left_out:
        return None
    rows = []
    for each in comparison.left_out:
        reasons = _reasons(each.run)
        cells = (
            HtmlCell(each.run.id, each.run.id, link=f"run-{each.run.id}"),
            HtmlCell(each.why),
            HtmlCell("; ".join(reasons) or UNKNOWN),
        )
        rows.append(HtmlRow(cells, key=each.run.id))
    return HtmlTable("left-out", ("run", "why", "reason"), tuple(rows))


def _reasons(run: RunRecord) -> Sequence[str]:
    return list(dict.fromkeys(job.reason for job in run.jobs if job.reason))
