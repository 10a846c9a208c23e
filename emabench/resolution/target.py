"""What the target of a pretraining is: which blocks are averaged, and whether it is detached."""

from __future__ import annotations

from collections.abc import Sequence

from emabench.errors import SpecError
from emabench.methods._masked import MaskedMethod
from emabench.methods._method import Method
from emabench.spec import EmaScope, PretrainSpec
from emabench.spec.scope import PROJECTOR


def settle_scope(
    spec: PretrainSpec, method: type[Method], blocks: Sequence[str]
) -> tuple[EmaScope, list[str]]:
    """Return the EMA scope, and what the user should know of it.

    Args:
        spec: as the user wrote it.
        method: of the spec.
        blocks: names of the backbone's blocks.

    Raises:
        SpecError: there are no such blocks, or the method has no target.
    """
    notes = []
    scope = EmaScope.parse(spec.ema.scope, [*blocks, PROJECTOR])
    if PROJECTOR in scope.averaged and issubclass(method, MaskedMethod) and method.target_views:
        asked, scope = scope.canonical, scope.without(PROJECTOR)
        notes.append(
            f"method {spec.method.name} has no projector: EMA scope {asked} is {scope.canonical}"
        )
    if scope.averaged and not method.target_views:
        raise SpecError(
            f"method {spec.method.name} has no target network: EMA scope {scope.canonical} "
            "has nothing to average",
            hint="use --ema-scope none for it",
        )
    return scope, notes


def settle_target_gradient(spec: PretrainSpec, scope: EmaScope, stop_gradient: bool) -> str:
    """Settle whether the target is detached.

    Raises:
        SpecError: a gradient is asked for where the scope or the method has none.
    """
    asked = spec.ema.target_gradient
    if asked != "attach":
        return "detach" if scope.averaged or stop_gradient or asked == "detach" else "attach"
    if scope.averaged or stop_gradient:
        reason = f"EMA scope {scope.canonical}" if scope.averaged else f"method {spec.method.name}"
        raise SpecError(
            f"ema.target_gradient=attach: {reason} has no gradient through its target",
            hint="leave ema.target_gradient at auto",
        )
    return "attach"
