"""Files of ``torch.save``: read as data, bounded by what they hold, and never obeyed."""

import argparse
import builtins
import collections
import io
import os
import pathlib
import pickle
import shutil
import struct
import tracemalloc
import warnings
import zipfile
from pkgutil import resolve_name
from unittest.mock import Mock

import numpy as np
import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from emabench.errors import WeightsError
from emabench.evaluation.foreign_weights.pickled_values import read_pickle
from emabench.evaluation.weights_file import load_weights, read_header

SMALL = {"layers": [1, 1, 1, 1], "channels": [4, 4, 4, 4]}
BOTH = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "older"])


def save(content, file, is_zip=True):
    torch.save(content, file, _use_new_zipfile_serialization=is_zip)
    return file


def read(file):
    return {name: found.read() for name, found in read_header(file).tensors.tensors.items()}


def refusal(file):
    with pytest.raises(WeightsError) as caught:
        read(file)
    assert caught.value.hint
    assert len(caught.value.message.splitlines()) == 1
    return caught.value.message


@pytest.fixture
def file(tmp_path):
    return tmp_path / "w.pth"


@pytest.fixture
def model():
    return timm.create_model("resnet18", num_classes=0, **SMALL)


def flat(content, name=""):
    if isinstance(content, torch.Tensor):
        yield name, content
    elif isinstance(content, dict):
        for key, inner in content.items():
            if isinstance(key, str):
                yield from flat(inner, f"{name}.{key}" if name else key)


@BOTH
def test_it_gives_what_torch_gives(file, model, is_zip):
    base = torch.arange(24.0).reshape(2, 3, 4)
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    content = {
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "views": {"turned": base.transpose(0, 2), "part": base[1, 1:], "same": base},
        "expanded": torch.ones(1, 3).expand(5, 3),
        "parameter": torch.nn.Parameter(torch.zeros(2)),
        "empty": torch.empty(0, 3),
        "one": torch.tensor(3),
        "kinds": {
            name: torch.ones(3, dtype=getattr(torch, name))
            for name in ("float16", "bfloat16", "float64", "int8", "uint8", "bool", "complex64")
        },
        "epoch": 3,
        "list": [torch.ones(2)],
    }
    expected = dict(flat(torch.load(save(content, file, is_zip), weights_only=True)))
    found = read(file)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize(
    ("write", "reader"),
    [
        (torch.save, "emabench.evaluation.foreign_weights.torch_file.zipfile.ZipFile"),
        (save_file, "emabench.evaluation.weights_file.safe_open"),
    ],
)
def test_a_file_is_opened_once_for_all_its_tensors(file, monkeypatch, write, reader):
    content = {str(number): torch.full((2,), float(number)) for number in range(20)}
    write(content, file)
    module, _, name = reader.rpartition(".")
    opens = Mock(wraps=getattr(resolve_name(module), name))
    monkeypatch.setattr(reader, opens)
    found = read(file)
    assert all(torch.equal(found[name], tensor) for name, tensor in content.items())
    assert opens.call_count == 1


def test_ordered_dictionaries_of_python_2_are_read():
    text = b"ccollections\nOrderedDict\n((lp0\n(lp1\nS'a'\naI1\naa(lp2\nI5\naI2\naatR."
    assert read_pickle(io.BytesIO(text)).value == {"a": 1}


class Obeyed:
    """What an ordinary unpickler calls."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], tuple(self.call[1:])


@BOTH
@pytest.mark.parametrize("kind", ["system", "eval", "copy", "nested"])
def test_a_pickle_that_would_call_something_does_not(file, tmp_path, is_zip, kind):
    mark = tmp_path / "called"
    words = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    call = {
        "system": Obeyed(os.system, f"touch {mark}"),
        "eval": Obeyed(builtins.eval, words),
        "copy": Obeyed(shutil.copy, __file__, str(mark)),
        "nested": {"deep": [Obeyed(getattr, Obeyed(builtins.eval, words), "x", None)]},
    }[kind]
    save({"conv1.weight": torch.ones(2), "args": call}, file, is_zip)
    torch.load(file, weights_only=False)
    assert mark.exists(), "the file is as bad as it should be"
    mark.unlink()
    assert torch.equal(read(file)["conv1.weight"], torch.ones(2))
    assert not mark.exists()
    assert read_header(file).tensors.uncalled


@BOTH
def test_what_else_a_checkpoint_holds_is_named_and_left_alone(file, is_zip):
    class Settings(dict):
        pass

    Settings.__module__, Settings.__qualname__ = "far.away", "Settings"
    content = {
        "state_dict": {"conv1.weight": torch.ones(2)},
        "hyper_parameters": argparse.Namespace(lr=0.1, where=pathlib.Path("/x")),
        "best": np.float64(3),
        "default": collections.defaultdict(list, a=[1]),
    }
    save(content, file, is_zip)
    header = read_header(file).tensors
    assert list(header.tensors) == ["state_dict.conv1.weight"]
    assert {"argparse.Namespace", "collections.defaultdict"} <= set(header.uncalled)
    assert any("PosixPath" in name or "WindowsPath" in name for name in header.uncalled)


def test_a_dictionary_of_an_unknown_class_is_looked_into(file):
    with zipfile.ZipFile(save({"a": torch.ones(2)}, file)) as archive:
        text = archive.read("w/data.pkl")
    own = text.replace(b"\x80\x02}", b"\x80\x02cfar.away\nSettings\n)\x81")
    assert own != text
    replace_record(file, "w/data.pkl", own)
    assert torch.equal(read(file)["a"], torch.ones(2))
    assert read_header(file).tensors.uncalled == ("far.away.Settings",)


def replace_record(file, name, content, **settings):
    """Write an archive again with another record."""
    with zipfile.ZipFile(file) as archive:
        records = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(file, "w", **settings) as archive:
        for entry, old in records.items():
            archive.writestr(entry, content if entry == name else old)


def test_code_is_refused_with_words(file, model):
    torch.save(model, file)
    assert "a whole object, which only its own code can open: timm.models.resnet" in refusal(file)
    torch.save({"model": model}, file)
    assert "a whole object" in refusal(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch gives TorchScript up
        torch.jit.script(torch.nn.Linear(1, 1)).save(file)
    assert "TorchScript" in refusal(file)
    torch.save({"epoch": 3, "list": [torch.ones(2)]}, file)
    assert "no tensors under names" in refusal(file)


@pytest.mark.parametrize("nested", [{"m": {"w": torch.ones(1)}}, {"": {"m.w": torch.ones(1)}}])
def test_two_tensors_of_one_name_are_refused(file, nested):
    torch.save({"m.w": torch.zeros(1)} | nested, file)
    assert refusal(file).endswith("have two tensors of one name: m.w")


@BOTH
def test_a_file_that_is_cut_off_is_refused(file, is_zip):
    content = save({"a": torch.ones(2000)}, file, is_zip).read_bytes()
    for share in range(1, 20):
        file.write_bytes(content[: len(content) * share // 20])
        assert "this is not a complete" in refusal(file)


@pytest.mark.parametrize("count", [51, 2**40, 2**62])
def test_a_storage_that_claims_more_than_the_file_is_refused(file, count):
    claim, changed = b"K2tq", b"\x8a\x08" + struct.pack("<q", count) + b"tq"
    for is_zip in (True, False):
        save({"a": torch.ones(50)}, file, is_zip)
        if is_zip:
            with zipfile.ZipFile(file) as archive:
                text = archive.read("w/data.pkl")
            assert text.count(claim) == 1
            replace_record(file, "w/data.pkl", text.replace(claim, changed))
        else:
            text = file.read_bytes()
            end = text.rindex(struct.pack("<q", 50))
            file.write_bytes(text[:end] + struct.pack("<q", count) + text[end + 8 :])
        assert "this is not a complete" in refusal(file)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x00K2\x85q", b"K\x01K2\x85q"),  # it begins later
        (b"K\x00K2\x85q", b"K\x00K\xff\x85q"),  # it is longer
        (b"K\x00K2\x85q", b"K\x00J\xff\xff\xff\xff\x85q"),  # it is shorter than nothing
        (b"K\x01\x85q", b"K\x02\x85q"),  # it takes longer steps
    ],
)
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(file, old, new):
    save({"a": torch.ones(50)}, file)
    with zipfile.ZipFile(file) as archive:
        text = archive.read("w/data.pkl")
    assert old in text
    replace_record(file, "w/data.pkl", text.replace(old, new))
    assert "this is not a complete" in refusal(file)


def test_a_bomb_is_refused_before_it_is_unpacked(file):
    save({"a": torch.ones(5)}, file)
    huge = bytes(100_000_000)
    replace_record(file, "w/data/0", huge, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    assert file.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        assert "are compressed" in refusal(file)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


PAIRS = b"((U\x01aK\x01tq\x02" + b"h\x02" * 90
TEXT = b"X" + struct.pack("<I", 91) + b"a" * 91


@pytest.mark.parametrize(
    ("callee", "taken"),
    [
        (b"collections\nOrderedDict", PAIRS + b"l"),
        (b"collections\nOrderedDict", PAIRS + b"t"),
        (b"torch\nSize", b"(" + b"N" * 91 + b"t"),
        (b"torch._utils\n_rebuild_parameter", TEXT),
    ],
    ids=["list", "tuple", "size", "text"],
)
def test_a_pickle_of_too_many_steps_is_refused(monkeypatch, callee, taken):
    monkeypatch.setattr("emabench.evaluation.foreign_weights.pickled_values._MOST_STEPS", 1000)
    often = b"c" + callee + b"\nq\x00" + taken + b"q\x01" + b"h\x00h\x01\x85R0" * 20
    for text in (b"(" + b"N" * 1001 + b"t.", often + b"00N."):
        with pytest.raises(ValueError, match="a pickle of more than 1000 steps"):
            read_pickle(io.BytesIO(b"\x80\x02" + text))


@pytest.mark.parametrize("callee", [b"collections\nOrderedDict", b"torch\nSize"])
@pytest.mark.parametrize(
    "taken",
    [b"X\x02\x00\x00\x00ab", b"(U\x02abNd", b"K\x05"],
    ids=["text", "dictionary", "number"],
)
def test_what_is_no_row_is_not_taken_for_one(callee, taken):
    with pytest.raises(ValueError, match="a row of values that is none"):
        read_pickle(io.BytesIO(b"\x80\x02c" + callee + b"\n" + taken + b"\x85R."))


def test_dictionaries_that_hold_each_other_end(file):
    inner = {"x": 1}
    for _ in range(60):
        inner = {str(number): inner for number in range(40)}
    torch.save({"a": torch.ones(2), "deep": inner}, file)
    assert "this is not a complete" in refusal(file)
    loop = {"a": torch.ones(2)}
    loop["again"] = loop
    torch.save(loop, file)
    assert read(file)


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "a" * 501])
def test_names_that_no_module_has_are_refused(file, name):
    torch.save({name: torch.ones(2)}, file)
    refusal(file)


@pytest.mark.parametrize(
    "make", [lambda t: t.to_sparse(), lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)]
)
def test_other_tensors_than_dense_ones_are_refused(file, model, make):
    state = model.state_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch gives such tensors up
        state["layer1.0.conv1.weight"] = make(state["layer1.0.conv1.weight"])
    torch.save(state, file)
    with pytest.raises(WeightsError, match=r"layer1\.0\.conv1\.weight is no dense tensor: torch\."):
        load_weights(file, model, backbone="resnet18")


def test_one_storage_for_many_names_is_read_to_the_size_of_the_model(file, model):
    shared = torch.arange(50_000.0)
    state = {
        name: shared[: value.numel()].view(value.shape) if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    torch.save(state, file)
    load_weights(file, model, backbone="resnet18")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@BOTH
def test_a_flipped_byte_is_read_or_refused(tmp_path, is_zip):
    file = tmp_path / "w.pth"
    content = {"args": argparse.Namespace(a=1), "weight": torch.ones(3, 2), "bias": torch.ones(3)}
    whole = save(content, file, is_zip).read_bytes()

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4))
    def every(changes):
        changed = bytearray(whole)
        for place, value in changes:
            changed[place] = value
        file.write_bytes(changed)
        refused = None
        try:
            load_weights(file, torch.nn.Linear(2, 3), backbone="linear")
        except WeightsError as error:
            refused = error
        assert refused is None or (refused.hint and len(refused.message.splitlines()) == 1)

    every()


def test_it_is_no_pickle_of_other_programs(file):
    file.write_bytes(pickle.dumps({"a": np.ones(3)}))
    assert "this is not a complete" in refusal(file)


def test_a_tensor_holds_no_more_than_its_own_numbers(file):
    big = torch.arange(50_000.0)
    torch.save({"a": big[:10], "b": big[10:30].view(4, 5).T}, file)
    found = read(file)
    assert torch.equal(found["a"], big[:10])
    assert torch.equal(found["b"], big[10:30].view(4, 5).T)
    assert [value.untyped_storage().nbytes() for value in found.values()] == [40, 80]
