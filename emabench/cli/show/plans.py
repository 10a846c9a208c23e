"""Planned runs on stdout: what ``run --dry-run`` and ``queue --dry-run`` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from emabench.cli.app.console import out

if TYPE_CHECKING:
    from emabench.records import PlannedRun


def plan_values(plans: Sequence[PlannedRun]) -> list[dict[str, Any]]:
    """Return resolved runs as plain values for JSON."""
    return [
        {
            "command": plan.command,
            "fingerprint": plan.fingerprint,
            "identity": dict(plan.identity),
            "spec": dict(plan.spec),
        }
        for plan in plans
    ]


def print_plans(plans: Sequence[PlannedRun], remarks: Sequence[str] = ()) -> None:
    """Print resolved runs as YAML documents, each with its command, after some remarks."""
    from emabench.spec.experiment import complete_yaml

    console = out()
    head = f"{len(plans)} {'run' if len(plans) == 1 else 'runs'}"
    for line in (head, *remarks):
        console.print(f"# {line}", soft_wrap=True)
    for plan in plans:
        console.print(f"---\n# {plan.command}\n{complete_yaml(plan.spec)}", end="", soft_wrap=True)
