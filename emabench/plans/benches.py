"""From the flags of ``bench`` to plans: one bench for each point of the grid but its scopes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emabench.cli.options.spec_flags import GridPoint
    from emabench.records import PlannedRun
    from emabench.spec import ExperimentSpec

SCOPES = "none,projector,full"
_PRESET, _DATASET = "cifar10", "synthetic"


def defaulted(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags with what a bench takes where neither they nor a spec file say it."""
    result = dict(flags)
    if not flags.get("specs"):
        result["preset"] = flags.get("preset") or _PRESET
        result["dataset"] = flags.get("dataset") or _DATASET
    return result


def bench_plans(flags: Mapping[str, Any], *, steps: int | None, seconds: float) -> list[PlannedRun]:
    """Return the resolved benches, with progress on stderr.

    Args:
        flags: by the names of ``SPEC_FLAGS``; all scopes of one bench take turns.
        steps: timed steps of each scope; None: as many as fit.
        seconds: for all timed steps, unless ``steps`` says how many.

    Raises:
        UsageError: a name, a field or a value cannot be.
    """
    from emabench.cli.app.console import err
    from emabench.cli.options.spec_flags import grid
    from emabench.cli.show.progress import listener
    from emabench.jobs.bench import resolve_bench
    from emabench.spec.grid import expand_values

    given = defaulted(flags)
    text = given.pop("ema_scope", None) or SCOPES
    scopes = [str(scope) for scope in expand_values(text, what="--ema-scope", as_text=True)]
    words = ["--ema-scope", text, *(["--steps", str(steps)] if steps else [])]
    if steps is None:
        words += ["--seconds", f"{seconds:g}"]
    with listener(err()) as on_event:
        return [
            resolve_bench(
                _with_arms(point.spec, scopes, steps=steps, seconds=seconds),
                command=_command(point, words),
                on_event=on_event,
            )
            for point in grid(given)
        ]


def _with_arms(
    spec: ExperimentSpec, scopes: list[str], *, steps: int | None, seconds: float
) -> ExperimentSpec:
    from emabench.spec import BenchSpec

    arms = tuple(spec.pretrain.ema.model_copy(update={"scope": scope}) for scope in scopes)
    return spec.model_copy(update={"bench": BenchSpec(arms=arms, steps=steps, seconds=seconds)})


def _command(point: GridPoint, words: list[str]) -> str:
    return f"emabench bench {point.command.removeprefix('emabench run ')} {shlex.join(words)}"
