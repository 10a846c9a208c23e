"""The process of a job does not run the user's script once more; processes of others do."""

import sys
from multiprocessing import spawn
from types import ModuleType, SimpleNamespace

import pytest

from emabench.queue.process import _start


@pytest.mark.parametrize("how", ["from_path", "from_name"])
def test_only_the_process_of_a_job_goes_without_the_main_module(monkeypatch, how):
    main = ModuleType("__main__")
    if how == "from_path":
        main.__file__ = "/home/me/script.py"
        main.__spec__ = None
    else:
        main.__spec__ = SimpleNamespace(name="my.script")
    monkeypatch.setitem(sys.modules, "__main__", main)
    prepared, found = spawn.get_preparation_data, {}

    def start():
        found.update({name: spawn.get_preparation_data(name) for name in ("job", "other")})

    _start(SimpleNamespace(name="job", start=start))
    (key,) = set(found["other"]) - set(found["job"])
    assert key == f"init_main_{how}"
    assert spawn.get_preparation_data is prepared


def test_a_start_that_fails_leaves_multiprocessing_as_it_was():
    prepared = spawn.get_preparation_data

    def start():
        raise OSError("no more processes")

    with pytest.raises(OSError, match="no more processes"):
        _start(SimpleNamespace(name="job", start=start))
    assert spawn.get_preparation_data is prepared
