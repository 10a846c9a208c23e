"""List, show and queue the studies of the package: one claim each, and how it is tested.

A study names the runs that test a claim, what would refute it, and the margin, all of it fixed
before the runs. Its budgets are smoke (it works), cpu (minutes a run) and gpu (as published).

Examples:
    emabench studies
    emabench studies run projector-vs-full --budget smoke
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emabench.artifacts.layout import Keep
from emabench.cli.app.console import err, print_json
from emabench.cli.app.discovery import NamedCommands
from emabench.cli.options.completion import complete_studies
from emabench.cli.options.engine_options import (
    AddressOption,
    EngineChoice,
    EngineName,
    EngineOption,
    JobsOption,
    JobsPerDeviceOption,
    PartitionOption,
    SbatchOption,
    SharedArtifactsOption,
    TimeLimitOption,
    local_artifacts,
)
from emabench.cli.options.kept_files import CacheBudgetOption, CacheOption, KeepOption
from emabench.cli.options.output_forms import CsvOption, JsonOption, MarkdownOption
from emabench.cli.options.queue_flags import (
    ForceOption,
    MaxAttemptsOption,
    PreviewOption,
    PriorityOption,
    YamlOption,
)
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption
from emabench.cli.options.spec_flags import takes_setting_flags
from emabench.cli.options.typed_options import typed_options
from emabench.cli.show.plans import (
    add_all,
    check_yaml_flag,
    preview,
    print_queued,
    queued_values,
    resolve_points,
    say_size,
    say_what_is_new,
)
from emabench.cli.show.tables import print_table
from emabench.errors import UnknownNameError, UsageError
from emabench.records import DEFAULT_MAX_ATTEMPTS

if TYPE_CHECKING:
    from emabench.spec.study import Study

PANEL = "Run"


class _ListsAlone(NamedCommands):
    """Without the name of a command, the studies are listed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words before the command; an option alone is one of ``list``."""
        helps = ("-h", "--help")
        is_option = args[:1] and args[0].startswith("-") and args[0] not in helps
        if (not args or is_option) and not ctx.resilient_parsing:
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_ListsAlone, add_completion=False, rich_markup_mode=None)


class UntilWord(StrEnum):
    """When a study ends that looks as planned."""

    SETTLED = "settled"


StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="Name of a study, or a YAML file of your own.",
        autocompletion=complete_studies,
    ),
]


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the studies of the package with their claims and the number of runs.

    Examples:
        emabench studies
        emabench studies list --json
    """
    from emabench.spec.study import Budgets, load_study, study_names
    from emabench.table import Table

    budgets = tuple(Budgets.model_fields)
    studies = [load_study(name) for name in study_names()]
    if json:
        rows = [
            {"name": s.name, "title": s.spec.title, "claim": s.spec.claim, "runs": _runs(s)}
            for s in studies
        ]
        print_json({"schema_version": 1, "studies": rows})
        return
    counts = [(s.name, s.spec.claim, *(_runs(s).get(each) for each in budgets)) for s in studies]
    table = Table(("study", "claim", *budgets), tuple(counts), right=frozenset(budgets))
    print_table(table)
    err().print("the numbers count runs; 'emabench studies show STUDY' says more")


@app.command()
def show(
    study: StudyArgument,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="NAME", help="Show only this budget: smoke, cpu or gpu."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show a study: what is claimed, what would refute it, its arms, and the commands it equals.

    Examples:
        emabench studies show which-block
        emabench studies show projector-vs-full --budget cpu --json
    """
    from emabench.plans.studies import equal_commands, study_points
    from emabench.spec.study import load_study
    from emabench.table import counted

    found = load_study(study)
    names = list(found.spec.budgets.by_name()) if budget is None else [budget]
    commands = {name: equal_commands(found, name) for name in names}
    runs = {name: len(study_points(found, name)) for name in names}
    if json:
        print_json({"schema_version": 1, "study": _details(found, runs, commands)})
        return
    print_table(_about(found))
    for name in names:
        chosen = found.budget(name)
        seeds = ", ".join(map(str, chosen.seeds))
        typer.echo(f"{name}: {counted(runs[name], 'run')}, preset {chosen.preset}, seeds {seeds}")
        for line in commands[name]:
            typer.echo(f"    {line}")


@app.command()
@takes_setting_flags
def run(
    ctx: typer.Context,
    study: StudyArgument,
    budget: Annotated[
        str, typer.Option("--budget", metavar="NAME", help="Size: smoke, cpu or gpu.")
    ],
    until: Annotated[
        UntilWord | None,
        typer.Option(
            "--until",
            help="Work look by look, with seeds only for arms that an open question needs.",
        ),
    ] = None,
    queue_only: Annotated[
        bool,
        typer.Option(
            "--queue-only", help="With --until: queue the next look for workers elsewhere."
        ),
    ] = False,
    engine: EngineOption = EngineName.LOCAL,
    jobs_per_device: JobsPerDeviceOption = 1,
    jobs: JobsOption = None,
    address: AddressOption = None,
    partition: PartitionOption = None,
    time_limit: TimeLimitOption = None,
    sbatch: SbatchOption = None,
    priority: PriorityOption = 0,
    max_attempts: MaxAttemptsOption = DEFAULT_MAX_ATTEMPTS,
    force: ForceOption = False,
    dry_run: PreviewOption = False,
    yaml: YamlOption = False,
    cache: CacheOption = None,
    cache_budget: CacheBudgetOption = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: SharedArtifactsOption = None,
    keep: KeepOption = Keep.WEIGHTS,
) -> None:
    """Queue all runs of a study; 'emabench work' runs them, 'emabench compare --study' compares.

    All of them are checked before the first is queued. A run that exists is not queued again, only
    added to the study. Flags and --set change what all arms have in common.

    With --until settled the study looks at 5, 8, 12 and 20 pairs, or as it says itself: it works
    here, or on the engine, until every question has a verdict. The same command resumes it.

    Examples:
        emabench studies run projector-vs-full --budget smoke
        emabench studies run which-block --budget cpu --backbone resnet34 --seed 0..4
        emabench studies run my-study.yaml --budget cpu --dry-run
        emabench studies run projector-vs-full --budget cpu --until settled
    """
    from emabench.analysis.curves.stability import QUANTITIES
    from emabench.analysis.metrics import parse_metrics
    from emabench.plans.grids import axes
    from emabench.plans.studies import check_given, next_commands, study_points
    from emabench.spec.study import load_study

    check_yaml_flag(yaml=yaml, dry_run=dry_run)
    found = load_study(study)
    parse_metrics(",".join(found.spec.metrics))
    if found.spec.quantity not in (None, *QUANTITIES):
        raise UnknownNameError("quantity", str(found.spec.quantity), QUANTITIES)
    changes = axes(ctx.params)
    check_given(found, changes)
    choice = EngineChoice(
        engine, "auto", jobs_per_device, jobs, address, partition, time_limit, sbatch or ()
    )
    if until is not None:
        if force or dry_run:
            raise UsageError(
                f"--until does not go with {'--force' if force else '--dry-run'}",
                hint="'emabench studies plan' says what it would take",
            )
        from emabench.cli.show.settling import SettlingOrder, settle_study

        order = SettlingOrder(
            db, None if queue_only else choice, artifacts, keep, priority, max_attempts
        )
        settle_study(found, budget, changes, order, json=json)
        return
    _refuse_without_until(ctx)
    points = study_points(found, budget, changes=changes)
    folder = local_artifacts(db, artifacts)
    plans = resolve_points(points, db=db, artifacts=folder, study=found.name)
    # What a raw spec leaves open may make two of them the same.
    plans = list({plan.fingerprint: plan for plan in plans}.values())
    if dry_run:
        preview(plans, db=db, json=json, yaml=yaml)
        return
    say_size(plans, db=db)
    runs = add_all(
        plans, db=db, artifacts=folder, force=force, priority=priority, max_attempts=max_attempts
    )
    following = next_commands(
        found, db=None if db == DEFAULT_DB else db, smoke=any(plan.smoke for plan in plans)
    )
    if json:
        head = {"schema_version": 1, "study": found.name, "budget": budget}
        print_json({**head, "runs": queued_values(plans, runs), "next": following})
        return
    print_queued(plans, runs)
    say_what_is_new(runs)
    for line in following:
        err().print(f"    {line}")


@app.command()
@takes_setting_flags
def plan(
    ctx: typer.Context,
    study: StudyArgument,
    budget: Annotated[
        str, typer.Option("--budget", metavar="NAME", help="Size: smoke, cpu or gpu.")
    ],
    spread: Annotated[
        float | None,
        typer.Option(
            "--spread",
            min=0,
            metavar="SD",
            help="Standard deviation of the paired differences of the first metric.  "
            "[default: that of the store's runs]",
        ),
    ] = None,
    difference: Annotated[
        float,
        typer.Option(
            "--difference",
            metavar="D",
            help="The true difference to reckon with; of a ratio the fraction, such as -0.1.",
        ),
    ] = 0.0,
    cache: CacheOption = None,
    cache_budget: CacheBudgetOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: SharedArtifactsOption = None,
) -> None:
    """Say what a study that looks as planned will take, and how likely each question is decided.

    Nothing is run or stored. A spread that was measured on few pairs is hardly known: the chance
    has a range then, at both ends of the spread's 95 % interval.

    Examples:
        emabench studies plan projector-vs-full --budget cpu --spread 0.5
        emabench studies plan my-study.yaml --budget cpu --difference 0.3 --spread 0.5
    """
    from emabench.cli.show.study_outlook import print_outlook
    from emabench.plans.grids import axes
    from emabench.spec.study import load_study
    from emabench.table import choose_format

    form = choose_format(json=json, csv=csv, markdown=markdown)
    print_outlook(
        load_study(study),
        budget,
        axes(ctx.params),
        db=db,
        artifacts=local_artifacts(db, artifacts),
        form=form,
        spread=spread,
        truth=difference,
    )


_OF_UNTIL = (
    "queue_only", "engine", "jobs_per_device", "jobs", "address", "partition", "time_limit",
    "sbatch", "keep",
)  # fmt: skip


def _refuse_without_until(ctx: typer.Context) -> None:
    """Refuse options that only say how ``--until`` works.

    Raises:
        UsageError: one of them was given.
    """
    for name in typed_options(ctx, _OF_UNTIL):
        raise UsageError(
            f"--{name.replace('_', '-')} applies only with --until settled",
            hint="'emabench work' takes it for what is queued",
        )


def _runs(study: Study) -> dict[str, int]:
    from emabench.plans.studies import run_count

    return {name: run_count(study, name) for name in study.spec.budgets.by_name()}


def _details(study: Study, runs: dict[str, int], commands: dict[str, list[str]]) -> dict[str, Any]:
    values = study.spec.model_dump(mode="json", exclude={"budgets"})
    budgets = {
        name: {
            **study.budget(name).model_dump(mode="json", exclude={"runs"}),
            "runs": runs[name],
            "commands": commands[name],
        }
        for name in runs
    }
    return {"name": study.name, "file": study.file, **values, "budgets": budgets}


def _about(study: Study) -> Any:
    from emabench.table import Table, show_value

    spec = study.spec
    margins = ", ".join(f"{metric} {margin:g}" for metric, margin in spec.margin.items())
    rows = (
        ("study", study.name),
        ("title", spec.title),
        ("claim", spec.claim),
        ("source", spec.source),
        ("question", spec.question),
        ("hypothesis", spec.hypothesis),
        ("refuted by", spec.refuted_by),
        *([] if spec.quantity is None else [("quantity", f"{spec.quantity} of every block")]),
        *([] if spec.correlated is None else [("correlated", " with ".join(spec.correlated))]),
        ("metrics", ", ".join(spec.metrics)),
        ("margin", margins or "none"),
        ("compared", f"{spec.by}, each value with {show_value(spec.baseline)}"),
        *(("given", f"{field}: {what}") for field, what in spec.given.items()),
        ("file", study.file),
    )
    return Table(("", "value"), rows)
