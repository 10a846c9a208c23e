"""``emabench queue``: add runs to the queue, for ``emabench work``."""

from __future__ import annotations

import typer

from emabench.cli.app.console import print_json
from emabench.cli.options.engine_options import SharedArtifactsOption, local_artifacts
from emabench.cli.options.kept_files import CacheBudgetOption, CacheOption
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.queue_flags import (
    ForceOption,
    JoinStudyOption,
    LabelOption,
    MaxAttemptsOption,
    PreviewOption,
    PriorityOption,
    YamlOption,
)
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption
from emabench.cli.options.spec_flags import takes_spec_flags
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
from emabench.records import DEFAULT_MAX_ATTEMPTS

PANEL = "Queue"


@takes_spec_flags
def command(
    ctx: typer.Context,
    priority: PriorityOption = 0,
    max_attempts: MaxAttemptsOption = DEFAULT_MAX_ATTEMPTS,
    name: LabelOption = None,
    study: JoinStudyOption = None,
    force: ForceOption = False,
    dry_run: PreviewOption = False,
    yaml: YamlOption = False,
    cache: CacheOption = None,
    cache_budget: CacheBudgetOption = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: SharedArtifactsOption = None,
) -> None:
    """Add runs to the queue and return at once with their ids; 'emabench work' runs them.

    Takes the flags and grids of 'emabench run'. Each run is two jobs: a pretraining, and the
    evaluation that depends on it. A run that exists is not queued again.

    Examples:
        emabench queue --method simclr,moco --ema-scope none,projector,full --seed 0..4
        emabench queue study.yaml --priority 10 --name study
        emabench queue study.yaml --dry-run
    """
    from emabench.plans.grids import grid

    check_yaml_flag(yaml=yaml, dry_run=dry_run)
    folder = local_artifacts(db, artifacts)
    plans = resolve_points(list(grid(ctx.params)), db=db, artifacts=folder, name=name, study=study)
    if dry_run:
        preview(plans, db=db, json=json, yaml=yaml)
        return
    say_size(plans, db=db)
    runs = add_all(
        plans, db=db, artifacts=folder, force=force, priority=priority, max_attempts=max_attempts
    )
    if json:
        print_json({"schema_version": 1, "runs": queued_values(plans, runs)})
    else:
        print_queued(plans, runs)
        say_what_is_new(runs)
