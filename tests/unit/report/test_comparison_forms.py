"""The forms of a comparison hold the same numbers: table, JSON, CSV, Markdown, LaTeX."""

import csv
import io
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from markdown_it import MarkdownIt
from seeding import plan, recorded

from emabench.analysis.comparison import compare
from emabench.analysis.metrics import parse_metrics
from emabench.errors import UnknownNameError, UsageError
from emabench.report.tables import mean_table
from emabench.report.tables.comparison_columns import chosen_columns, data_columns, reading_columns
from emabench.report.tables.comparison_table import (
    data_table,
    headlines,
    reading_table,
    runs_data,
    runs_table,
    verdict_table,
)
from emabench.table import Table

MARGINS = {"top1": 0.5, "throughput": 0.02}


@pytest.fixture(scope="module")
def comparison():
    random = np.random.default_rng(3)
    speeds = {"none": 1000, "projector": 980, "full": 700}
    runs = [
        recorded(
            plan(ema_scope=scope, seed=seed, method=method),
            top1=60 + seed + place / 5 + random.normal(0, 0.3),
            throughput=speed * np.exp(random.normal(0, 0.02)),
            embedding_std=0.9,
        )
        for method in ("moco", "simclr")
        for seed in range(4)
        for place, (scope, speed) in enumerate(speeds.items())
    ]
    metrics = parse_metrics("top1,throughput,energy,max:embedding_std")
    return compare(runs, metrics, margins=MARGINS)


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_and_json_hold_the_same_numbers(comparison):
    rows = comparison.to_json()["rows"]
    for line, row in zip(read(data_table(comparison).to_csv()), rows, strict=True):
        assert (line["method"], line["ema_scope"]) == (row["method"], row["ema_scope"])
        assert [int(seed) for seed in line["seeds"].split()] == row["seeds"]
        assert line["answer"] == ((row["headline"] or {}).get("answer") or "")
        for name, cell in row["metrics"].items():
            assert numbers(line[f"{name}_values"]) == [v for v in cell["values"] if v is not None]
            assert number(line[f"{name}_mean"]) == cell["mean"]
            assert number(line[f"{name}_sd"]) == cell["sd"]
            paired = cell.get("baseline") or {}
            kind = "ratio" if name in ("throughput", "energy") else "difference"
            for key, end in (("value", ""), ("low", "_low"), ("high", "_high"), ("sd", "_sd")):
                assert number(line[f"{name}_{kind}{end}"]) == paired.get(key)
            for key in ("p", "p_smallest", "p_holm"):
                assert number(line[f"{name}_{key}"]) == paired.get(key)
            assert line[f"{name}_verdict"] == (cell.get("verdict") or "")


def test_the_table_is_the_rounded_json(comparison):
    table = reading_table(comparison)
    for line, row in zip(table.to_records(), comparison.to_json()["rows"], strict=True):
        cell = row["metrics"]["top1"]
        assert line["top1 [%]"] == f"{cell['mean']:.2f} ± {cell['sd']:.2f}"
        if (paired := cell.get("baseline")) is None:
            assert line["top1 - full"] == line["cheaper, not worse"] == "baseline"
            continue
        ends = f"[{paired['low']:+.2f}, {paired['high']:+.2f}]"
        assert line["top1 - full"] == f"{paired['value']:+.2f} {ends}"
        speed = row["metrics"]["throughput"]["baseline"]
        ends = f"[{speed['low']:.3f}, {speed['high']:.3f}]"
        assert line["throughput / full"] == f"{speed['value']:.3f} {ends}"
        assert line["energy / full"] == line["energy [J]"] == "-"


def test_every_verdict_is_a_line_with_its_p(comparison):
    records = verdict_table(comparison).to_records()
    cells = {
        (row.label, name): cell
        for row in comparison.rows
        for name, cell in row.metrics.items()
        if cell.baseline is not None
    }
    assert [(each["arm"], each["metric"]) for each in records] == list(cells)
    for each in records:
        cell = cells[each["arm"], each["metric"]]
        assert each["p (min)"].endswith("(0.12)")
        assert each["verdict"] == cell.words
        assert each["p Holm"] != "-"
    assert "± images" not in records[0]


def test_headlines_name_the_arm(comparison):
    lines = headlines(comparison)
    assert len(lines) == 4
    assert lines[0].startswith("moco none: cheaper and not worse than full: ")


def test_arms_that_are_many_share_a_line_with_those_of_the_same_answer():
    scopes = ["full", "none", "projector", *(f"from:b{number}" for number in range(11))]
    runs = [
        recorded(
            plan(ema_scope=scope, seed=seed),
            top1=60 + seed / 10 - 9 * (scope == "none"),
            throughput=1000 + 9 * seed + 500 * (scope == "projector"),
        )
        for scope in scopes
        for seed in range(3)
    ]
    few, many = (compare(some, parse_metrics("top1,throughput")) for some in (runs[:-3], runs))
    assert len(headlines(few)) == 12
    lines = headlines(many)
    assert lines[0].startswith("cheaper and not worse than full: no (12 of 13): none, ")
    assert lines[1] == "cheaper and not worse than full: undecided (1 of 13): projector"
    told = [label for line in lines for label in line.rpartition(": ")[2].split(", ")]
    assert sorted(told) == sorted(row.label for row in many.rows if row.headline is not None)


def test_every_run_is_a_line_and_its_changes_are_those_of_the_pairs(comparison):
    lines = read(runs_data(comparison).to_csv())
    assert len(lines) == sum(row.n for row in comparison.rows) == 24
    for row in comparison.rows:
        mine = [line for line in lines if line["label"] == row.label]
        assert [number(line["top1"]) for line in mine] == list(row.metrics["top1"].values)
        paired = row.metrics["top1"].baseline
        changes = [number(line["top1_difference"]) for line in mine]
        assert changes == ([None] * 4 if paired is None else list(paired.differences))
        assert [line["run"] for line in mine] == [run.id for run in row.runs]
    shown = runs_table(comparison).to_records()
    assert [line["run"] for line in shown] == [line["run"] for line in lines]


def rendered(text):
    """Return the cells of a Markdown table as a reader sees them, line by line, and the HTML."""
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert html.startswith("<table>")
    lines = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in html.split("<tr>")[1:]]
    return [[unescape(cell) for cell in line] for line in lines], html


def test_markdown_renders_as_the_table(comparison):
    for table in (reading_table(comparison), runs_table(comparison), verdict_table(comparison)):
        lines, html = rendered(table.to_markdown())
        assert lines == [list(table.headers), *(list(row) for row in table.rows)]
        right = len(table.right & set(table.headers))
        assert html.count("text-align:right") == right * (1 + len(table.rows))


def test_markup_in_a_cell_stays_text():
    cells = (r"x \ y", "_under_ in_word `code` <b> 1*2*3 [a](b)")
    table = Table(("a|b", "*bold*"), (cells,))
    lines, _ = rendered(table.to_markdown())
    assert lines == [["a|b", "*bold*"], list(cells)]


def test_latex_is_a_booktabs_table_with_everything_escaped(comparison):
    table = reading_table(comparison)
    lines = table.to_latex().splitlines()
    assert lines[0] == r"% \usepackage{booktabs}"
    assert lines[1] == r"\begin{tabular}{llrrrrrrrrrl}"[: len(lines[1])]
    assert (lines[2], lines[4], lines[-2], lines[-1]) == (
        *(r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"),
    )
    rows = [lines[3], *lines[5:-2]]
    assert len(rows) == len(table.rows) + 1
    for row in rows:
        assert row.endswith(r" \\")
        assert len(re.split(r"(?<!\\)&", row)) == len(table.headers)
        assert not re.search(r"(?<!\\)[_%#]", row)
    assert r"ema\_scope" in rows[0]
    assert r"top1 [\%]" in rows[0]
    assert r"$\pm$" in rows[1]


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        (
            "50 % & 1_000 #2 {x} ~ ^",
            r"50 \% \& 1\_000 \#2 \{x\} \textasciitilde{} \textasciicircum{}",
        ),
        ("a\\b <c> $d$", r"a\textbackslash{}b \textless{}c\textgreater{} \$d\$"),
        ("-0.10 [-0.20, +0.30]", r"$-$0.10 [$-$0.20, +0.30]"),
        ("top1 - full", r"top1 $-$ full"),
        ("layer4-2", "layer4-2"),
        ("-", "--"),
        ("[64, 80]", "{}[64, 80]"),
        ("1.0 ± 0.1", r"1.0 $\pm$ 0.1"),
    ],
)
def test_latex_escapes_what_it_must(text, latex):
    assert Table(("h",), ((text,),)).to_latex().splitlines()[5] == latex + r" \\"


def test_columns_are_chosen_by_field_metric_and_aspect(comparison):
    names = "ema_scope,optimizer.lr,n,top1:change,top1:p,throughput:corrected,top1:test_set,answer"
    columns = chosen_columns(comparison, names)
    table = reading_table(comparison, columns)
    assert table.headers == (
        *("ema_scope", "optimizer.lr", "n", "top1 - full", "top1 p (min)"),
        *("throughput corrected", "top1 ± images", "cheaper, not worse"),
    )
    assert table.rows[0][1] == "0.3"
    told = [row.metrics["throughput"].corrected for row in comparison.rows]
    assert [row[5] for row in table.rows] == ["-" if each is None else each.value for each in told]
    assert any(told)
    data = data_table(comparison, columns)
    assert data.headers[:4] == ("ema_scope", "pretrain.optimizer.lr", "n", "top1_difference")
    with pytest.raises(UnknownNameError) as caught:
        chosen_columns(comparison, "top1:chnge")
    assert "top1:change" in caught.value.hint
    with pytest.raises(UsageError):
        chosen_columns(comparison, "n,,top1")


def test_every_shown_column_can_be_chosen(comparison):
    for column in (*reading_columns(comparison), *data_columns(comparison)):
        assert chosen_columns(comparison, column.key)[0].header == column.header


def number(text):
    return float(text) if text else None


def numbers(text):
    return [float(part) for part in text.split()]


def test_means_are_marked_where_the_interval_leaves_out_no_change():
    runs = [
        recorded(
            plan(ema_scope=scope, seed=seed),
            **{"top1": top1 + seed, "throughput": speed + seed, "target:top1": top1},
        )
        for scope, top1, speed in (("full", 60, 700), ("none", 65, 1000), ("projector", 60, 990))
        for seed in range(3)
    ]
    scattered = {"top1": 66.0, "target:top1": 60}
    runs[-1] = replace(runs[-1], results=scattered)
    found = compare(runs, parse_metrics("top1,throughput,max:target:top1"))
    table = mean_table.mean_table(found)
    assert table.headers[:4] == ("ema_scope", "n", "top1 [%]", "throughput [images/s]")
    assert table.headers[4:] == ("target:top1",)
    rows = {row[0]: row[1:4] for row in table.rows}
    assert rows["full"] == ("3", "61.00 ± 1.00", "701.0 ± 1.0")
    assert rows["none"] == ("3", "66.00 ± 1.00*", "1001 ± 1.0*")
    assert rows["projector"][1].startswith("62.33 ±")
    assert not rows["projector"][1].endswith("*")
    assert "differs from full" in mean_table.footnote(found)
    assert "6 intervals, not corrected" in mean_table.footnote(found)
    assert "66.00 $\\pm$ 1.00*" in table.to_latex()
