"""Moves modules to where the layout of the reading half has them, and rewrites whoever names them.

Run once, from the root of a checkout: ``python .ci/moves.py``; ruff sorts the imports afterwards.
Nothing but places and names of modules changes: a module is moved, or appended to another one.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

MOVES: dict[str, str] = {}
FOLDS: dict[str, str] = {}
"""By the old name of a module, the new name of the one that it is appended to."""
SYMBOLS = {
    ("report.baseline", "value_rank"): "analysis.arms",
    ("report.plots", "check_path"): "report.figures.sheet",
    ("report.plots", "draw_stability"): "report.figures.stability",
}
"""Single names that are found elsewhere than the rest of their module."""


def _moves(old: str, new: str, names: str) -> None:
    for each in names.split():
        before, _, after = each.partition("=")
        MOVES[f"{old}.{before}".strip(".")] = f"{new}.{after or before}".strip(".")


_moves("report", "", "tables=table")
_moves(
    "report",
    "analysis",
    "arms metrics statistics comparison baseline verdicts cautions gate stability run_diff "
    "estimate margins factor rows=compared_arms selection measured=metric_values pace",
)
_moves("report.charts", "report.figures", "chosen=chosen pareto=pareto_data curves=curves_data")
_moves("report.charts", "report.figures", "cost=cost_data seeds=seeds_data blocks=blocks_data")
_moves("report.charts", "report.figures", "figure=page_figure axis reach")
_moves("report.plots", "report.figures", "pareto curves cost seeds blocks stability sheet arm_axis")
_moves(
    "report",
    "report.tables",
    "comparison_table comparison_columns run_table run_sheet evaluation_table bench_table "
    "cost_table disk_usage=disk_table queue_status=queue_table pruning=pruning_table",
)
_moves("report.page", "report.page", "figures=page_figures")
_moves("store", "artifacts", "files pruning")
_moves("", "", "artifacts=artifacts.layout")
_moves("report", "artifacts", "job_logs=logs")
_moves("store", "store.connection", "location opening server=postgresql database")
_moves("store", "store.queue", "claiming attempts locking processes watching enqueue job_queue")
_moves(
    "store",
    "store.runs",
    "reader whole_runs totals=run_summary points comparing=compared_values study_runs=studies "
    "rows=row_records",
)
_moves("store", "store.schema", "tables schema=version migrations")
_moves(
    "store",
    "store.transfer",
    "bundle bundle_values importing transfer=bundle_file copying scrubbing invariants=soundness "
    "upgrading=upgrade drafts=atomic_file",
)
_moves("", "jobs", "bench reevaluation several_devices=multi_device peak_memory scope_costs")
_moves("queue", "queue", "trouble=failure ledger=attempt_writer narration=event_lines")
_moves("evaluation", "evaluation", "settling=resolve_evaluation")
_moves(
    "data", "data.sources", "arrays folder tree manifest catalogue synthetic source fashion_mini"
)
_moves(
    "data", "data.cache", "cache=image_cache cache_mode kept=cached_images rows=image_rows channels"
)
_moves("data", "data.augmentation", "augment blur colour crop parameters")
_moves("data", "data", "loading=load_with_progress")
_moves("cli", "cli.app", "app=main discovery console interrupt consent=confirm")
_moves(
    "cli",
    "cli.options",
    "options=shared spec_flags engine_choice=engine_options job_choice=job_ids",
)
_moves(
    "cli",
    "cli.show",
    "bench_view=benches comparing=comparison pages pictures progress work_progress queue_view "
    "watching=watch queueing plans execution",
)
_moves("cli", "plans", "bench_plans=benches evaluation_plans=evaluations study_plans=studies")
_moves("spec", "plans", "study_runs=study_grids")
_moves("cli", "networks", "loading=loading_code")

FOLDS |= {
    "report.numbers": "table",
    "report.arm_labels": "analysis.arms",
    "report.collapse": "analysis.metrics",
    "report.comparison_json": "analysis.comparison",
    "report.sign_flip": "analysis.statistics",
    "report.image_error": "analysis.statistics",
    "report.seeds_needed": "analysis.statistics",
    "report.charts.estimate": "analysis.statistics",
    "report.run_choice": "report.tables.run_table",
    "store.server_errors": "store.connection.database",
    "store.queueing": "store.queue.enqueue",
    "store.neutral_names": "store.transfer.scrubbing",
    "store.maintenance": "store.transfer.soundness",
}
NEW_ROOMS = {
    "analysis": "Numbers alone: which runs make an arm, how arms compare, and what follows.",
    "artifacts": "The files of jobs: where they lie, what they take, and which nobody needs.",
    "report.figures": "Pictures: the numbers of each, and their drawing.",
    "report.tables": "Tables that the commands print, one file each.",
    "store.schema": "The schema: its tables, its version, and its migrations.",
    "store.connection": "From a path or URL to an open database, SQLite or PostgreSQL.",
    "store.queue": "The queue in the store: what waits, who works on it, and how it ends.",
    "store.runs": "Runs as records: everything that is read of them.",
    "store.transfer": "Stores as wholes: bundles, copies, checks and upgrades.",
    "jobs": "What a worker can be asked to do beside an experiment.",
    "plans": "From grids, studies, evaluations and benches to planned runs.",
    "data.sources": "Where images come from: arrays, folders, and what is known of each data set.",
    "data.cache": "Decoded images, kept or read again, and what is known of them.",
    "data.augmentation": "The random views of a batch, made on the device.",
    "cli.app": "The program around the commands: finding them, printing, asking, stopping.",
    "cli.options": "Options that several commands share, and what their values mean.",
    "cli.show": "What a terminal sees: tables, bars, pictures written, pages.",
}
ROOT = "emabench"


def path_of(module: str) -> Path:
    """Return the file of a module."""
    folder = Path(ROOT, *module.split("."))
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def new_name(module: str) -> str | None:
    """Return the new full name of a module, by its old full name without the package's."""
    for table in (FOLDS, MOVES):
        if module in table:
            return table[module]
    for old, new in MOVES.items():  # inside a folder that moves
        if module.startswith(f"{old}.") and Path(ROOT, *old.split(".")).is_dir():
            return new + module.removeprefix(old)
    return None


def located(module: str, name: str) -> str:
    """Return the new module of a name."""
    return SYMBOLS.get((module, name)) or new_name(module) or module


def rewritten(source: str, exists: set[str]) -> str:
    """Return a source with its imports rewritten."""
    lines = source.splitlines(keepends=True)
    for node in reversed(list(ast.walk(ast.parse(source)))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == ROOT:
            replaced = _import_from(node, exists)
        elif isinstance(node, ast.Import) and any(
            a.name.startswith(f"{ROOT}.") for a in node.names
        ):
            replaced = [
                f"import {_full(new_name(_short(a.name)) or _short(a.name))}"
                + (f" as {a.asname}" if a.asname else "")
                for a in node.names
            ]
        else:
            continue
        head = lines[node.lineno - 1][: node.col_offset]
        tail = lines[node.end_lineno - 1][node.end_col_offset :]
        text = ("\n" + " " * node.col_offset).join(replaced)
        lines[node.lineno - 1 : node.end_lineno] = [head + text + tail]
        lines = "".join(lines).splitlines(keepends=True)
    return "".join(lines)


def _import_from(node: ast.ImportFrom, exists: set[str]) -> list[str]:
    package = _short(node.module or "")
    by_module: dict[str, list[str]] = defaultdict(list)
    for alias in node.names:
        whole = f"{package}.{alias.name}".strip(".")
        if whole in exists:
            place, _, last = (new_name(whole) or whole).rpartition(".")
            bound = alias.asname or alias.name
            by_module[place].append(last if bound == last else f"{last} as {bound}")
        else:
            as_name = f" as {alias.asname}" if alias.asname else ""
            by_module[located(package, alias.name)].append(alias.name + as_name)
    return [f"from {_full(place)} import {', '.join(names)}" for place, names in by_module.items()]


def _short(name: str) -> str:
    return name.removeprefix(ROOT).removeprefix(".")


def _full(name: str) -> str:
    return f"{ROOT}.{name}".rstrip(".")


def in_strings(source: str) -> str:
    """Rewrite full module names in strings, such as those that tests patch."""
    for old in sorted({*MOVES, *FOLDS}, key=len, reverse=True):
        pattern = rf"(?<=[\"'`]){ROOT}\.{re.escape(old)}(?=[\"'`.:])(?!\.py)"
        source = re.sub(pattern, f"@@{new_name(old)}", source)
    return source.replace("@@", f"{ROOT}.")


def fold(target: Path, text: str) -> None:
    """Append a module to another one: its imports first, its docstring left out."""
    tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    imports, body = [], list(lines)
    for node in tree.body:
        is_docstring = node is tree.body[0] and isinstance(node, ast.Expr)
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        is_typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if is_docstring or is_import or is_typing:
            piece = lines[node.lineno - 1 : node.end_lineno]
            if not is_docstring and "__future__" not in piece[0]:
                imports += piece
            for at in range(node.lineno - 1, node.end_lineno):
                body[at] = ""
    own = ".".join(target.with_suffix("").parts)
    imports = _without(own, imports)
    whole = _without(own, target.read_text().splitlines(keepends=True))
    after = next(i for i, line in enumerate(whole) if line.startswith("from __future__")) + 1
    whole[after:after] = ["\n", *imports]
    target.write_text("".join(whole) + "\n\n" + "".join(body).strip() + "\n")


def _without(module: str, lines: list[str]) -> list[str]:
    """Leave out what a module would import from itself."""
    text = re.sub(
        rf"^from {re.escape(module)} import (\([^)]*\)|[^\n(]*)\n", "", "".join(lines), flags=re.M
    )
    return text.splitlines(keepends=True)


def main() -> None:
    """Move, fold and rewrite."""
    files = [p for top in (ROOT, "tests", "docs") for p in sorted(Path(top).rglob("*.py"))]
    exists = set()
    for file in Path(ROOT).rglob("*.py"):
        parts = file.with_suffix("").parts[1:]
        exists.add(".".join(parts[:-1] if parts and parts[-1] == "__init__" else parts))
    exists.discard("")
    for file in files:
        before = file.read_text()
        after = in_strings(rewritten(before, exists))
        if after != before:
            file.write_text(after)
    texts = {old: path_of(old).read_text() for old in FOLDS}
    sources = {old: path_of(old) for old in {*MOVES, *FOLDS}}
    staged = {}
    for old, new in MOVES.items():  # by way of a name that nothing has
        here, there = sources[old], Path("moving") / old
        here = here.parent if here.name == "__init__.py" else here
        there.parent.mkdir(exist_ok=True)
        subprocess.run(["git", "mv", str(here), str(there)], check=True)
        staged[new] = there, here.suffix
    for room, docstring in NEW_ROOMS.items():
        folder = Path(ROOT, *room.split("."))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text(f'"""{docstring}"""\n')
    for new, (there, suffix) in staged.items():
        place = Path(ROOT, *new.split("."))
        place.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "mv", str(there), str(place.with_suffix(suffix))], check=True)
    for old, text in texts.items():
        fold(Path(ROOT, *FOLDS[old].split(".")).with_suffix(".py"), text)
        subprocess.run(["git", "rm", "-qf", str(sources[old])], check=True)
    Path("moving").rmdir()
    for emptied in ("charts", "plots"):
        subprocess.run(["git", "rm", "-qf", f"{ROOT}/report/{emptied}/__init__.py"], check=True)


if __name__ == "__main__":
    sys.exit(main())
