"""Work on one claimed job: run it, and write into the store what became of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from emabench import experiment
from emabench.artifacts import attempt_folder, attempt_folders
from emabench.cost.meter import CostMeter
from emabench.errors import EmabenchError, InterruptedRunError
from emabench.experiment import Listener, Outcome
from emabench.records import Claim, JobKind
from emabench.spec import ExperimentSpec
from emabench.store.run_store import RunStore
from emabench.training.weights import weights_file

_log = logging.getLogger(__name__)


def work(
    store: RunStore,
    claim: Claim,
    *,
    artifacts: Path,
    on_event: Listener,
    stop: Callable[[], bool],
) -> None:
    """Run a claimed job to its end, and record it as done, failed or queued again.

    Args:
        store: where the claim came from.
        claim: the attempt; every write carries it.
        artifacts: the folder of all artefacts.
        on_event: told of progress.
        stop: asked often whether to stop; what is done so far is kept.

    Raises:
        EmabenchError: why the job failed; it is recorded before.
        InterruptedRunError: the job was stopped and is queued again.
    """
    spec = ExperimentSpec.parse(claim.spec)
    meter = CostMeter(experiment.bind_device(spec.pretrain))
    try:
        outcome = _run(store, claim, spec, artifacts, on_event, stop, meter)
    except (InterruptedRunError, KeyboardInterrupt) as interruption:
        store.release(claim, reason=str(interruption) or "interrupted", cost=meter.read())
        raise
    except EmabenchError as error:
        store.fail(claim, reason=error.message, cost=meter.read())
        raise
    except Exception as error:
        _log.exception("job %s failed", claim.job_id)
        store.fail(claim, reason=f"{type(error).__name__}: {error}", cost=meter.read())
        raise
    cost = replace(outcome.cost, queue_s=claim.queued_s)
    store.finish(claim, results=outcome.results, cost=cost, correct=outcome.correct)


def _run(
    store: RunStore,
    claim: Claim,
    spec: ExperimentSpec,
    artifacts: Path,
    on_event: Listener,
    stop: Callable[[], bool],
    meter: CostMeter,
) -> Outcome:
    if claim.kind is JobKind.PRETRAIN:
        folder = attempt_folder(artifacts, claim.job_id, claim.attempt)
        return experiment.pretrain(
            spec.pretrain,
            folder=folder,
            earlier=[f for f in attempt_folders(artifacts, claim.job_id) if f != folder],
            on_event=on_event,
            record=lambda points: store.record(claim, points),
            stop=stop,
            meter=meter,
        )
    assert claim.depends_on is not None
    weights = weights_file(artifacts, claim.depends_on, spec.evaluation.network)
    return experiment.evaluate(spec, weights=weights, on_event=on_event, meter=meter)
