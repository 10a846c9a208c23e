"""``emabench work``: take jobs from the queue and run them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from emabench.artifacts.layout import Keep
from emabench.cli.options.download_option import DownloadOption
from emabench.cli.options.engine_options import (
    AddressOption,
    EngineName,
    EngineOption,
    JobsOption,
    JobsPerDeviceOption,
    PartitionOption,
    SbatchOption,
    SharedArtifactsOption,
    TimeLimitOption,
)
from emabench.cli.options.kept_files import CacheBudgetOption, CacheOption, KeepOption
from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.plugin_option import PluginOption
from emabench.cli.options.run_choice import DEFAULT_DB, DbOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emabench.queue.supervisor import Slot, Tally
    from emabench.store import RunStore

PANEL = "Queue"


def command(
    engine: EngineOption = EngineName.LOCAL,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            envvar="EMABENCH_DEVICE",
            metavar="NAMES",
            help="Devices to work on: auto, cpu, or a list such as cuda:0,cuda:1; on a "
            "cluster, kinds of devices.",
        ),
    ] = "auto",
    jobs_per_device: JobsPerDeviceOption = 1,
    jobs: JobsOption = None,
    address: AddressOption = None,
    partition: PartitionOption = None,
    time_limit: TimeLimitOption = None,
    sbatch: SbatchOption = None,
    max_jobs: Annotated[
        int | None,
        typer.Option("--max-jobs", min=1, metavar="N", help="Stop after this many attempts."),
    ] = None,
    idle_exit: Annotated[
        bool, typer.Option("--idle-exit", help="Stop once nothing is left to do.")
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop once a job has failed for good.")
    ] = False,
    stale_after: Annotated[
        float,
        typer.Option(
            "--stale-after",
            min=1,
            metavar="SECONDS",
            help="An attempt without a heartbeat for this long counts as dead.",
        ),
    ] = 60.0,
    download: DownloadOption = False,
    plugin: PluginOption = None,
    cache: CacheOption = None,
    cache_budget: CacheBudgetOption = None,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
    artifacts: SharedArtifactsOption = None,
    keep: KeepOption = Keep.WEIGHTS,
) -> None:
    """Take jobs from the queue and run them, each in its own process, until Ctrl-C.

    A job whose process dies is tried again from its last checkpoint. The first Ctrl-C (or SIGTERM)
    saves checkpoints, queues the jobs again and leaves; the second stops at once.

    Examples:
        emabench work
        emabench work --device cuda:0,cuda:1 --idle-exit
        emabench work --device cpu --jobs-per-device 2 --max-jobs 10
        emabench work --engine ray --address auto --artifacts /shared/night
        emabench work --engine slurm --partition gpu --time-limit 120
    """
    from emabench.cli.app.console import err, print_json
    from emabench.cli.options.engine_options import EngineChoice, local_artifacts, opened_engine
    from emabench.cli.options.job_ids import existing_store
    from emabench.cli.show.progress import work_listener
    from emabench.engines import local
    from emabench.errors import InterruptedRunError
    from emabench.queue.patience import patient
    from emabench.queue.stop_request import StopRequest
    from emabench.queue.worker import Workplace
    from emabench.table import counted

    choice = EngineChoice(
        engine, device, jobs_per_device, jobs, address, partition, time_limit, sbatch or ()
    )
    choice.check(artifacts)
    place = Workplace(local_artifacts(db, artifacts), keep=keep)
    stop = StopRequest()
    with (
        existing_store(db) as store,
        opened_engine(choice, patient(store, stop=stop), db=db, place=artifacts) as (
            opened,
            slots,
        ),
    ):
        try:
            with stop, work_listener(err()) as on_event:
                tally = local.serve(
                    store,
                    db,
                    slots,
                    place=place,
                    engine=opened,
                    on_event=on_event,
                    stop=stop,
                    max_jobs=max_jobs,
                    idle_exit=idle_exit,
                    fail_fast=fail_fast,
                    stale_after=stale_after,
                )
        except InterruptedRunError as error:
            hint = "what was running is queued again; emabench work picks it up"
            raise InterruptedRunError(error.message, hint=hint) from None
        _note_what_is_left(store, slots)
    if json:
        print_json({"schema_version": 1, **_as_json(tally)})
    else:
        counts = ", ".join(f"{n} {state}" for state, n in _counts(tally).items())
        typer.echo(f"{counted(tally.started, 'attempt')}: {counts or 'nothing was queued'}")
    _raise_if_failed(tally)


def _counts(tally: Tally) -> dict[str, int]:
    from emabench.records import JobState

    words = {JobState.QUEUED: "queued again"}
    found = {words.get(state, state.value): tally.count(state) for state in JobState}
    return {word: count for word, count in found.items() if count}


def _as_json(tally: Tally) -> dict[str, object]:
    return {
        "attempts": tally.started,
        "jobs": [
            {
                "id": end.claim.job_id,
                "run": end.claim.run_id,
                "kind": end.claim.kind.value,
                "attempt": end.claim.attempt,
                "state": end.state.value,
                "reason": end.reason,
            }
            for end in tally.ends.values()
        ],
    }


def _note_what_is_left(store: RunStore, slots: Sequence[Slot]) -> None:
    """Say so if jobs wait for a kind of device, a program or a plugin that this worker lacks."""
    from emabench.cli.app.console import err
    from emabench.extensions.plugins_at_hand import missing_plugins

    mine = {slot.kind for slot in slots}
    for (kind, plugins), count in store.queue.queued_by_need().items():
        jobs = "1 queued job needs" if count == 1 else f"{count} queued jobs need"
        if kind not in mine:
            err().print(f"note: {jobs} {kind}, which this worker does not offer")
        for plugin in missing_plugins(plugins):
            err().print(f"note: {jobs} the plugin {plugin.words}, which this worker does not have")


def _raise_if_failed(tally: Tally) -> None:
    from emabench.errors import JobsFailedError
    from emabench.records import JobState
    from emabench.table import counted

    failed = [end for end in tally.ends.values() if end.state is JobState.FAILED]
    if failed:
        jobs = counted(len(failed), "job")
        raise JobsFailedError(
            f"{jobs} failed for good; the first is {failed[0].claim.job_id}: {failed[0].reason}",
            hint="emabench logs ID says more; emabench retry --failed queues them again",
        )
