"""From the flags of ``bench`` to plans: one bench for each point of the grid but its scopes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emabench.plans.grids import grid
from emabench.spec import BenchSpec
from emabench.spec.grid import expand_values

if TYPE_CHECKING:
    from emabench.events import Listener
    from emabench.records import PlannedRun

SCOPES = "none,projector,full"
_PRESET, _DATASET = "cifar10", "synthetic"


def defaulted(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags with what a bench takes where neither they nor a spec file say it."""
    result = dict(flags)
    if not flags.get("specs"):
        result["preset"] = flags.get("preset") or _PRESET
        result["dataset"] = flags.get("dataset") or _DATASET
    return result


def bench_plans(
    flags: Mapping[str, Any], *, steps: int | None, seconds: float, on_event: Listener
) -> list[PlannedRun]:
    """Return the resolved benches.

    Args:
        flags: as for ``grids.grid``; all scopes of one bench take turns.
        steps: timed steps of each scope; None: as many as fit.
        seconds: for all timed steps, unless ``steps`` says how many.
        on_event: listens.

    Raises:
        UsageError: a name, a field or a value cannot be.
    """
    from emabench.jobs.bench import resolve_bench

    given = defaulted(flags)
    text = given.pop("ema_scope", None) or SCOPES
    scopes = [str(scope) for scope in expand_values(text, what="--ema-scope", as_text=True)]
    timed = ["--seconds", f"{seconds:g}"] if steps is None else ["--steps", str(steps)]
    words = shlex.join(["--ema-scope", text, *timed])
    plans = []
    for point in grid(given):
        ema = point.spec.pretrain.ema
        arms = tuple(ema.model_copy(update={"scope": scope}) for scope in scopes)
        bench = BenchSpec(arms=arms, steps=steps, seconds=seconds)
        command = f"emabench bench {point.command.removeprefix('emabench run ')} {words}"
        spec = point.spec.model_copy(update={"bench": bench})
        plans.append(resolve_bench(spec, command=command, on_event=on_event))
    return plans
