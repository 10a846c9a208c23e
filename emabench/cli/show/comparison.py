"""A comparison on the command line: how the answer is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emabench.cli.app.console import err, out, print_cautions, print_json
from emabench.cli.show.tables import print_table
from emabench.errors import GateFailedError, UsageError

if TYPE_CHECKING:
    from emabench.analysis.tasks.across_tasks import AcrossTasks
    from emabench.library import Comparison
    from emabench.table import Format


def print_comparison(
    comparison: Comparison,
    form: Format,
    *,
    runs: bool = False,
    columns: str | None = None,
    published: bool = False,
    means: bool = False,
) -> None:
    """Print a comparison to stdout and its warnings to stderr.

    Args:
        comparison: the answer.
        form: how.
        runs: whether every run is shown.
        columns: those of the arms, in place of the usual ones.
        published: whether the nearest published settings are shown too.
        means: whether nothing but mean ± sd is shown.

    Raises:
        UsageError: the columns or published figures do not go with the form, or a column is
            unknown.
        GateFailedError: an arm moved further than a rule allows.
    """
    from emabench.analysis.published.nearest_published import (
        NEVER_NAMED,
        nearest_published,
        neighbour_values,
    )
    from emabench.report.tables import comparison_table as tables
    from emabench.report.tables.comparison_columns import chosen_columns
    from emabench.report.tables.published_table import neighbours_table

    if columns is not None and (form == "json" or (runs and form != "text")):
        raise UsageError(
            "--columns applies only to the table of arms",
            hint="leave it out, --json holds everything" if form == "json" else "leave out --runs",
        )
    if published and form not in ("text", "json"):
        raise UsageError(
            f"--published applies to the table and to --json, not to --{form}",
            hint="'emabench published' prints all of them in that form",
        )
    neighbours = nearest_published(comparison) if published else ()
    chosen = None if columns is None else chosen_columns(comparison, columns)
    if means:
        from emabench.report.tables.mean_table import footnote, mean_table

        print_table(mean_table(comparison), form=form)
        below = footnote(comparison)
        lines = {"latex": f"% {below}", "markdown": "\n" + below.replace("*", r"\*")}
        out().print(lines.get(form, below))
    elif form == "json":
        more = {"published": neighbour_values(neighbours)} if published else {}
        print_json({**comparison.to_json(), **more})
    elif form == "csv":
        table = tables.runs_data(comparison) if runs else tables.data_table(comparison, chosen)
        print_table(table, form=form)
    elif form != "text":
        table = tables.runs_table(comparison) if runs else tables.reading_table(comparison, chosen)
        print_table(table, form=form)
    else:
        sections = [tables.reading_table(comparison, chosen)]
        sections += [tables.verdict_table(comparison)] if columns is None else []
        sections += [tables.runs_table(comparison)] if runs else []
        for section in sections:
            if section.rows:
                print_table(section)
        for line in tables.headlines(comparison) if columns is None else ():
            out().print(line)
        if neighbours:
            print_table(neighbours_table(neighbours), "published, nearest settings first")
    if published:
        err().print(
            f"note: published figures stand beside these, not for them: {NEVER_NAMED} are not "
            "named there"
            if neighbours
            else "note: nothing is published of these methods and metrics"
        )
    print_cautions(comparison.notes, comparison.cautions)
    _check_gate(comparison)


def _check_gate(comparison: Comparison) -> None:
    """Say what became of each rule.

    Raises:
        GateFailedError: an arm moved further than a rule allows.
    """
    failed = [result for result in comparison.gate if not result.passed]
    for result in comparison.gate:
        err().print(f"gate {'passed' if result.passed else 'FAILED'}: {result.words}")
    if failed:
        raise GateFailedError(
            f"{len(failed)} of {len(comparison.gate)} gates failed: {failed[0].words}",
            hint="compare --runs shows every seed; more seeds make a gate more certain",
        )


def print_across(comparison: Comparison, across: AcrossTasks, form: Format) -> None:
    """Print a comparison over several tasks to stdout, and its warnings to stderr.

    Raises:
        GateFailedError: an arm moved further than a rule allows, on any of the tasks.
    """
    from emabench.analysis.cautions import cautions_in_json
    from emabench.report.tables.across_table import across_table
    from emabench.table import counted

    count = len(across.left_out)
    verbs = ("lacks", "is") if count == 1 else ("lack", "are")
    lacking = f"{counted(count, 'other arm')} {verbs[0]} a task and {verbs[1]}"
    tasks = f"{counted(len(across.tasks), 'task')}: {', '.join(across.tasks)}"
    notes = (
        f"{tasks}; {counted(len(across.seeds), 'seed')} that all have; nothing is normalised",
        *([f"{lacking} left out"] if across.left_out else []),
        *across.notes,
        *comparison.arms.notes,
    )
    about_pairs = ("unpaired", "no-baseline", "few-pairs", "skewed", "unknown-values", "no-spread")
    cautions = [each for each in comparison.cautions if each.code not in about_pairs]
    if form == "json":
        head = {"schema_version": 1, "by": comparison.factor.name}
        told = {**cautions_in_json(cautions), "notes": list(notes)}
        print_json({**head, **across.to_json(), **told})
    else:
        print_table(across_table(across, exact=form == "csv"), form=form)
    print_cautions(notes, cautions)
    _check_gate(comparison)


def remember_look(comparison: Comparison, db: str) -> None:
    """Record that somebody looks at a study whose looks are planned; once for what there is to see.

    Where the store cannot be written, a note says that it was not.
    """
    from emabench.analysis.looking.said_of_looks import look_taken
    from emabench.errors import StoreError
    from emabench.store import RunStore

    plan = comparison.plan
    pairs, verdicts = look_taken(comparison)
    if plan is None or not verdicts:
        return
    with RunStore.open(db, mode="read") as store:
        taken = store.looks([plan.study]).taken
    if any((look.smoke, look.verdicts) == (plan.smoke, verdicts) for look in taken):
        return
    try:
        with RunStore.open(db, mode="write") as store:
            store.note_look(
                plan.study, smoke=plan.smoke, taken_by="compare", pairs=pairs, verdicts=verdicts
            )
    except StoreError as error:
        err().print(f"note: this look is not recorded: {error.message}")
