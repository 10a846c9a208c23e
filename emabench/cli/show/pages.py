"""A page on the command line: the question, and the page that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emabench.cli.show.comparison import Asked, read_comparison
from emabench.errors import NotFoundError, SpecError, UnknownNameError

if TYPE_CHECKING:
    from emabench.analysis.comparison import Comparison
    from emabench.report.page.content import PageContent, Request
    from emabench.spec.study import StudySpec


@dataclass(frozen=True)
class PageQuestion:
    """What a page is asked, as it was typed."""

    asked: Asked
    where: Sequence[str] | None
    name: str | None
    study: str | None
    smoke: bool
    db: str

    def read(self) -> Comparison:
        """Compare what the store holds now."""
        comparison, _ = read_comparison(
            self.asked, self.db, self.where, self.name, self.study, smoke=self.smoke
        )
        return comparison

    def page(self, *, live: bool = False) -> PageContent:
        """Gather the page.

        Args:
            live: the queue is shown too, and nothing to compare is no error.

        Raises:
            NotFoundError: nothing is there to compare.
        """
        from emabench.report.page.content import page_content
        from emabench.store import RunStore

        comparison: Comparison | NotFoundError
        try:
            comparison = self.read()
        except NotFoundError as error:
            if not live:
                raise
            comparison = error
        with RunStore.open(self.db, mode="read") as store:
            queue = store.queue(limit=10) if live else None
            return page_content(store, comparison, self.request(live=live), queue=queue)

    def request(self, *, live: bool) -> Request:
        """Return what the page says of itself."""
        from emabench.report.page.content import Request
        from emabench.store import store_label

        label = store_label(self.db)
        command = ["emabench", "dashboard" if live else "report", *self._options()]
        command += [] if live else ["-o", "report.html"]
        return Request(label, tuple(self._words()), (*command, "--db", label), self._study())

    def _options(self) -> list[str]:
        given = (
            ("--study", self.study),
            ("--name", self.name),
            ("--metric", self.asked.metric),
            ("--by", self.asked.by),
            ("--baseline", self.asked.baseline),
            *(("--margin", margin) for margin in self.asked.margin),
            *(("--where", condition) for condition in self.where or ()),
        )
        words = [word for option, value in given if value is not None for word in (option, value)]
        return [*words, "--smoke"] if self.smoke else words

    def _words(self) -> list[str]:
        words = [] if self.study is None else [f"study {self.study}"]
        words += [] if self.name is None else [f"name {self.name}"]
        words += [f"where {condition}" for condition in self.where or ()]
        return [*words, "with smoke runs"] if self.smoke else words

    def _study(self) -> StudySpec | None:
        """Return the study, if it is one of the package."""
        from emabench.spec.study import load_study

        try:
            return None if self.study is None else load_study(self.study).spec
        except (UnknownNameError, SpecError):
            return None
