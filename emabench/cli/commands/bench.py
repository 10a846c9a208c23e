"""``emabench bench``: what do EMA scopes cost on this machine, side by side?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from emabench.artifacts.layout import artifacts_folder
from emabench.cli.options.kept_files import ArtifactsOption
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption
from emabench.cli.options.spec_flags import takes_spec_flags

if TYPE_CHECKING:
    from emabench.records import RunRecord

PANEL = "Run"


@takes_spec_flags
def command(
    ctx: typer.Context,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=2, metavar="N", help="Timed steps of each scope."),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option("--seconds", min=1, help="Time for all timed steps, unless --steps is given."),
    ] = 15.0,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: ArtifactsOption = None,
) -> None:
    """Measure what EMA scopes cost: their training steps take turns in one process.

    After a warm-up, the scopes take turns step by step, so that anything else the machine does
    affects all of them alike. Each ratio to the first scope comes with its 95 % interval and the
    ratio that the floating-point operations predict. Peak memory is measured in a separate process
    for each scope. Without --preset, --dataset or a spec file, the steps follow the published
    recipes (preset cifar10) on random images: the time does not depend on what they show. The
    result is kept in the store; 'emabench show' and 'compare --bench' print it again.

    Examples:
        emabench bench --method simclr --ema-scope none,projector,full
        emabench bench --backbone resnet50 --image-size 224 --batch-size 64 --steps 20
        emabench bench --method moco --dataset folder --data-dir images --json
    """
    from emabench.cli.app.console import err
    from emabench.cli.show.execution import execute
    from emabench.cli.show.progress import listener
    from emabench.engines.local import raise_unless_done
    from emabench.errors import InterruptedRunError
    from emabench.plans.benches import bench_plans
    from emabench.queue.process import prepare
    from emabench.queue.worker import Workplace

    prepare()
    with listener(err()) as on_event:
        plans = bench_plans(ctx.params, steps=steps, seconds=seconds, on_event=on_event)
    place = Workplace(artifacts_folder(db, artifacts))
    mine: list[str] = []
    try:
        outcomes, benches = execute(
            plans, db=db, place=place, force=True, on_queued=lambda bench: mine.append(bench.id)
        )
    except InterruptedRunError as error:
        lost = _cancel(mine, db)
        hint = "its steps are lost; run it again" if lost else "'compare --bench' prints it"
        raise InterruptedRunError(error.message, hint=hint) from None
    except KeyboardInterrupt:
        _cancel(mine, db)
        raise
    _print(list(benches.values()), db=db, json=json)
    raise_unless_done(outcomes, what="benches")


def _cancel(mine: Sequence[str], db: str) -> bool:
    """Leave none of these benches in the queue: half of one is worth nothing.

    Returns:
        Whether one was there.
    """
    from emabench.store import RunStore

    with RunStore.open(db, mode="write") as store:
        return bool(store.queue.cancel(mine))  # a bench has one job, whose id it has


def _print(benches: Sequence[RunRecord], *, db: str, json: bool) -> None:
    from emabench.cli.show.benches import print_benches
    from emabench.records import JobState
    from emabench.store import RunStore

    done = [bench for bench in benches if bench.state is JobState.DONE]
    with RunStore.open(db, mode="read") as store:
        print_benches([(bench, store.metrics(bench.id)) for bench in done], json=json)
