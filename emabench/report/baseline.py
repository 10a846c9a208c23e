"""The baseline of an arm: which other arm it is compared with, and why with none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from emabench.errors import UnknownNameError
from emabench.report.arms import IDENTITY, SCOPE, TARGET_GRADIENT, Arm, disagreement

MEANINGLESS_WITHOUT_EMA = {
    "pretrain.ema.decay",
    "pretrain.ema.final_decay",
    "pretrain.ema.schedule",
    "pretrain.ema.buffers",
}


def baseline_scope(arms: Iterable[Arm], asked: str | None) -> str | None:
    """Return the scope of the baseline: as asked, else ``full``, else ``none``, else nothing.

    Raises:
        UnknownNameError: no arm has the scope that was asked for.
    """
    scopes = {arm.scope for arm in arms}
    if asked is None:
        return next((scope for scope in ("full", "none") if scope in scopes), None)
    scope = "full" if asked == "encoder" else asked
    if scope not in scopes:
        raise UnknownNameError("baseline", asked, scopes)
    return scope


def reference_arm(arm: Arm, candidates: Sequence[Arm], warnings: list[str]) -> Arm | None:
    """Return the candidate that agrees with an arm on everything but the scope.

    Fields that mean nothing in one of the two scopes may differ: the decay has no effect in
    ``none``, ``target_gradient`` has none elsewhere. Of several candidates the nearest counts;
    a control arm, ``none`` with a detached target, only where the method itself is not there.

    Args:
        arm: the arm that is compared.
        candidates: all arms that have the baseline's scope. An arm among them is compared with
            none, but for a control arm: with the method itself.
        warnings: gets a line where there is no answer although one could be expected.
    """
    if candidates and arm.scope == candidates[0].scope:
        return _published(arm, candidates)
    near: list[tuple[tuple[int, bool], Arm]] = []
    for candidate in candidates:
        unequal = disagreement(arm, candidate)
        decisive = unequal - {SCOPE} - _meaningless(arm) - _meaningless(candidate)
        if not decisive:
            is_detached = candidate.fields.get(TARGET_GRADIENT) == "detach"
            near.append(((len(unequal - {TARGET_GRADIENT}), is_detached), candidate))
        elif decisive <= set(IDENTITY):
            warnings.append(_why_not(arm, candidate, [n for n in IDENTITY if n in decisive]))
    if not near:
        return None
    best = min(rank for rank, _ in near)
    nearest = [candidate for rank, candidate in near if rank == best]
    if len(nearest) > 1:
        warnings.append(
            f"{arm.method} {arm.scope}: {len(nearest)} baselines fit equally well, "
            "so it is compared with none of them; narrow the choice with --where"
        )
        return None
    return nearest[0]


def _published(arm: Arm, candidates: Sequence[Arm]) -> Arm | None:
    """Return the method itself for its control arm, which only detaches the target."""
    if arm.fields.get(TARGET_GRADIENT) != "detach":
        return None
    twins = (c for c in candidates if disagreement(arm, c) == {TARGET_GRADIENT})
    return next(twins, None)


def _meaningless(arm: Arm) -> set[str]:
    """Return the EMA fields that change nothing in an arm of this scope."""
    return MEANINGLESS_WITHOUT_EMA if arm.scope == "none" else {TARGET_GRADIENT}


def _why_not(arm: Arm, candidate: Arm, names: Iterable[str]) -> str:
    differences = ", ".join(
        f"{name} {_short(arm.fields.get(name))} against {_short(candidate.fields.get(name))}"
        for name in names
    )
    return f"{arm.method} {arm.scope} is not compared with {candidate.scope}: {differences}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 12 else f"{text[:12]}…"
