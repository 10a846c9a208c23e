"""Work on one claimed job: run it, and write down what became of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from emabench import device as devices
from emabench import experiment
from emabench.artifacts.layout import (
    CHECKPOINTS,
    WEIGHTS,
    Keep,
    attempt_folder,
    attempt_folders,
    remove_files,
)
from emabench.cost.meter import CostMeter
from emabench.errors import (
    EmabenchError,
    FencedError,
    InterruptedRunError,
    MissingPluginError,
    NotFoundError,
    StoreError,
    WeightsError,
)
from emabench.evaluation.weights_file import digest
from emabench.events import CheckpointSaved, Event, Listener, RevisionsFound, StepProgress
from emabench.experiment import Outcome
from emabench.extensions.plugins_at_hand import check_plugins
from emabench.jobs import bench, multi_device
from emabench.queue.attempt_writer import AttemptWriter
from emabench.queue.heartbeat import Heartbeat
from emabench.records import Claim, CostReading, JobKind
from emabench.spec import ExperimentSpec
from emabench.training.given_weights import NOTHING, given_weights
from emabench.training.weights import weights_file

Meter = CostMeter | multi_device.Readings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workplace:
    """Where and how jobs are worked on.

    Attributes:
        artifacts: the folder of all artefacts.
        device: name of the device to use; None is the one of the spec.
        keep: what stays of a job that is done.
        heartbeat_s: seconds between two heartbeats.
    """

    artifacts: Path
    device: str | None = None
    keep: Keep = Keep.WEIGHTS
    heartbeat_s: float = 5.0


def work(
    writer: AttemptWriter,
    claim: Claim,
    place: Workplace,
    *,
    on_event: Listener,
    stop: Callable[[], bool],
) -> None:
    """Run a claimed job to its end, and record it as done, failed or queued again.

    Args:
        writer: the queue that the claim came from, or a journal for it.
        claim: the attempt; every write carries it.
        place: where to work.
        on_event: listens.
        stop: asked often whether to stop; what is done so far is kept.

    Raises:
        EmabenchError: why the attempt failed; it is recorded before.
        MissingPluginError: a plugin of the job is not here, which is queued again for others.
        InterruptedRunError: the job was stopped and is queued again.
        FencedError: somebody else ended the attempt; nothing was recorded.
        StoreError: the store cannot be written.
    """
    try:
        check_plugins(claim.plugins)
    except MissingPluginError as error:  # whoever took the job had them
        writer.release(claim, reason=error.message, cost=None)
        raise
    try:
        spec = _spec_of(claim, place)
        device = devices.bind_device(spec.pretrain)
        threads = claim.threads or spec.pretrain.threads or 1
        compiled = spec.pretrain.compile and claim.kind is not JobKind.LINEAR_EVAL
        count = spec.pretrain.devices if claim.kind is JobKind.PRETRAIN else 1
        environment = devices.environment(device, threads, compiled=compiled, count=count)
        writer.begin(claim, environment)
    except (FencedError, StoreError):
        raise
    except EmabenchError as error:
        writer.fail(claim, reason=error.message, cost=None, retry=error.may_pass)
        raise
    meter: Meter | None = None
    try:
        meter = CostMeter(device) if count == 1 else multi_device.Readings()
        with Heartbeat(writer, claim, seconds=place.heartbeat_s) as heartbeat:

            def hear(event: Event) -> None:
                if isinstance(event, StepProgress):
                    heartbeat.progress = event
                elif isinstance(event, CheckpointSaved):
                    writer.saved(claim, event.step, resumed=event.resumed)
                elif isinstance(event, RevisionsFound):
                    writer.revise(claim, event.names)
                on_event(event)
                if claim.kind is JobKind.LINEAR_EVAL and (heartbeat.lost or stop()):
                    raise InterruptedRunError("stopped")  # it has nothing to save

            outcome = _run(
                writer, claim, spec, place, hear, lambda: heartbeat.lost or stop(), meter
            )
    except (FencedError, StoreError):
        raise
    except (InterruptedRunError, KeyboardInterrupt) as interruption:
        writer.release(claim, reason=str(interruption) or "interrupted", cost=_cost(meter))
        raise
    except EmabenchError as error:
        writer.fail(claim, reason=error.message, cost=_cost(meter), retry=error.may_pass)
        raise
    except Exception as error:
        _log.exception("job %s failed", claim.job_id)
        reason = f"{type(error).__name__}: {error}"
        writer.fail(claim, reason=reason, cost=_cost(meter), retry=True)
        raise
    cost = replace(outcome.cost, queue_s=claim.queued_s)
    writer.finish(claim, results=outcome.results, cost=cost, correct=outcome.correct)
    _tidy(claim, place)


def _cost(meter: Meter | None) -> CostReading | None:
    """Return what an attempt that failed has cost; a device that fails cannot be waited for."""
    with contextlib.suppress(Exception):
        return None if meter is None else meter.read()
    return None


def _spec_of(claim: Claim, place: Workplace) -> ExperimentSpec:
    spec = ExperimentSpec.parse(claim.spec)
    if place.device is None:
        return spec
    return spec.model_copy(
        update={"pretrain": spec.pretrain.model_copy(update={"device": place.device})}
    )


def _run(
    writer: AttemptWriter,
    claim: Claim,
    spec: ExperimentSpec,
    place: Workplace,
    on_event: Listener,
    stop: Callable[[], bool],
    meter: Meter,
) -> Outcome:
    folder = attempt_folder(place.artifacts, claim.job_id, claim.attempt)
    earlier = [f for f in attempt_folders(place.artifacts, claim.job_id) if f != folder]
    given = NOTHING
    if claim.kind is JobKind.PRETRAIN:
        given = given_weights(spec.pretrain, claim.given, artifacts=place.artifacts)
    parent = spec.pretrain.extends.run
    extended = [] if parent is None else attempt_folders(place.artifacts, parent)
    if isinstance(meter, multi_device.Readings):
        return multi_device.pretrain(
            spec.pretrain,
            folder=folder,
            earlier=earlier,
            extended=extended,
            on_event=on_event,
            record=lambda points: writer.record(claim, points, meter.read()),
            stop=stop,
            readings=meter,
            profile=spec.profile,
            given=given,
            images=claim.images.get("data"),
        )
    if claim.kind is JobKind.BENCH:
        return bench.measure(
            spec,
            on_event=on_event,
            record=lambda points: writer.record(claim, points, meter.read()),
            stop=stop,
            meter=meter,
        )
    if claim.kind is JobKind.PRETRAIN:
        return experiment.pretrain(
            spec.pretrain,
            folder=folder,
            earlier=earlier,
            extended=extended,
            on_event=on_event,
            record=lambda points: writer.record(claim, points, meter.read()),
            stop=stop,
            meter=meter,
            profile=spec.profile,
            given=given,
            images=claim.images.get("data"),
        )
    return experiment.evaluate(
        spec,
        weights=_weights(claim, spec, place),
        trained_with=claim.revisions,
        images=claim.images,
        on_event=on_event,
        meter=meter,
    )


def _weights(claim: Claim, spec: ExperimentSpec, place: Workplace) -> Path:
    """Return the weights that a job evaluates: of the pretraining it needs, or as its spec says.

    Raises:
        NotFoundError: the pretraining left no weights.
        WeightsError: those of a separate evaluation are gone, or no longer the same.
    """
    network = spec.evaluation.network
    if claim.depends_on is not None:
        return weights_file(place.artifacts, claim.depends_on, network)
    named = spec.weights or ""
    try:
        file = Path(named)
        if not file.is_absolute():
            file = weights_file(place.artifacts, named, network)
    except NotFoundError as error:
        raise WeightsError(error.message, hint=error.hint) from None
    if claim.weights not in (None, digest(file)):
        raise WeightsError(
            f"the weights {file} are not those that the evaluation was queued for",
            hint="emabench eval evaluates what is there now",
        )
    return file


def _tidy(claim: Claim, place: Workplace) -> None:
    """Delete what a job that is done leaves behind, as far as it is not to be kept."""
    if claim.kind is JobKind.PRETRAIN and place.keep is not Keep.CHECKPOINTS:
        remove_files(place.artifacts, claim.job_id, CHECKPOINTS)
    # The weights of a separate evaluation belong to another run, or to the user.
    if claim.depends_on is not None and place.keep is Keep.NOTHING:
        remove_files(place.artifacts, claim.depends_on, WEIGHTS)
