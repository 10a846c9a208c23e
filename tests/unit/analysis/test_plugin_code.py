"""Code of plugins in comparisons: other code is another arm, unless it belongs to the factor."""

from __future__ import annotations

from seeding import plan, recorded

from emabench.analysis.arms import disagreement
from emabench.analysis.factor import Factor
from emabench.analysis.selection import select

ONE, TWO = f"method:soft@{'1' * 32}", f"method:soft@{'2' * 32}"
NET = f"backbone:net@{'3' * 32}"


def run(*plugins, **fields):
    identity = {"plugins": list(plugins)} if plugins else {}
    return recorded(plan(identity=identity, **fields))


def arms(runs, by="ema_scope"):
    return select(runs, smoke=False, by=Factor.parse(by)).arms


def test_seeds_of_other_code_are_another_arm():
    found = arms([run(ONE, method="soft", seed=0), run(TWO, method="soft", seed=1)])
    assert [list(arm.runs) for arm in found] == [[0], [1]]
    assert [arm.label for arm in found] == [f"none method={'1' * 23}…", f"none method={'2' * 23}…"]


def test_seeds_of_the_same_code_are_one_arm():
    (arm,) = arms([run(ONE, method="soft", seed=seed) for seed in range(3)])
    assert list(arm.runs) == [0, 1, 2]
    assert arm.label == "none"


def test_the_code_of_a_method_goes_along_with_the_method():
    runs = [run(ONE, method="soft"), run(method="simclr")]
    first, second = arms(runs, by="method")
    by = Factor.parse("method")
    assert {first.label, second.label} == {"soft none", "simclr none"}, "the method tells it"
    assert all(by.goes_along(field) for field in disagreement(first, second))


def test_the_code_of_a_backbone_does_not_go_along_with_a_method():
    runs = [run(ONE, NET, method="soft", backbone="net"), run(method="simclr")]
    first, second = arms(runs, by="method")
    alone = {f for f in disagreement(first, second) if not Factor.parse("method").goes_along(f)}
    assert alone == {"pretrain.backbone.name", "plugins.backbone"}
