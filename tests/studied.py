"""A store with a study in it: arms, seeds, curves, gradients and costs that a reader can judge."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from seeding import ENVIRONMENT, plan

from emabench.analysis.metric_values import MetricValues
from emabench.records import CostReading, MetricPoint
from emabench.store import RunStore

BLOCKS = ("stem", "layer1", "layer2", "layer3", "layer4", "projector")
SCOPES = (
    "none",
    "projector",
    "full",
    "stem",
    "layer1",
    "layer2",
    "layer3",
    "layer4",
    "from:layer1",
    "from:layer2",
    "from:layer3",
    "from:layer4",
    "backbone",
)
"""So that a study of three arms has the usual ones."""

PHASES = {
    "augment_ms": 30.0,
    "online_forward_ms": 60.0,
    "target_forward_ms": 40.0,
    "loss_ms": 4.0,
    "backward_ms": 110.0,
    "optimizer_ms": 8.0,
    "ema_update_ms": 2.0,
}
"""Of a step, for ``full``."""


def averaged(scope: str) -> int:
    """Return how many blocks a scope of ``SCOPES`` averages."""
    if scope.startswith("from:"):
        return len(BLOCKS) - BLOCKS.index(scope.removeprefix("from:"))
    return {"none": 0, "full": 6, "backbone": 5}.get(scope, 1)


def top1_of(scope: str, seed: int) -> float:
    """Return the accuracy of a run: more with the last blocks averaged, a little by the seed."""
    place = SCOPES.index(scope)
    return 60.0 + averaged(scope) + ((3 * place) % 7) / 3 + ((7 * seed + place) % 5) / 4


def points_of(store):
    """All metrics of the training of all runs, as pictures take them."""
    return MetricValues(points={run.id: store.metrics(run.id) for run in store.runs()})


def study(
    store: RunStore,
    *,
    arms: int = 3,
    seeds: int = 3,
    methods: tuple[str, ...] = ("moco",),
    study: str | None = None,
    epochs: int = 5,
    **fields: Any,
) -> list[str]:
    """Work off a study and return the ids of its runs.

    Args:
        store: open for writing.
        arms: how many of ``SCOPES``, for each method.
        seeds: how many, from 0 on.
        methods: their names.
        study: its name.
        epochs: length of the curves.
        fields: further fields of all runs.
    """
    return [
        _work_off(store, method, scope, seed, study, epochs, fields)
        for seed in range(seeds)
        for method in methods
        for scope in SCOPES[:arms]
    ]


def _work_off(
    store: RunStore,
    method: str,
    scope: str,
    seed: int,
    study: str | None,
    epochs: int,
    others: dict[str, Any],
) -> str:
    others = {"pretrain__monitors__gradient_every": 5} | others  # four samples in 10 steps
    planned = plan(method=method, ema_scope=scope, seed=seed, **others)
    planned = replace(
        planned,
        study=study,
        command=f"emabench run --method {method} --ema-scope {scope} --seed {seed}",
    )
    run = store.add_run(planned)
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    assert claim is not None
    top1 = top1_of(scope, seed)
    factor = 1 + 0.05 * averaged(scope) + seed / 100 + SCOPES.index(scope) / 90
    points = []
    for epoch in range(1, epochs + 1):
        step = 10 * epoch
        points.append(MetricPoint(step, epoch, "loss", 5.0 / epoch))
        points.append(MetricPoint(step, epoch, "online_top1", top1 - 20 / epoch))
        for place, block in enumerate(BLOCKS):
            for quantity in ("grad_norm", "grad_norm_cv"):
                value = (1 + place) / (10 + epoch) + seed / 100
                points.append(MetricPoint(step, epoch, f"{quantity}:{block}", value))
    store.queue.record(claim, points)
    known = {f.name for f in fields(CostReading)}
    phases = {
        name: None if name == "target_forward_ms" and scope == "none" else ms * factor
        for name, ms in PHASES.items()
        if name in known
    }
    cost = CostReading(
        init_s=1.0,
        data_prep_s=2.0,
        warmup_s=1.5,
        train_s=30.0 * factor,
        probe_s=1.0,
        monitor_s=0.5,
        checkpoint_s=0.3,
        total_s=40.0 * factor,
        throughput=1000 / factor,
        step_ms=256 * factor,
        steps=10 * epochs,
        ema_bytes=averaged(scope) * 2**20,
        host_peak_rss=2**30,
        **phases,  # type: ignore[arg-type]
    )
    store.queue.finish(claim, results={"online_top1": top1 - 4}, cost=cost)
    claim = store.queue.claim(run.eval_job, environment=ENVIRONMENT)
    assert claim is not None
    store.queue.finish(
        claim,
        results={"top1": top1, "top5": top1 + 25, "knn_top1": top1 - 3},
        cost=CostReading(eval_s=2.0, total_s=3.0),
        correct={"top1": bytes([1, 0, 1, 1, 0, 0, 0, 1, 1]) * 4},
    )
    return run.id
