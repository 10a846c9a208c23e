"""An arm looks the same in all pictures and on the page, and no two arms look alike."""

from __future__ import annotations

import re
import shlex
from importlib import resources

import pytest
from matplotlib.colors import to_hex
from seeding import complete, plan, recorded
from studied import SCOPES, points_of, study

from emabench.analysis.selection import select
from emabench.report.figures import _arm_looks
from emabench.report.figures._arm_looks import PALETTE, ArmLook, arm_looks
from emabench.report.figures._crowded import about_arms, fewer_arms
from emabench.report.figures.cost import CostPicture
from emabench.report.figures.curves import CurvesPicture
from emabench.report.figures.pareto import ParetoPicture
from emabench.report.figures.seeds import SeedsPicture
from emabench.spec.paths import read_condition
from emabench.store import RunStore


@pytest.fixture
def store(folder):
    with RunStore.open("results.db", mode="write") as opened:
        yield opened


class Named:
    """Stands for an arm of which only the name is known."""

    def __init__(self, label):
        self.label = label


def test_the_page_has_the_same_colours():
    style = (resources.files("emabench.report.page") / "assets" / "page.css").read_text("utf-8")
    light = style[: style.index("@media")]
    assert dict(re.findall(r"\.s(\d+) \{ color: (#\w+) \}", light)) == {
        str(place): colour for place, colour in enumerate(PALETTE)
    }


@pytest.mark.parametrize("count", [1, 2, 3, 12, 13, 35, 144])
def test_no_two_arms_look_alike(count):
    looks = arm_looks([Named(str(place)) for place in range(count)])
    assert len({(look.colour, look.mark) for look in looks.values()}) == count
    neighbours = zip(list(looks.values()), list(looks.values())[1:], strict=False)
    if count > len(PALETTE):
        assert all(abs(one.colour - two.colour) >= 5 for one, two in neighbours)


def test_two_arms_are_far_apart():
    assert list(arm_looks([Named("a"), Named("b")]).values()) == [ArmLook(0, 0), ArmLook(11, 1)]
    assert _arm_looks.PALETTE[11] != _arm_looks.PALETTE[0]


def test_an_arm_keeps_its_look_where_another_is_left_out(store):
    study(store, arms=3, seeds=1)
    complete(store, plan(method="moco", ema_scope="from:layer4", seed=0), throughput=None)
    arms = select(store.runs(), smoke=False)
    values = points_of(store)
    pareto = ParetoPicture().gather(arms)
    curves = CurvesPicture().gather(arms, values)
    seeds = SeedsPicture().gather(arms)
    cost = CostPicture("run").gather(arms)
    assert len(pareto.points) < len(seeds.arms)
    assert pareto.looks == curves.looks == seeds.looks == cost.looks == arm_looks(arms.arms)


def drawn_colours(axes):
    return {to_hex(line.get_color()) for line in axes.get_lines()}


def test_pictures_are_drawn_in_these_looks(store):
    study(store, arms=3, seeds=2)
    arms = select(store.runs(), smoke=False)
    expected = {look.shade for look in arm_looks(arms.arms).values()}
    for picture in (ParetoPicture(), CurvesPicture(), SeedsPicture(), CostPicture("run")):
        shown = picture.gather(arms, points_of(store))
        panel = picture.draw(shown).axes[0]
        assert expected <= drawn_colours(panel), picture.name()


def test_a_picture_of_many_arms_says_how_to_choose_fewer(store):
    study(store, arms=5, seeds=1, methods=("moco", "simclr", "byol"))
    (line,) = about_arms(select(store.runs(), smoke=False))
    assert line == (
        "15 arms are many for one picture: --where method=byol, --study NAME or ids of runs "
        "show fewer"
    )


def test_the_words_of_the_choice_are_read_back_as_they_were_meant():
    mine = "my net, old"
    runs = [
        recorded(plan(ema_scope=scope, pretrain__backbone__name=name))
        for scope in SCOPES[:7]
        for name in (mine, "resnet18")
    ]
    flag, condition = shlex.split(fewer_arms(select(runs, smoke=False)))
    assert (flag, read_condition(condition)) == ("--where", ("pretrain.backbone.name", mine))


def test_what_can_be_chosen_leaves_several_arms(store):
    study(store, arms=13, seeds=1)
    assert about_arms(select(store.runs(), smoke=False)) == [
        "13 arms are many for one picture: --study NAME or ids of runs show fewer"
    ]
    few = select(store.runs()[:12], smoke=False)
    assert about_arms(few) == []
