"""Plugins: how they are found and named, what identifies their code, and what a bad one does."""

from __future__ import annotations

import sys

import pytest
from plugged import example_files, install, write_examples

from emabench.data.images import load_dataset
from emabench.data.sources.plugged import DATASET_PLUGINS
from emabench.errors import DataError, NotFoundError, PluginError, SpecError, UnknownNameError
from emabench.extensions.installed_plugins import installed_plugins
from emabench.extensions.named_plugins import named_plugins, use_plugins
from emabench.extensions.plugin_code import PluginCode
from emabench.extensions.plugin_reference import PluginKind
from emabench.extensions.plugins_at_hand import has_plugins
from emabench.methods import METHOD_PLUGINS, load_method
from emabench.networks.backbone import build_backbone
from emabench.networks.backbone_plugins import BACKBONE_PLUGINS
from emabench.spec import BackboneSpec, DataSpec

SIMDIST = example_files()["simdist.py"]
TWOCONVS = example_files()["twoconvs.py"]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    monkeypatch.setenv("EMABENCH_PLUGINS", "")


def name(*files):
    use_plugins(map(str, files))


def write(path, source):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(source)
    return path


def test_the_digest_is_of_the_bytes_and_never_of_the_place(tmp_path):
    one, two = write(tmp_path / "a" / "m.py", SIMDIST), write(tmp_path / "b" / "m.py", SIMDIST)
    digests = [PluginCode.parse(str(each)).digest() for each in (one, two)]
    assert digests[0] == digests[1]
    two.write_text(SIMDIST + "\n")
    assert PluginCode.parse(str(two)).digest() != digests[0]


def test_the_digest_of_a_package_is_of_all_its_python_files(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "one")
    modules = {"soft": SIMDIST, "more": "x = 1\n"}
    install(tmp_path / "one", "labone", modules, {})
    code = PluginCode.parse("labone.soft")
    first = code.digest()
    assert PluginCode.parse("labone.more").digest() == first, "a package is one thing"
    (tmp_path / "one" / "labone" / "notes.txt").write_text("no code")
    assert code.digest() == first
    write(tmp_path / "one" / "labone" / "deep" / "more.py", "x = 1\n")
    deeper = code.digest()
    assert deeper != first
    (tmp_path / "one" / "labone" / "more.py").write_text("x = 2\n")
    assert code.digest() not in (first, deeper)
    assert "labone" not in sys.modules


def test_a_single_module_has_the_digest_of_its_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = write(tmp_path / "lonely_method.py", SIMDIST)
    assert PluginCode.parse("lonely_method").digest() == PluginCode.parse(str(file)).digest()


def test_a_namespace_is_no_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "nslab" / "mine" / "__init__.py", "")
    write(tmp_path / "nslab" / "theirs" / "__init__.py", "")
    mine = PluginCode.parse("nslab.mine")
    before = mine.digest()
    (tmp_path / "nslab" / "theirs" / "__init__.py").write_text("x = 1\n")
    assert mine.digest() == before


def test_a_file_gives_a_method_of_its_name_and_nothing_else(tmp_path):
    name(*write_examples(tmp_path))
    assert [each.name for each in METHOD_PLUGINS.entries()] == ["simdist"]
    assert [each.name for each in DATASET_PLUGINS.entries()] == ["dots"]
    assert [each.name for each in BACKBONE_PLUGINS.entries()] == ["twoconvs"]
    assert load_method("simdist").__name__ == "SimDist"
    found = METHOD_PLUGINS.find("simdist")
    digest = PluginCode.parse(str(tmp_path / "simdist.py")).digest()
    assert str(found.reference) == f"method:simdist@{digest}"


def test_what_is_executed_is_what_was_hashed_whatever_byte_code_lies_there(tmp_path):
    file = write(tmp_path / "edited.py", SIMDIST)
    name(file)
    assert load_method("edited").Options().output_dim == 128
    file.write_text(SIMDIST.replace("= 128", "= 129"))  # of the same length, in the same second
    assert load_method("edited").Options().output_dim == 129


def test_names_of_packages_are_known_without_importing_them(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    boom = "raise RuntimeError('imported')\n"
    points = {
        "methods": {"soft": "quietlab.soft:SimDist"},
        "datasets": {"dots2": "quietlab.soft:dots"},
        "backbones": {"net2": "quietlab.soft"},
    }
    install(tmp_path, "quietlab", {"soft": boom}, points)
    for shelf, known in ((METHOD_PLUGINS, "soft"), (DATASET_PLUGINS, "dots2")):
        (entry,) = shelf.entries()
        assert (entry.name, entry.origin, entry.problem) == (known, "quietlab 1.2", None)
    (point,) = installed_plugins(PluginKind.METHOD)
    assert has_plugins([f"method:soft@{point.code.digest()}"])
    assert "quietlab" not in sys.modules


def test_an_entry_point_leads_to_a_method_a_data_set_and_a_backbone(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    modules = {
        "soft": SIMDIST,
        "dots": example_files()["dots.py"],
        "net": TWOCONVS.replace("def twoconvs", "def labnet"),
    }
    points = {
        "methods": {"softer": "goodlab.soft:SimDist"},
        "datasets": {"dotty": "goodlab.dots:dots"},
        "backbones": {"labnet": "goodlab.net"},
    }
    install(tmp_path, "goodlab", modules, points)
    assert load_method("softer").__module__ == "goodlab.soft"
    assert DATASET_PLUGINS.find("dotty").value.licence == "MIT"
    assert build_backbone(BackboneSpec(name="labnet"), 16).block_names == ("stem", "body")


def test_a_wrong_entry_point_is_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    points = {
        "methods": {"gone": "wronglab.soft:Gone", "number": "wronglab.soft:NUMBER"},
        "backbones": {"nonet": "wronglab.soft"},
    }
    install(tmp_path, "wronglab", {"soft": "NUMBER = 1\n"}, points)
    for method in ("gone", "number"):
        with pytest.raises(PluginError, match=f"method {method} of wronglab 1.2 cannot be used"):
            load_method(method)
    with pytest.raises(PluginError, match="registers no model nonet"):
        build_backbone(BackboneSpec(name="nonet"), 16)


def test_a_named_plugin_may_not_take_a_built_in_name(tmp_path):
    name(write(tmp_path / "simclr.py", SIMDIST))
    with pytest.raises(PluginError, match=r"plugin simclr.py has a method simclr, which is built"):
        load_method("simclr")
    assert load_method("moco").__name__ == "MoCo"


def test_a_package_that_takes_a_built_in_name_is_left_out(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    points = {
        "methods": {"simclr": "cuckoo.soft:SimDist"},
        "backbones": {"resnet18": "cuckoo.soft"},
    }
    install(tmp_path, "cuckoo", {"soft": SIMDIST}, points)
    assert load_method("simclr").__module__ == "emabench.methods.simclr"
    assert build_backbone(BackboneSpec(name="resnet18"), 32).block_names[0] == "stem"
    for shelf in (METHOD_PLUGINS, BACKBONE_PLUGINS):
        (entry,) = shelf.entries()
        assert "which is built in" in entry.problem
    assert "cuckoo" not in sys.modules


def test_two_plugins_of_one_name_are_refused_unless_they_are_the_same(tmp_path):
    one = write(tmp_path / "a" / "twice.py", SIMDIST)
    two = write(tmp_path / "b" / "twice.py", SIMDIST)
    name(one, two)
    assert load_method("twice").__name__ == "SimDist"
    two.write_text(SIMDIST + "# other\n")
    with pytest.raises(PluginError, match="several plugins have a method twice"):
        load_method("twice")


def test_a_backbone_may_not_replace_one_of_timm(tmp_path):
    import timm

    before = timm.models.model_entrypoint("resnet26")
    name(write(tmp_path / "thief.py", TWOCONVS.replace("def twoconvs", "def resnet26")))
    assert BACKBONE_PLUGINS.problems() == [
        "plugin thief.py registers the backbone resnet26, which exists"
    ]
    assert timm.models.model_entrypoint("resnet26") is before


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_at_all\n", "ModuleNotFoundError: No module named"),
        ("def broken(:\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        (
            SIMDIST + "\n\nclass Another(SimDist):\n    pass\n",
            "has several methods: Another, SimDist",
        ),
    ],
)
def test_a_broken_plugin_breaks_only_itself(tmp_path, source, reason):
    broken = write(tmp_path / "broken.py", source)
    name(broken, *write_examples(tmp_path, "simdist.py"))
    assert load_method("simdist").__name__ == "SimDist"
    assert load_method("moco").__name__ == "MoCo"
    with pytest.raises(PluginError, match=f"unknown method 'broken': plugin broken.py .*{reason}"):
        load_method("broken")


def test_an_unknown_name_proposes_those_of_plugins(tmp_path):
    name(*write_examples(tmp_path, "simdist.py"))
    with pytest.raises(UnknownNameError) as caught:
        load_method("simdst")
    assert "simdist" in caught.value.hint
    assert "--plugin" in caught.value.hint


def test_what_it_prints_is_no_data(tmp_path, capsys):
    name(write(tmp_path / "chatty.py", "print('hello')\n" + SIMDIST))
    load_method("chatty")
    assert capsys.readouterr() == ("", "hello\n")


def test_only_files_and_modules_can_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.py").mkdir()
    for text, kind, words in (
        ("missing.py", NotFoundError, "cannot read the plugin missing.py"),
        ("no_such_module", NotFoundError, "there is no module no_such_module"),
        ("../up", NotFoundError, "there is no module ../up"),
        ("folder.py", PluginError, "no regular file"),
        ("~nobodyx/mine.py", NotFoundError, "a home that nobody has here"),
    ):
        with pytest.raises(kind, match=words):
            name(text)
    write(tmp_path / "mine.py", SIMDIST)
    name("mine.py")
    monkeypatch.chdir("/")
    assert [each.place for each in named_plugins()] == [str(tmp_path / "mine.py")]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("None", "gives a NoneType, not ImageArrays"),
        ("ImageArrays(2, PAIR, PAIR)", "fails: TypeError"),
        ("ImageArrays(('a', 'b'), PAIR, None)", "fails: TypeError"),
        ("ImageArrays(('a', 'b'), ([X[0], X[:2]], [0, 1]), PAIR)", "fails: ValueError"),
        ("ImageArrays(('a',), PAIR, PAIR)", "gives 1 classes"),
        ("ImageArrays(('a', 'b'), PAIR, (X, [0, 1, 2]))", "gives test labels that are no index"),
    ],
)
def test_a_data_set_that_makes_none_is_named(tmp_path, given, words):
    source = (
        "import numpy as np\n"
        "from emabench.plugin import ImageArrays, dataset\n"
        "X = np.zeros((3, 8, 8), np.uint8)\n"
        "PAIR = (X, [0, 1, 0])\n"
        "@dataset(licence='none')\n"
        f"def odd():\n    return {given}\n"
    )
    name(write(tmp_path / "odd.py", source))
    with pytest.raises(DataError, match=f"^data set odd: its plugin {words}"):
        load_dataset(DataSpec(dataset="odd"), cache_dir=tmp_path / "cache")


def test_a_plugin_without_end_is_refused(tmp_path):
    name(write(tmp_path / "endless.py", "#" * 2**20 + "\n"))
    assert "more than 1,048,576 bytes" in METHOD_PLUGINS.problems()[0]


def test_a_module_that_was_changed_after_its_import_is_not_taken_for_the_new_one(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    file = write(tmp_path / "stalelab.py", SIMDIST)
    name("stalelab")
    assert load_method("stalelab").__name__ == "SimDist"
    file.write_text(SIMDIST + "# changed\n")
    with pytest.raises(PluginError, match="was changed after it was imported"):
        load_method("stalelab")


def test_a_plugin_is_at_hand_by_its_digest_and_nothing_is_loaded_for_it(tmp_path):
    mine = write(tmp_path / "unloaded.py", "raise RuntimeError('loaded')\n")
    name(mine)
    digest = PluginCode.parse(str(mine)).digest()
    assert has_plugins([f"method:unloaded@{digest}", f"backbone:any_name@{digest}"])
    assert not has_plugins([f"method:other_name@{digest}"])
    assert not has_plugins([f"method:unloaded@{'0' * 32}"])
    mine.write_text("raise RuntimeError('changed')\n")
    assert not has_plugins([f"method:unloaded@{digest}"])


def test_of_two_files_with_one_backbone_neither_is_taken_for_the_other(tmp_path):
    source = TWOCONVS.replace("def twoconvs", "def rivals")
    one = write(tmp_path / "a" / "rivals.py", source)
    two = write(
        tmp_path / "b" / "rivals.py", source.replace("width: int = 8, **", "width: int = 4, **")
    )
    for file, features in ((one, 16), (two, 8), (one, 16)):
        name(file)
        assert build_backbone(BackboneSpec(name="rivals"), 16).feature_dim == features
    name(one, two)
    with pytest.raises(PluginError, match="several plugins have a backbone rivals"):
        build_backbone(BackboneSpec(name="rivals"), 16)


def test_a_file_that_failed_after_it_registered_a_backbone_can_be_mended(tmp_path):
    source = TWOCONVS.replace("def twoconvs", "def mended_net")
    file = write(tmp_path / "mended.py", source + "1 / 0\n")
    name(file)
    assert "ZeroDivisionError" in BACKBONE_PLUGINS.problems()[0]
    file.write_text(source)
    assert build_backbone(BackboneSpec(name="mended_net"), 16).feature_dim == 16


FORGETFUL = """
from __future__ import annotations
from typing import TYPE_CHECKING

from timm.models import register_model
from torch import nn

if TYPE_CHECKING:
    from nowhere import Width


class Odd(nn.Module):
    def __init__(self, width: Width = 8):
        super().__init__()
        self.num_features = width
        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(width, width)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))

    def ema_blocks(self):
        return {BLOCKS}


@register_model
def odd(pretrained: bool = False, width: int = 8, **unused: object) -> Odd:
    return Odd(width)
"""


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ("{'body': self.body, 'head': self.head}", "mat1 and mat2"),
        ("{'lay.er': self.body}", "lay.er"),
        ("{'keys': self.body}", "keys"),
        ("1 / 0", "division by zero"),
    ],
)
def test_blocks_that_are_not_the_model_are_explained(tmp_path, blocks, words):
    file = write(tmp_path / "odd.py", FORGETFUL.replace("{BLOCKS}", blocks))
    name(file)
    spec = BackboneSpec(name="odd", options={"width": 4})  # whose hint is there for readers alone
    with pytest.raises(SpecError, match="its ema_blocks, one after another, are not") as caught:
        build_backbone(spec, 32)
    assert words in caught.value.message
