"""A store with a run of every kind: what one reader shows, another may leave out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from seeding import ENVIRONMENT, evaluation, plan
from studied import BLOCKS, PHASES, SCOPES, averaged, top1_of

from emabench.events import StepProgress
from emabench.records import CostReading, MetricPoint
from emabench.spec import ExperimentSpec, fingerprint
from emabench.spec.paths import nest, value_at
from emabench.store import RunStore
from emabench.store.queue.processes import ProcessIdentity

EPOCHS = 4
IMAGES = 200
STUDY, OWN_STUDY = "projector-vs-full", "our-own"
"""One of the package, and one that only the store knows."""
ELSEWHERE = ProcessIdentity("elsewhere", 4711, 100.0)
OTHER_MACHINE = replace(
    ENVIRONMENT,
    device="Other CPU",
    host="other-host",
    versions={"python": "3.12.0", "torch": "2.7.1"},
    commit="b" * 40,
    dirty=True,
)
CUDA = replace(ENVIRONMENT, device="Test GPU", device_kind="cuda", device_count=1, commit="a" * 40)


def make_store(path) -> dict[str, str]:
    """Fill a new store, and return the id of one run of each kind by the name of the kind."""
    with RunStore.open(str(path), mode="write") as store:
        return {**_arms(store), **_finished(store), **_unfinished(store), **_no_runs(store)}


def _arms(store) -> dict[str, str]:
    """Make what a user compares: methods, scopes and seeds, some of them in studies."""
    ids = {}
    for seed in range(3):
        for method in ("moco", "simclr"):
            for scope in SCOPES[:3]:
                ids[f"{method} {scope} {seed}"] = done(store, arm(method, scope, seed, STUDY))
    for seed in range(2):
        detached = arm("simclr", "none", seed, STUDY, pretrain__ema__target_gradient="detach")
        ids[f"detached {seed}"] = done(store, detached)
        for scope in ("stem", "layer4", "from:layer3", "from:layer4", "backbone"):
            ids[f"{scope} {seed}"] = done(store, arm("simclr", scope, seed, "which-block"))
        for decay in (0.9, 0.99):
            slow = arm("byol", "full", seed, name="decay", pretrain__ema__decay=decay)
            ids[f"decay {decay} {seed}"] = done(store, slow)
        for scope in ("none", "full"):
            fast = arm("vicreg", scope, seed, OWN_STUDY, identity={"device_kind": "cuda"})
            ids[f"cuda {scope} {seed}"] = done(store, fast, environment=CUDA)
    for scope in SCOPES[:3]:  # in two studies
        store.add_run(arm("simclr", scope, 0, "which-block"))
    return ids | {"done": ids["moco none 0"], "named": ids["decay 0.9 0"]}


def _finished(store) -> dict[str, str]:
    """Make runs that are done and have something about them, each beside an arm of a study."""
    ids = {
        "profiled": done(store, arm("moco", "full", 0, STUDY, profile=True), slower=3),
        "profiled alone": done(store, arm("wmse", "none", 0, profile=True), slower=3),
        "smoke": done(store, arm("moco", "full", 3, STUDY, smoke=True)),
        "profiled smoke": done(store, arm("moco", "full", 4, smoke=True, profile=True), slower=3),
        "repeated": done(store, arm("moco", "projector", 3, STUDY)),
        "repeat": done(store, arm("moco", "projector", 3, STUDY), force=True, slower=1.1),
        "collapsed": done(store, arm("simclr", "full", 3, STUDY), embedding_std=0.01),
        "other machine": done(store, arm("moco", "full", 3, STUDY), environment=OTHER_MACHINE),
        "without speed": done(store, arm("moco", "none", 3, STUDY), slower=None),
        "without gradients": done(store, arm("simclr", "none", 3, STUDY), series=("loss",)),
    }
    warned = replace(arm("simclr", "projector", 3, STUDY), warnings=("few images: 1 % is noise",))
    ids["warned"] = done(store, warned)

    # Both are trained at once, on one device.
    runs = [store.add_run(arm("dino", scope, 0, OWN_STUDY)) for scope in ("none", "full")]
    claims = [
        store.queue.claim(run.pretrain_job, environment=ENVIRONMENT, device="cpu") for run in runs
    ]
    for run, claim in zip(runs, claims, strict=True):
        train(store, claim)
        evaluate(store, run)
    ids |= {"busy": runs[0].id, "neighbour": runs[1].id}

    run = store.add_run(arm("dino", "projector", 0, OWN_STUDY))
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    store.queue.record(claim, points(claim.spec, epochs=2))
    store.queue.release(claim, reason="interrupted", cost=CostReading(train_s=9.0, total_s=10.0))
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    store.queue.fail(claim, reason="killed", cost=CostReading(total_s=2.0), retry=True)
    train(store, store.queue.claim(run.pretrain_job, environment=ENVIRONMENT))
    evaluate(store, run)
    return ids | {"interrupted": run.id}


def _unfinished(store) -> dict[str, str]:
    """Make runs that hold no result to compare: failed, cancelled, and those to come."""
    failed, broken, cancelled, waiting, running, queued = (
        store.add_run(arm("moco", scope, seed, STUDY), priority=seed)
        for seed in (5, 6, 7)
        for scope in ("none", "full")
    )
    untried = store.add_run(arm("moco", "none", 5, smoke=True))
    claim = store.queue.claim(untried.pretrain_job, environment=ENVIRONMENT)
    store.queue.fail(claim, reason="no such folder", cost=None)
    claim = store.queue.claim(failed.pretrain_job, environment=ENVIRONMENT)
    store.queue.record(claim, points(claim.spec, epochs=1))
    store.queue.fail(claim, reason="the loss is not finite", cost=CostReading(total_s=3.0))
    train(store, store.queue.claim(broken.pretrain_job, environment=ENVIRONMENT))
    claim = store.queue.claim(broken.eval_job, environment=ENVIRONMENT)
    store.queue.fail(claim, reason="no space left on device", cost=CostReading(total_s=1.0))
    store.queue.cancel([cancelled.pretrain_job, cancelled.eval_job])
    train(store, store.queue.claim(waiting.pretrain_job, environment=ENVIRONMENT))
    claim = store.queue.claim(running.pretrain_job, device="cpu")
    store.queue.begin(claim, ENVIRONMENT, process=ELSEWHERE)
    store.queue.record(claim, points(claim.spec, epochs=2), CostReading(total_s=5.0))
    store.queue.beat(claim, StepProgress(20, 40, 2, EPOCHS, 10, 2.5, 900.0), count=7)
    return {
        "failed": failed.id,
        "failed evaluation": broken.id,
        "failed smoke": untried.id,
        "cancelled": cancelled.id,
        "waiting": waiting.id,
        "running": running.id,
        "queued": queued.id,
    }


def _no_runs(store) -> dict[str, str]:
    """Make what is no run: evaluations of their own, and benches; and the newest run."""
    ids = {}
    weights = done(store, arm("moco", "projector", 4, OWN_STUDY))
    own = store.add_run(evaluation(weights, evaluation__network="target", smoke=False))
    evaluate(store, own)
    ids["evaluation"] = own.id
    of_file = store.add_run(evaluation("/weights/backbone.safetensors", content="f" * 64))
    evaluate(store, of_file)
    ids["evaluation of a file"] = of_file.id
    ids["queued evaluation"] = store.add_run(evaluation(weights, evaluation__knn__k=5)).id
    ids["bench"] = bench(store, arms=3)
    ids["queued bench"] = store.add_run(_bench_plan(arms=2)).id
    ids["newest"] = weights
    return ids


def arm(method, scope, seed, study=None, **others):
    """Return the plan of a run, with the command that repeats it."""
    others = {"pretrain__monitors__gradient_every": 5} | others  # four samples in 10 steps
    planned = plan(method=method, ema_scope=scope, seed=seed, epochs=EPOCHS, **others)
    command = f"emabench run --method {method} --ema-scope {scope} --seed {seed}"
    return replace(planned, study=study, command=command)


def done(store, planned, *, force=False, environment=ENVIRONMENT, **how: Any) -> str:
    """Queue a run, work it off, and return its id."""
    run = store.add_run(planned, force=force)
    train(store, store.queue.claim(run.pretrain_job, environment=environment), environment, **how)
    evaluate(store, run, environment)
    return run.id


def train(
    store, claim, environment=ENVIRONMENT, *, slower=1.0, embedding_std=0.8, series=None
) -> None:
    """Work off a pretraining: more blocks averaged cost more; ``slower`` is None for no speed."""
    assert claim is not None
    scope, seed, top1 = _about(claim.spec)
    curves = points(claim.spec)
    store.queue.record(claim, [p for p in curves if series is None or p.name in series])
    blocks = averaged(scope)
    factor = (slower or 1.0) * (1 + 0.05 * blocks + seed / 100)
    results = {
        "online_top1": top1 - 4,
        "effective_rank": 20.0 + blocks + seed / 3,
        "embedding_std": embedding_std,
    }
    store.queue.finish(
        claim, results=results, cost=_cost(scope, factor, environment, slower is not None)
    )


def evaluate(store, run, environment=ENVIRONMENT) -> None:
    """Work off the evaluation of a run, or one of its own."""
    claim = store.queue.claim(run.eval_job, environment=environment)
    assert claim is not None
    scope, seed, chance = _about(claim.spec)
    hard = np.random.default_rng(0).random(IMAGES)
    luck = np.random.default_rng(100 * SCOPES.index(scope) + seed).normal(0, 0.1, IMAGES)
    right = (hard + luck < chance / 100).astype(np.uint8)
    top1 = 100 * float(right.mean())
    results = {"top1": top1, "top5": min(100.0, top1 + 25), "knn_top1": top1 - 3 + seed / 4}
    cost = CostReading(queue_s=0.5, eval_s=2.0, total_s=3.0 + seed)
    store.queue.finish(claim, results=results, cost=cost, correct={"top1": right.tobytes()})


def bench(store, *, arms) -> str:
    """Queue a bench, work it off, and return its id."""
    run = store.add_run(_bench_plan(arms=arms))
    claim = store.queue.claim(run.eval_job, environment=ENVIRONMENT)
    assert claim is not None
    results, steps = {}, []
    for place in range(arms):
        factor = 1 + place / 10
        phases = {name: ms * factor for name, ms in PHASES.items() if place or "target" not in name}
        total = 260 * factor
        figures = {"step_ms": total, "images_per_second": 64_000 / total, **phases}
        figures |= {"flops_per_step": 1e11 * factor, "ema_bytes": place * 2**20}
        figures["peak_memory_bytes"] = (1 + place) * 2**28
        results |= {f"{name}:{place}": value for name, value in figures.items()}
        steps += [
            MetricPoint(step, 1, f"step_ms:{place}", total + (step * (1 + place)) % 5)
            for step in range(1, 7)
        ]
    store.queue.record(claim, steps)
    store.queue.finish(claim, results=results, cost=CostReading(train_s=20.0, total_s=25.0))
    return run.id


def _bench_plan(*, arms):
    fields = {"bench.arms": [{"scope": scope} for scope in SCOPES[:arms]], "bench.steps": 6}
    planned = arm("moco", "none", 0)
    spec = ExperimentSpec.parse({**planned.spec, **nest(fields)}).model_dump(mode="json")
    whole = {"bench": spec["bench"], "identity": dict(planned.identity)}
    return replace(
        planned, spec=spec, fingerprint=fingerprint(whole), command="emabench bench --method moco"
    )


def points(spec, *, epochs=EPOCHS) -> list[MetricPoint]:
    """Return the curves of a run, the gradient monitor's for every block among them."""
    scope, seed, top1 = _about(spec)
    found = []
    for epoch in range(1, epochs + 1):
        values = {
            "loss": 5.0 / epoch + seed / 50,
            "online_top1": top1 - 20 / epoch,
            "effective_rank": 5.0 * epoch + averaged(scope),
            "embedding_std": 0.2 * epoch,
            "decay": float("nan") if epoch == 1 else 0.99,
        }
        for place, block in enumerate(BLOCKS):
            height = (1 + place) / (10 + epoch) + seed / 100 - averaged(scope) / 200
            values |= {f"grad_norm:{block}": 2 * height, f"grad_norm_cv:{block}": height}
            values |= {f"grad_cosine:{block}": 1 - height}
        found += [MetricPoint(10 * epoch, epoch, name, value) for name, value in values.items()]
    return found


def _cost(scope, factor, environment, has_speed):
    phases = {name: ms * factor for name, ms in PHASES.items()}
    if scope == "none":
        del phases["target_forward_ms"]
    times = {
        "queue_s": 0.5,
        "init_s": 1.0,
        "data_prep_s": 2.0,
        "warmup_s": 1.5,
        "train_s": 30.0 * factor,
        "data_wait_s": 3.0,
        "probe_s": 1.0,
        "monitor_s": 0.5,
        "checkpoint_s": 0.3,
        "total_s": 40.0 * factor,
    }
    speed = {
        "throughput": 1000 / factor,
        "throughput_p10": 900 / factor,
        "throughput_p90": 1100 / factor,
        "throughput_windows": 9,
        "step_ms": 256 * factor,
        "sampled_steps": 5,
        **phases,
    }
    gpu = {
        "device_peak_allocated": 2**28,
        "device_peak_reserved": 2**29,
        "energy_j": 900.0 * factor,
    }
    return CostReading(
        **times,
        **(speed if has_speed else {}),
        **(gpu if environment.device_kind == "cuda" else {}),
        steps=10 * EPOCHS,
        flops_per_step=1e11 * (1 + averaged(scope) / 20),
        ema_bytes=averaged(scope) * 2**20,
        ema_bytes_moved=3 * averaged(scope) * 2**20,
        host_peak_rss=2**30 + averaged(scope) * 2**20,
    )


def _about(spec):
    """Return the scope and seed of a spec, and the accuracy that such a run shall reach."""
    scope, seed = value_at(spec, "pretrain.ema.scope"), value_at(spec, "pretrain.seed")
    method = len(value_at(spec, "pretrain.method.name"))
    return scope, seed, top1_of(scope, seed) + method % 3
