"""A page on the command line: the question, and the page that answers it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emabench.errors import NotFoundError

if TYPE_CHECKING:
    from emabench.analysis.comparison import ArmComparison
    from emabench.analysis.question import Asked, Question
    from emabench.records import RunQuery, RunValues
    from emabench.report.page.content import PageContent, Request
    from emabench.store import RunStore


@dataclass(frozen=True)
class PageQuestion:
    """What a page is asked, as it was typed."""

    asked: Asked
    query: RunQuery
    db: str

    def page(self, *, live: bool = False) -> PageContent:
        """Gather the page.

        Args:
            live: the queue is shown too, and nothing to compare is no error.

        Raises:
            NotFoundError: nothing is there to compare.
        """
        from emabench.analysis.question import Question
        from emabench.records import RunValues
        from emabench.report.page.content import page_content
        from emabench.store import RunStore

        question = Question.settle(self.asked, self.query.study)
        request = self.request(live=live)
        comparison: ArmComparison | NotFoundError
        values = RunValues()
        with RunStore.open(self.db, mode="read") as store:
            queue = store.queue.snapshot(limit=10) if live else None
            known = store.looks([] if question.study is None else [question.study])
            question = question.planned(known, smoke=self.query.smoke)
            try:
                try:
                    comparison, values = self._answer(question, store, request)
                except NotFoundError:  # without any of these figures a run still has its costs
                    comparison, values = self._answer(question.with_costs(), store, request)
            except NotFoundError as error:
                if not live:
                    raise
                comparison = error
        return page_content(comparison, request, values, queue=queue)

    def _answer(
        self, question: Question, store: RunStore, request: Request
    ) -> tuple[ArmComparison, RunValues]:
        from emabench.report.page.content import wanted_points

        points = wanted_points(question.metrics, request.quantity)
        stored = store.read(self.query.with_smoke, question.wanted(points))
        looks = store.looks({study for run in stored.runs for study in run.studies})
        found = question.answer(stored.runs, stored.values, smoke=self.query.smoke, looks=looks)
        return found, stored.values

    def request(self, *, live: bool) -> Request:
        """Return what the page says of itself."""
        from emabench.analysis.question import known_study
        from emabench.report.page.content import Request
        from emabench.store import store_label

        study = None if self.query.study is None else known_study(self.query.study)
        label = store_label(self.db)
        command = ["emabench", "dashboard" if live else "report", *self._options()]
        command += [] if live else ["-o", "report.html"]
        return Request(label, tuple(self.query.words()), (*command, "--db", label), study)

    def _options(self) -> list[str]:
        given = (
            ("--study", self.query.study),
            ("--name", self.query.name),
            ("--metric", self.asked.metric),
            ("--by", self.asked.by),
            ("--baseline", self.asked.baseline),
            *(("--margin", margin) for margin in self.asked.margin),
            *(("--where", condition) for condition in self.query.conditions),
        )
        words = [word for option, value in given if value is not None for word in (option, value)]
        return [*words, "--smoke"] if self.query.smoke else words
