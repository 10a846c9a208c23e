"""Made-up bundles and headers of weights at their readers: they are read, or refused in a line."""

import copy
import json
import struct
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from seeding import complete, look_at, plan, plan_study

from emabench.artifacts.weights_digest import with_digest
from emabench.errors import DataError, WeightsError
from emabench.evaluation.weights_file import read_header
from emabench.store import RunStore
from emabench.store.transfer.bundle import bundled_runs
from emabench.store.transfer.moving import export_runs, import_runs

SOME = 200
LEAVES = st.sampled_from(
    [None, True, False, 0, 1, -1, 2**63, 2**70, 0.5, 1e308, "", "x", "done", "2026-01-01", "inf",
     "9" * 400, "\x00", "\x1b[31m", "\ud800", [], {}, [[]], {"pretrain": 5}, [None], ["a", 1]]
).map(copy.deepcopy)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
)


def made_bundle(folder):
    """Return the lines of a bundle of one run, as plain values."""
    store = str(folder / "results.db")
    with RunStore.open(store, mode="write") as opened:
        plan_study(opened, "s", pairs=(5, 8))
        complete(opened, replace(plan(), study="s"))
        look_at(opened, "s", pairs=5)
    export_runs(store, folder / "runs.jsonl")
    return [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return made_bundle(tmp_path_factory.mktemp("bundle"))


def _places(value, path=()):
    yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(inner, (*path, index))


def _changed(data, lines):
    """Put values where others were, take some away, or damage a line as text."""
    lines = copy.deepcopy(lines)
    for _ in range(data.draw(st.integers(1, 3))):
        whole = data.draw(st.sampled_from(range(len(lines))))
        path = data.draw(st.sampled_from(list(_places(lines[whole]))))
        if not path:
            lines[whole] = data.draw(VALUES)
            continue
        inner = lines[whole]
        for name in path[:-1]:
            inner = inner[name]
        if data.draw(st.booleans()):
            inner[path[-1]] = data.draw(VALUES)
        else:
            del inner[path[-1]]
    texts = [json.dumps(line) for line in lines]
    if data.draw(st.integers(0, 4)) == 0:
        whole = data.draw(st.sampled_from(range(len(texts))))
        cut = data.draw(st.integers(0, len(texts[whole])))
        texts[whole] = texts[whole][:cut] + data.draw(st.text(max_size=4))
    return [text.replace("\n", " ") + "\n" for text in texts]


def _refused_at_most(kind, read):
    """Call a reader; it may refuse with one line and a hint, nothing else."""
    refused = None
    try:
        return read()
    except kind as error:
        refused = error
    assert refused.hint
    assert len(refused.message.splitlines()) == 1
    assert len(refused.message) < 1000
    return None


def _read(folder, lines):
    """Read a bundle; where the reader takes it, so must a store, and every reader of that."""
    runs = _refused_at_most(DataError, lambda: list(bundled_runs(lines)))
    if runs is None:
        return
    file, place = folder / "made-up.jsonl", folder / "made-up.db"
    file.write_text("".join(lines), "utf-8", "surrogatepass")
    place.unlink(missing_ok=True)
    import_runs(str(place), file)
    with RunStore.open(str(place), mode="read") as store:
        assert len(store.runs()) + len(store.evaluations()) + len(store.benches()) <= len(runs)
        assert all(len(kept.pairs) == len(kept.levels) for kept in store.looks(["s"]).plans)


@given(data=st.data())
@settings(max_examples=SOME, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_made_up_bundle_is_read_or_refused(data, bundle, tmp_path):
    _read(tmp_path, _changed(data, bundle))


def _header(data):
    """Return a file of weights whose header somebody made up, with or without a digest."""
    content = save({"stem.weight": torch.zeros(2, 3)})
    if data.draw(st.booleans()):
        words = st.text(st.characters(codec="utf-8"), max_size=8)
        spec = data.draw(words | VALUES.map(lambda value: json.dumps({"spec": value})))
        metadata = data.draw(st.dictionaries(words, words, max_size=3)) | {"spec": spec}
        return with_digest(content, metadata)
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    for _ in range(data.draw(st.integers(1, 2))):
        header[data.draw(st.sampled_from([*header, "__metadata__", "x"]))] = data.draw(VALUES)
    text = json.dumps(header).encode()
    size = data.draw(st.sampled_from([len(text), 0, len(text) + 1, 2**40, 2**64 - 1]))
    return struct.pack("<Q", size) + text + content[8 + length :]


def _read_header(folder, content):
    file = folder / "made-up.safetensors"
    file.write_bytes(content)
    _refused_at_most(WeightsError, lambda: read_header(file))


@given(data=st.data())
@settings(max_examples=SOME, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_made_up_header_is_read_or_refused(data, tmp_path):
    _read_header(tmp_path, _header(data))
