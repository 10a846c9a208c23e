"""All that is to be known of a training step on a GPU, by one command in eight minutes.

    python tests/benchmarks/gpu.py [--data-dir IMAGES] [--reach 80] [--only bench] [--json FILE]

The package need not be installed, only what it depends on. Each measurement is a process of its own
with a limit in seconds: one that fails or takes longer leaves a line that says so, and the next one
begins. ``gpu_measurements.py`` says what each is. The seconds beside it hold everything from the
start of Python on: those of ``bench`` are its time from a cold start. ``reach`` is made where it is
asked for, and gets the time that is left. A table and then the same as JSON go to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REACH = "reach"
LIMITS = {
    **{"loop-small": 60.0, "loop-resnet18": 70.0, "bench": 110.0, "resumed": 60.0},
    **{"held": 70.0, "loop-held": 60.0, REACH: float("inf")},
}
TOTAL = 470.0


def main() -> int:
    arguments = parsed()
    wanted = arguments.only.split(",") if arguments.only else LIMITS
    names = [name for name in LIMITS if name in wanted]
    if arguments.reach is None:
        names = [name for name in names if name != REACH]
    end = time.monotonic() + TOTAL * arguments.patience
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        left = end - time.monotonic()
        limit = min(LIMITS[name] * arguments.patience, left)
        print(f"{name}: up to {max(0, limit):.0f} s", file=sys.stderr)
        found[name] = measured(name, arguments, limit)
    print(table(found))
    text = json.dumps({"measurements": found})
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")
    return int(any("error" in each for each in found.values()))


def parsed() -> argparse.Namespace:
    """Return the flags; the small numbers that a test gives try the whole on a CPU."""
    flags = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    flags.add_argument("--only", help=f"some of {', '.join(LIMITS)}, joined by commas")
    flags.add_argument("--data-dir", type=Path, help="image folder, in the place of --dataset")
    flags.add_argument("--dataset", default="synthetic")
    flags.add_argument("--images", type=int, default=51_200, help="random images of the loops")
    flags.add_argument("--all-small", action="store_true", help="the small ResNet everywhere")
    flags.add_argument("--batch-size", type=int, default=128)
    flags.add_argument("--precision", default="auto")
    flags.add_argument("--threads", type=int, default=os.cpu_count())
    flags.add_argument("--windows", type=int, default=16, help="pairs of windows of a loop")
    flags.add_argument("--profiled", type=int, default=5, help="steps under the profiler")
    flags.add_argument("--seconds", type=float, default=12.0, help="timed steps of the bench")
    flags.add_argument("--reach", type=float, help="kNN top-1 in percent; needs --data-dir")
    flags.add_argument("--epochs", type=int, default=60, help="of the training for --reach")
    flags.add_argument("--patience", type=float, default=1.0, help="factor on all time limits")
    flags.add_argument("--json", type=Path, help="a file for the figures")
    arguments = flags.parse_args()
    unknown = set(arguments.only.split(",") if arguments.only else ()) - set(LIMITS)
    if unknown:
        flags.error(f"--only knows {', '.join(LIMITS)}, not {', '.join(sorted(unknown))}")
    if arguments.reach is not None and arguments.data_dir is None:
        flags.error("random images teach nothing: --reach needs --data-dir")
    return arguments


def measured(name: str, arguments: argparse.Namespace, limit: float) -> dict[str, Any]:
    """Make one measurement in a process group of its own, which does not outlive its limit.

    Returns:
        ``seconds``, and ``figures`` by name or ``error`` in words.
    """
    if limit < 1:
        return {"seconds": 0.0, "error": "left out: no time was left"}
    settings = json.dumps({**vars(arguments), "limit": limit}, default=str)
    paths = [str(HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, str(HERE / "gpu_measurements.py"), name, settings],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=limit)
        # What libraries print comes before.
        result: dict[str, Any] = json.loads(out.splitlines()[-1]) if out.strip() else {}
    except subprocess.TimeoutExpired:
        result = {"error": f"took longer than {limit:.0f} s"}
    except json.JSONDecodeError:
        result = {}
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if not result:
        result = {"error": f"ended with {process.returncode}"}
    return {"seconds": round(time.monotonic() - start, 1), **result}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return a line for each figure, under the measurement that it belongs to."""
    lines = []
    for name, each in found.items():
        lines.append(f"{name}  ({each['seconds']} s)  {each.get('error', '')}".rstrip())
        for figure, value in each.get("figures", {}).items():
            shown = f"{value:.4g}" if isinstance(value, float) and value < 1000 else value
            shown = f"{shown:.0f}" if isinstance(shown, float) else shown
            lines.append(f"  {figure:<34} {'unknown' if shown is None else shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
