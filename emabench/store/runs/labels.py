"""What people call runs: a name, tags and a note. They change nothing of what a run is."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from emabench.errors import UsageError
from emabench.store.schema.tables import LONGEST_TAG, Experiment, RunTag

LONGEST_NOTE = 10_000
"""Letters."""
_NO_LETTER = r"\s,\x00-\x1f\x7f-\x9f"
TAG = re.compile(rf"[^-{_NO_LETTER}][^{_NO_LETTER}]{{0,{LONGEST_TAG - 1}}}")
"""A word that is no option: it stands in lists with commas, and in conditions."""


def checked_tag(text: str) -> str:
    """Return a tag as it is.

    Raises:
        UsageError: it is empty, too long, or no word.
    """
    if not TAG.fullmatch(text):
        hint = f"a word of at most {LONGEST_TAG} letters, without blanks and commas"
        raise UsageError(f"{text[:80]!r} cannot be a tag", hint=hint)
    return text


def checked_note(text: str) -> str | None:
    """Return a note without blanks around it; None is no note.

    Raises:
        UsageError: it is too long.
    """
    if len(text) > LONGEST_NOTE:
        hint = "write it to a file, and name the file"
        raise UsageError(f"a note has at most {LONGEST_NOTE:,} letters", hint=hint)
    return text.strip() or None


def add_tags(session: Session, experiment_id: int, tags: Iterable[str]) -> None:
    """Tag a run; a tag that it has already changes nothing.

    Raises:
        sqlalchemy.exc.IntegrityError: another process said the same, or removed the run, just now.
    """
    known = set(
        session.scalars(select(RunTag.tag).where(RunTag.experiment_id == experiment_id)).all()
    )
    session.add_all(
        RunTag(tag=tag, experiment_id=experiment_id)
        for tag in dict.fromkeys(tags)
        if tag not in known
    )
    session.flush()


def remove_tag(session: Session, experiment_id: int, tag: str) -> None:
    """Take a tag from a run, if it has it."""
    session.execute(delete(RunTag).where(RunTag.experiment_id == experiment_id, RunTag.tag == tag))


def write_label(session: Session, experiment_id: int, **label: str | None) -> None:
    """Write the ``name`` or the ``note`` of a run; None takes it away."""
    session.execute(update(Experiment).where(Experiment.id == experiment_id).values(**label))


def count_tags(session: Session) -> dict[str, int]:
    """Return how many runs have each tag, by tag."""
    counted = select(RunTag.tag, func.count()).group_by(RunTag.tag).order_by(RunTag.tag)
    rows = session.execute(counted).all()
    return {row[0]: row[1] for row in rows}
