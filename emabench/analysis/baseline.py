"""The baseline of an arm: which other arm it is compared with, and why with none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from emabench.analysis.arms import IDENTITY, TARGET_GRADIENT, Arm, disagreement, value_rank
from emabench.analysis.cautions import Caution
from emabench.analysis.factor import EMA_SCOPE, Factor
from emabench.errors import SpecError, UnknownNameError
from emabench.spec.experiment import parse_scalar
from emabench.spec.paths import SHORT_NAMES
from emabench.table import show_value

MEANINGLESS_WITHOUT_EMA = {
    "pretrain.ema.decay",
    "pretrain.ema.final_decay",
    "pretrain.ema.schedule",
    "pretrain.ema.buffers",
}
_NAMED = 3
"""Fields that a message names."""
_SHORT = {path: name for name, path in SHORT_NAMES.items()}


def baseline_value(arms: Iterable[Arm], asked: str | None, factor: Factor = EMA_SCOPE) -> Any:
    """Return the value of the factor that the others are compared with; None is nothing.

    Args:
        arms: all arms.
        asked: the value as it was typed. None takes, of EMA scopes, ``full`` if there is one, else
            ``none``, else nothing; of other factors the smallest of several values.
        factor: what is compared.

    Raises:
        UnknownNameError: no arm has the value that was asked for.
    """
    found = (factor.value(arm.fields) for arm in arms)
    values = sorted({show_value(v): v for v in found}.values(), key=value_rank)
    if asked is not None:
        return _asked(asked, values, factor)
    if factor.is_scope:
        return next((scope for scope in ("full", "none") if scope in values), None)
    known = [value for value in values if value is not None]
    return known[0] if len(values) > 1 and known else None


class Baselines:
    """The arms that have the baseline's value, known by all that no arm may have otherwise."""

    def __init__(self, arms: Iterable[Arm], value: Any, factor: Factor = EMA_SCOPE) -> None:
        self.factor = factor
        self.value = value
        text = show_value(value)
        self.arms = [arm for arm in arms if show_value(factor.value(arm.fields)) == text]
        self._like: dict[frozenset[tuple[str, str]], list[Arm]] = defaultdict(list)
        for arm in self.arms:
            self._like[self._likeness(arm)].append(arm)

    def like(self, arm: Arm) -> Sequence[Arm]:
        """Return those that may agree with an arm on everything but the factor."""
        return self._like.get(self._likeness(arm), ())

    def _likeness(self, arm: Arm) -> frozenset[tuple[str, str]]:
        vague = MEANINGLESS_WITHOUT_EMA | {TARGET_GRADIENT}
        return frozenset(
            (path, text)
            for path, text in arm.texts.items()
            if path not in vague and not self.factor.goes_along(path)
        )


def reference_arm(arm: Arm, baselines: Baselines, cautions: list[Caution]) -> Arm | None:
    """Return the arm with the baseline's value that agrees with an arm on everything else.

    Fields that mean nothing in one of the two scopes may differ: the decay has no effect in
    ``none``, ``target_gradient`` has none elsewhere. So may those that belong to the value of the
    factor, such as the options of a method. Of several baselines the nearest counts, and of two
    from before and after a fix the one that is as the arm itself; a control arm, ``none`` with a
    detached target, only where the method itself is not there.

    Args:
        arm: the arm that is compared. One that has the baseline's value itself is compared with
            none, but for a control arm: with the method itself.
        baselines: what it may be compared with.
        cautions: gets a line where there is no answer.
    """
    factor = baselines.factor
    if not baselines.arms:
        return None
    if show_value(factor.value(arm.fields)) == show_value(baselines.value):
        return _published(arm, baselines.arms) if factor.is_scope else None
    near: list[tuple[tuple[int, bool, bool], Arm]] = []
    for candidate in baselines.like(arm):
        unequal = {f for f in disagreement(arm, candidate) if not factor.goes_along(f)}
        if not unequal - _meaningless(arm) - _meaningless(candidate):
            is_detached = candidate.fields.get(TARGET_GRADIENT) == "detach"
            is_other = bool(arm.before) != bool(candidate.before)
            near.append(((len(unequal - {TARGET_GRADIENT}), is_detached, is_other), candidate))
    if not near:
        cautions.append(Caution("no-baseline", _why_not(arm, baselines), _ids(arm)))
        return None
    best = min(rank for rank, _ in near)
    nearest = [candidate for rank, candidate in near if rank == best]
    if len(nearest) > 1:
        message = (
            f"{_name(arm, factor)}: {len(nearest)} baselines fit equally well, "
            "so it is compared with none of them; narrow the choice with --where"
        )
        cautions.append(Caution("no-baseline", message, _ids(arm)))
        return None
    return nearest[0]


def _asked(asked: str, values: Sequence[Any], factor: Factor) -> Any:
    text = "full" if factor.is_scope and asked == "encoder" else asked
    try:
        meant = parse_scalar(text, what="--baseline")
    except SpecError:
        meant = text
    for value in values:
        is_number = isinstance(value, float) and not isinstance(meant, bool)
        if show_value(value) in (text, show_value(meant)) or (is_number and value == meant):
            return show_value(value) if value is None else value  # None is no baseline
    raise UnknownNameError("baseline", asked, [show_value(value) for value in values])


def _published(arm: Arm, candidates: Sequence[Arm]) -> Arm | None:
    """Return the method itself for its control arm, which only detaches the target."""
    if arm.fields.get(TARGET_GRADIENT) != "detach":
        return None
    twins = [c for c in candidates if disagreement(arm, c) == {TARGET_GRADIENT}]
    return min(twins, key=lambda c: bool(c.before) != bool(arm.before), default=None)


def _meaningless(arm: Arm) -> set[str]:
    """Return the EMA fields that change nothing in an arm of this scope."""
    return MEANINGLESS_WITHOUT_EMA if arm.scope == "none" else {TARGET_GRADIENT}


def _why_not(arm: Arm, baselines: Baselines) -> str:
    """Return in which fields the nearest baseline differs."""
    factor = baselines.factor

    def decisive(candidate: Arm) -> set[str]:
        unequal = {f for f in disagreement(arm, candidate) if not factor.goes_along(f)}
        return unequal - _meaningless(arm) - _meaningless(candidate)

    candidate = min(baselines.arms, key=lambda each: len(decisive(each)))
    names = sorted(decisive(candidate), key=lambda name: (name not in IDENTITY, name))
    differences = ", ".join(
        f"{_SHORT.get(name, name.rpartition('.')[2])} "
        f"{_short(arm.fields.get(name))} against {_short(candidate.fields.get(name))}"
        for name in names[:_NAMED]
    )
    if len(names) > _NAMED:
        differences += f" and {len(names) - _NAMED} more fields"
    value = show_value(baselines.value)
    return f"{_name(arm, factor)} is not compared with {value}: {differences}"


def _name(arm: Arm, factor: Factor) -> str:
    value = "" if factor.is_scope else f" {factor.name}={show_value(factor.value(arm.fields))}"
    return f"{arm.method} {arm.scope}{value}"


def _short(value: Any) -> str:
    text = show_value(value)
    return text if len(text) <= 12 else f"{text[:12]}…"


def _ids(arm: Arm) -> tuple[str, ...]:
    return tuple(run.id for run in arm.runs.values())
