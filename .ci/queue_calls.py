"""Rewrites calls of the queue for a store that has it as a member: ``store.queue.claim(…)``.

Run once, from the root of a checkout: ``python .ci/queue_calls.py``; ruff formats afterwards.
"""

from __future__ import annotations

import re
from pathlib import Path

STORES = r"\b((?:self\._)?store|mine|other|again|reader)"
"""What a store is called where it is used."""
WORDS = (
    "claim claim_next begin beat record finish fail release states queued_by_need running reap "
    "reap_dead cancel retry"
)
CALLS = [
    (re.compile(rf"{STORES}\.queue\("), r"\1.queue.snapshot("),
    (re.compile(rf"{STORES}\.({'|'.join(WORDS.split())})\b"), r"\1.queue.\2"),
]
WRITERS = ("emabench/queue/worker.py", "emabench/queue/heartbeat.py", "emabench/queue/attempt.py")
"""These write for one attempt, and do not know whether into a store."""
WRITER = [
    (
        re.compile(r"(?<=[( ])store(?=: Ledger|\.(begin|record|fail|release|finish)|, claim)"),
        "writer",
    ),
    (re.compile(r"\bself\._store\b"), "self._writer"),
    (re.compile(r"\bledger(?=: |, claim)"), "writer"),
    (re.compile(r"^(\s+)store(?=: (where|Ledger))", re.MULTILINE), r"\1writer"),
    (re.compile(r"= store,"), "= writer,"),
]
GIVEN = [
    (re.compile(r"\b(Heartbeat|work|make)\(store, "), r"\1(store.queue, "),
    (re.compile(r"\bLedger\b"), "AttemptWriter"),
]
"""The queue, and not its store, takes what a worker writes."""


def main() -> None:
    """Rewrite package and tests."""
    for file in sorted([*Path("emabench").rglob("*.py"), *Path("tests").rglob("*.py")]):
        before = text = file.read_text()
        mine = WRITER if file.as_posix() in WRITERS else CALLS
        for pattern, new in [*mine, *GIVEN]:
            text = pattern.sub(new, text)
        if text != before:
            file.write_text(text)


if __name__ == "__main__":
    main()
