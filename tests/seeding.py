"""Realistic runs for tests of the store, the reports and the commands, made through the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from emabench.records import (
    AttemptRecord,
    CostReading,
    Environment,
    JobKind,
    JobRecord,
    JobState,
    MetricPoint,
    PlannedRun,
    RunRecord,
    StudyPlan,
)
from emabench.spec import ExperimentSpec, fingerprint
from emabench.spec.paths import SHORT_NAMES, nest
from emabench.store import RunStore

ENVIRONMENT = Environment(
    device="Test CPU",
    device_kind="cpu",
    device_count=2,
    host="test-host",
    threads=2,
    precision="bf16",
    compiled=False,
    versions={"python": "3.11.0", "torch": "2.6.0"},
    platform="Linux",
)


def plan(
    *,
    smoke: bool = False,
    name: str | None = None,
    identity: dict[str, Any] | None = None,
    **fields: Any,
) -> PlannedRun:
    """Return a plan; fields by the short names of the flags, or by path with __ for dots."""
    paths = {SHORT_NAMES.get(key, key.replace("__", ".")): fields[key] for key in fields}
    spec = ExperimentSpec.parse(nest({"smoke": smoke, **paths})).model_dump(mode="json")
    known = {"device_kind": "cpu", "precision": "bf16", "threads": 2, "data": "d" * 64}
    whole = {**known, **(identity or {})}
    return PlannedRun(
        spec=spec,
        identity=whole,
        fingerprint=fingerprint({"spec": spec, "identity": whole}),
        command="emabench run --seed 0",
        name=name,
        smoke=smoke,
    )


def plan_study(store: RunStore, study: str, *, pairs: tuple[int, ...]) -> StudyPlan:
    """Fix the looks of a study whose runs are real ones."""
    terms = {"metrics": ["top1"], "margin": {"top1": 1.0}, "by": "ema_scope", "along": []}
    return store.keep_plan(
        study,
        smoke=False,
        pairs=pairs,
        levels=(0.01,) * len(pairs),
        terms={**terms, "baseline": "none", "questions": 1, "seeds": list(range(pairs[-1]))},
    )


def look_at(store: RunStore, study: str, *, pairs: int) -> None:
    """Record a look at a study."""
    verdicts = {"full": {"n": pairs, "verdict": "inconclusive"}}
    store.note_look(study, smoke=False, taken_by="compare", pairs=pairs, verdicts=verdicts)


def evaluation(weights: str, *, content: str = "e" * 64, **fields: Any) -> PlannedRun:
    """Return the plan of an evaluation of its own; of a run by its id, or of a file by its path."""
    images = {"evaluation__data__dataset": "fashion-mini"}
    whole = plan(weights=weights, identity={"weights": content}, **images, **fields)
    counts = {"evaluation": whole.spec["evaluation"], "identity": dict(whole.identity)}
    return replace(whole, fingerprint=fingerprint(counts), command=f"emabench eval {weights}")


def evaluated(store: RunStore, planned: PlannedRun, *, top1: float = 61.0) -> str:
    """Queue an evaluation of its own and work it off; return its id."""
    claim = store.queue.claim(store.add_run(planned).id, environment=ENVIRONMENT)
    assert claim is not None
    store.queue.finish(
        claim,
        results={"top1": top1, "top5": 90.0, "knn_top1": top1 - 2},
        cost=CostReading(eval_s=1.0, total_s=1.5),
        correct={"top1": bytes([0, 1, 1])},
    )
    return claim.job_id


def complete(
    store: RunStore,
    planned: PlannedRun,
    *,
    top1: float = 60.0,
    throughput: float | None = 1000.0,
    environment: Environment = ENVIRONMENT,
    force: bool = False,
    images: int = 9,
) -> str:
    """Queue a run and work it off; return its id. The number of test images is a multiple of 9."""
    run = store.add_run(planned, force=force)
    claim = store.queue.claim(run.pretrain_job, environment=environment)
    assert claim is not None
    points = [MetricPoint(step, step // 2, "loss", 5.0 - step) for step in range(4)]
    store.queue.record(claim, points)
    cost = CostReading(
        train_s=10.0,
        total_s=12.0,
        throughput=throughput,
        step_ms=None if throughput is None else 256_000 / throughput,
        steps=4,
        ema_bytes=0,
        host_peak_rss=2**30,
    )
    store.queue.finish(claim, results={"online_top1": top1 - 5}, cost=cost)
    claim = store.queue.claim(run.eval_job, environment=environment)
    assert claim is not None
    store.queue.finish(
        claim,
        results={"top1": top1, "knn_top1": top1 - 3},
        cost=CostReading(eval_s=2.0, total_s=3.0),
        correct={"top1": bytes([1, 0, 1, 1, 0, 0, 0, 1, 1]) * (images // 9)},
    )
    return run.id


def recorded(
    planned: PlannedRun,
    *,
    top1: float | None = 60.0,
    throughput: float | None = 1000.0,
    state: JobState = JobState.DONE,
    reason: str | None = None,
    environment: Environment | None = ENVIRONMENT,
    attempts: int = 1,
    **results: float,
) -> RunRecord:
    """Return the record of a run as a store would give it, without one."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    tries = tuple(
        AttemptRecord(number + 1, JobState.DONE, moment, moment, None, environment, None)
        for number in range(attempts)
    )
    run_id = planned.fingerprint[:12]
    job = JobRecord(
        id=run_id,
        kind=JobKind.PRETRAIN,
        state=state,
        fingerprint=planned.fingerprint,
        spec=planned.spec,
        depends_on=None,
        attempt=attempts,
        reason=reason,
        created_at=moment,
        run_id=run_id,
        attempts=tries,
    )
    known = {} if top1 is None else {"top1": float(top1)}
    return RunRecord(
        id=run_id,
        name=planned.name,
        smoke=planned.smoke,
        command=planned.command,
        state=state,
        spec=planned.spec,
        identity=planned.identity,
        fingerprint=planned.fingerprint,
        created_at=moment,
        results={**known, **results},
        cost=CostReading(throughput=None if throughput is None else float(throughput)),
        environment=environment,
        jobs=(job,),
        warnings=planned.warnings,
    )
