"""Errors outside of the command line: in a traceback, and between processes."""

import pickle
import traceback

import pytest

from emabench import errors


def test_a_traceback_shows_the_hint_below_the_line():
    error = errors.UsageError("no such thing", hint="try another")
    assert str(error) == "no such thing"
    assert "".join(traceback.format_exception(error)).endswith("no such thing\nhint: try another\n")
    bare = errors.UsageError("no such thing")
    assert "".join(traceback.format_exception(bare)).endswith("no such thing\n")


@pytest.mark.parametrize(
    "error",
    [
        errors.NotFoundError("gone", hint="look elsewhere"),
        errors.UnknownNameError("method", "mocco", ["moco", "simclr"]),
    ],
)
def test_an_error_survives_a_pickle(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.message, again.hint) == (str(error), error.message, error.hint)
    assert again.__notes__ == error.__notes__
