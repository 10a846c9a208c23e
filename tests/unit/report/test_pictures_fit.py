"""Every picture, at 1 to 35 arms: no text over another, none cut off, n and source on it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from studied import PHASES, points_of, study

from emabench.analysis.comparison import compare
from emabench.analysis.curves.stability import stability
from emabench.analysis.metrics import parse_metrics
from emabench.analysis.selection import select
from emabench.cli.app.main import run
from emabench.report.figures._crowded import about_arms
from emabench.report.figures._sheet import save_figure, source_line
from emabench.report.figures.blocks import BlocksPicture, draw_blocks
from emabench.report.figures.cost import CostPicture, draw_cost
from emabench.report.figures.curves import CurvesPicture, draw_curves
from emabench.report.figures.forest import ForestPicture, draw_forest
from emabench.report.figures.pareto import ParetoPicture, draw_pareto
from emabench.report.figures.seeds import SeedsPicture, draw_seeds
from emabench.report.figures.stability import draw_stability
from emabench.store import RunStore

SIZES = (3, 1, 12, 35, 0)
"""Numbers of arms; 0 stands for 18 arms of three methods, with names as long as they get, and 35
for the first study in the example store."""
EXAMPLE = Path(__file__).parents[3] / "results.db.example"


@pytest.fixture(scope="module")
def store_of(tmp_path_factory):
    """Makes the store with so many arms, or opens it."""
    folder = tmp_path_factory.mktemp("stores")

    def opened(arms):
        path = folder / f"{arms}.db"
        if arms == 35 and not path.exists():
            bundle = str(folder / "first.jsonl")
            for line in (
                ["export", "--db", str(EXAMPLE), "--where", "created<2026-11-27", "-o", bundle],
                ["import", bundle, "--db", str(path)],
            ):
                assert run(line) == 0
        elif not path.exists():
            with RunStore.open(str(path), mode="write") as store:
                _fill(store, arms)
        return RunStore.open(str(path), mode="read")

    return opened


def _fill(store, arms):
    if arms:
        study(store, arms=arms, seeds=1 if arms == 1 else 3)
        return
    methods = ("barlow_twins", "simclr", "moco")
    study(store, arms=3, seeds=2, methods=methods)
    others = {"pretrain__ema__decay": 0.9871, "backbone": "resnet50"}
    study(store, arms=3, seeds=2, methods=methods, **others)


def _with_phases(shown):
    bars = [
        replace(bar, parts={k: v for k, v in PHASES.items() if bar.label != "none" or "t" in k})
        for bar in shown.bars
    ]
    return replace(shown, bars=tuple(bars))


def _forest(store):
    found = compare(store.runs(), parse_metrics("top1,throughput"), margins={"top1": 1.0})
    return ForestPicture().gather_comparison(found)


KINDS = {
    "pareto": (lambda chosen, store: ParetoPicture().gather(chosen), draw_pareto),
    "curves": (lambda chosen, store: CurvesPicture().gather(chosen, points_of(store)), draw_curves),
    "cost": (lambda chosen, store: CostPicture().gather(chosen), draw_cost),
    "phases": (lambda chosen, store: _with_phases(CostPicture().gather(chosen)), draw_cost),
    "run": (lambda chosen, store: CostPicture("run").gather(chosen), draw_cost),
    "stability": (lambda chosen, store: stability(chosen, store.metrics), draw_stability),
    "blocks": (lambda chosen, store: BlocksPicture().gather(chosen, points_of(store)), draw_blocks),
    "forest": (lambda chosen, store: _forest(store), draw_forest),
    "seeds": (lambda chosen, store: SeedsPicture().gather(chosen), draw_seeds),
}
CASES = [
    pytest.param(kind, arms, marks=() if arms == 3 else pytest.mark.slow)
    for kind in KINDS
    for arms in SIZES
    if (kind, arms) != ("forest", 1)  # one arm is compared with nothing
]


@pytest.fixture
def drawn(monkeypatch):
    """Every text that is drawn, with its place in pixels; and the size of the picture."""
    texts, sizes = [], []
    draw, save = Text.draw, Figure.savefig

    def note(self, renderer, *args, **options):
        if self.get_visible() and self.get_text().strip():
            texts.append((self.get_text(), self.get_window_extent(renderer)))
        draw(self, renderer, *args, **options)

    def show(self, path, **options):
        save(self, path, **options)
        texts.clear()  # what was drawn while the places were still sought
        canvas = FigureCanvasAgg(self)
        canvas.draw()
        sizes.append(canvas.get_width_height())

    monkeypatch.setattr(Text, "draw", note)
    monkeypatch.setattr(Figure, "savefig", show)
    return texts, sizes


@pytest.mark.parametrize(("kind", "arms"), CASES)
def test_no_text_is_cut_off_or_lies_over_another(store_of, tmp_path, drawn, kind, arms):
    gather, draw = KINDS[kind]
    alone = kind in ("blocks", "forest")  # nobody has to tell every arm from the others
    with store_of(arms) as store:
        chosen = select(store.runs(), smoke=False)
        line = source_line(chosen.runs, "results.db", ["study which-block"])
        about = chosen.together if alone else about_arms(chosen)
        source = "\n".join([*about, line])
        save_figure(draw(gather(chosen, store), source=source), tmp_path / "picture.png")
    texts, [(width, height)] = drawn
    words = " ".join(text for text, _ in texts)
    assert "source: results.db" in words
    assert "n = " in words or "n=" in words
    if not alone:
        assert ("arms are many for one picture" in words) == (len(chosen.arms) > 12)
    assert max(width, height) < 2600
    for text, box in texts:
        assert min(box.x0, width - box.x1) >= -0.5, f"{text!r} is cut at a side"
        assert min(box.y0, height - box.y1) >= -0.5, f"{text!r} is cut above or below"
    for (one, box), (other, place) in combinations(texts, 2):
        across = min(box.x1, place.x1) - max(box.x0, place.x0)
        upright = min(box.y1, place.y1) - max(box.y0, place.y0)
        assert across <= 1 or upright <= 1, f"{one!r} and {other!r} overlap"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_is_written(store_of, tmp_path, kind):
    gather, draw = KINDS[kind]
    with store_of(3) as store:
        shown = gather(select(store.runs(), smoke=False), store)
    for ending in ("svg", "pdf"):
        save_figure(draw(shown, source="source: here"), tmp_path / f"x.{ending}")
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")
    text = (tmp_path / "x.svg").read_text("utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
