"""Following logs, moment by moment: what is written between two looks decides what is printed."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from emabench.artifacts import logs as job_logs
from emabench.artifacts.layout import LOG, attempt_folder
from emabench.artifacts.logs import follow_logs
from emabench.errors import NotFoundError, StoreError, StoreLostError
from emabench.records import AttemptRecord, JobKind, JobRecord, JobState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB = JobRecord(
    id="a" * 12,
    kind=JobKind.PRETRAIN,
    state=JobState.RUNNING,
    fingerprint="f",
    spec={},
    depends_on=None,
    attempt=1,
    reason=None,
    created_at=NOW,
    run_id="a" * 12,
)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(job_logs, "_POLL_SECONDS", 0)
    monkeypatch.setattr(job_logs, "_POLLS_PER_LOOK", 1)


def write(root, text, attempt=1):
    place = attempt_folder(root, JOB.id, attempt)
    place.mkdir(parents=True, exist_ok=True)
    with (place / LOG).open("a") as file:
        file.write(text)


def follow(root, looks, *moments, attempt=None, tail=None):
    """Follow; the jobs are what ``looks`` yields, and a moment happens in each pause."""
    pauses, answers, last = iter(moments), iter(looks), []

    def look():
        found = next(answers, None) or last[-1]
        last.append(found)
        if isinstance(found, Exception):
            raise found
        return [found]

    found = follow_logs(
        look, root, attempt=attempt, tail=tail, on_wait=lambda: next(pauses, lambda: None)()
    )
    return [(log.attempt, line) for log, line in found]


def ended(state=JobState.DONE):
    return replace(JOB, state=state)


def test_the_last_words_come_after_the_store_knows_of_the_end(tmp_path):
    write(tmp_path, "works\n")

    def last_words():
        write(tmp_path, "done")

    assert follow(tmp_path, [ended()], lambda: None, last_words) == [(1, "works"), (1, "done")]


def test_a_long_silence_before_the_end_does_not_shorten_the_wait_for_the_last_words(tmp_path):
    write(tmp_path, "works\n")
    silence = [lambda: None] * 20
    looks = [JOB] * 20 + [ended()]

    def last_words():
        write(tmp_path, "done\n")

    assert follow(tmp_path, looks, *silence, last_words) == [(1, "works"), (1, "done")]


def test_a_line_is_printed_once_it_is_whole(tmp_path):
    parts = [lambda text=text: write(tmp_path, text) for text in ("ha", "l", "f\nof", " it\n")]
    assert follow(tmp_path, [JOB] * 4 + [ended()], *parts) == [(1, "half"), (1, "of it")]


def test_the_tail_shortens_what_is_old_and_nothing_that_is_new(tmp_path):
    write(tmp_path, "1\n2\n3\n")
    moments = [lambda: write(tmp_path, "4\n5\n"), lambda: write(tmp_path, "6\n7\n", attempt=2)]
    found = follow(tmp_path, [JOB] * 3 + [ended()], *moments, tail=1)
    assert found == [(1, "3"), (1, "4"), (1, "5"), (2, "6"), (2, "7")]


def test_earlier_attempts_are_not_printed(tmp_path):
    write(tmp_path, "old\n", attempt=1)
    write(tmp_path, "new\n", attempt=2)
    assert follow(tmp_path, [ended()]) == [(2, "new")]
    assert follow(tmp_path, [ended()], attempt=1) == [(1, "old")]


def test_one_attempt_is_followed_to_its_own_end(tmp_path):
    write(tmp_path, "one\n", attempt=1)
    write(tmp_path, "two\n", attempt=2)
    attempts = [
        AttemptRecord(n, state, NOW, None, None, None, None)
        for n, state in ((1, JobState.FAILED), (2, JobState.RUNNING))
    ]
    again = replace(JOB, attempt=2, attempts=tuple(attempts))
    assert follow(tmp_path, [again], attempt=1) == [(1, "one")]


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
def test_it_ends_with_every_end_of_the_job(tmp_path, state):
    write(tmp_path, "line\n")
    assert follow(tmp_path, [JOB, ended(JobState.QUEUED), ended(state)]) == [(1, "line")]


def test_a_log_that_is_pruned_meanwhile_ends_nothing(tmp_path):
    write(tmp_path, "line\n")
    path = attempt_folder(tmp_path, JOB.id, 1) / LOG
    assert follow(tmp_path, [JOB, JOB, ended()], path.unlink) == [(1, "line")]


def test_a_busy_store_is_asked_again_and_a_lost_one_is_not(tmp_path):
    write(tmp_path, "line\n")
    looks = [JOB, StoreError("locked"), StoreError("locked"), ended()]
    assert follow(tmp_path, looks) == [(1, "line")]
    for error in (StoreLostError("deleted"), NotFoundError("removed")):
        with pytest.raises(type(error)):
            follow(tmp_path, [JOB, error])


def test_an_end_without_a_log_is_an_error(tmp_path):
    with pytest.raises(NotFoundError, match="is not in"):
        follow(tmp_path, [JOB, ended()])
