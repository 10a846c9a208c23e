"""Runs of a store as a notebook has them: chosen, compared, drawn, kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import shutil
import sys
import warnings
from pathlib import Path

import matplotlib
import pytest
from made_store import make_store
from matplotlib.figure import Figure
from read_only import read_only

import emabench
from emabench import library
from emabench.errors import (
    CautionWarning,
    EmabenchError,
    NotFoundError,
    SpecError,
    StoreError,
    UnknownNameError,
    UsageError,
)
from emabench.report.figures import picture_names
from emabench.report.tables import run_table

EXAMPLE = Path(__file__).parents[3] / "results.db.example"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with a run of every kind, and the ids of one of each."""
    path = tmp_path_factory.mktemp("made") / "results.db"
    return path, make_store(path)


@pytest.fixture
def store(made, folder):
    """The same, open, in the current folder."""
    shutil.copy(made[0], folder)
    with emabench.open_store("results.db") as opened:
        yield opened


def test_runs_are_a_sequence_of_records(store):
    runs = store.select(where={"method": "moco", "ema_scope": "full"})
    assert isinstance(runs, emabench.Runs)
    assert len(runs) == len(list(runs)) > 3
    assert all(isinstance(run, emabench.Run) for run in runs)
    assert runs[-1] is list(runs)[-1]
    assert runs[-1] in runs
    assert isinstance(runs[1:3], emabench.Runs)
    assert list(runs[1:3]) == list(runs)[1:3]
    assert next(reversed(runs)) is runs[-1]


def test_values_and_conditions_choose_the_same_runs(store):
    by_value = store.select(where={"method": "byol", "ema.decay": 0.9, "seed": 0})
    by_text = store.select(where=["method=byol", "ema.decay=0.9", "seed=0"])
    assert len(by_value) == 1
    assert list(by_value) == list(by_text)
    assert repr(by_value) == repr(by_text).replace("2 runs", "1 run")
    assert list(store.select(where="seed=1")) == list(store.select(where={"seed": "1"}))
    assert len(store.select(where={"profile": True}, smoke=True)) == 3
    assert len(store.select(name="nobody")) == 0


def test_ids_name_runs_in_their_order(store, made):
    ids = made[1]
    assert [run.id for run in store.select(ids=[ids["smoke"], ids["done"]])] == [
        ids["smoke"],
        ids["done"],
    ]
    assert [run.id for run in store.select(ids="@last")] == [ids["newest"]]


@pytest.mark.parametrize(
    ("choice", "error", "hint"),
    [
        ({"where": {"methd": "moco"}}, SpecError, "method"),
        ({"where": {"seed": "many"}}, SpecError, ""),
        ({"where": {"seed": [0, 1]}}, SpecError, ""),
        ({"study": "nobody's"}, NotFoundError, ""),
        ({"ids": "zzzz"}, NotFoundError, "@last"),
    ],
)
def test_what_cannot_be_chosen_is_an_error_with_a_hint(store, choice, error, hint):
    with pytest.raises(error) as caught:
        store.select(**choice)
    assert hint in (caught.value.hint or "")


def test_a_store_that_is_not_there_or_closed_says_so(folder, store):
    with pytest.raises(NotFoundError, match=r"there is no store at nothing\.db"):
        emabench.open_store("nothing.db")
    store.close()
    with pytest.raises(StoreError, match=r"results\.db is closed"):
        store.select()
    assert repr(store) == "<closed store results.db>"


def test_runs_outlive_the_store_and_the_folder_and_a_pickle(store, tmp_path_factory):
    runs = store.select(study="projector-vs-full")
    before = runs.compare(fail_if="top1:-50")
    store.close()
    again = pickle.loads(pickle.dumps(runs))
    with contextlib.chdir(tmp_path_factory.mktemp("elsewhere")):
        assert again == runs
        found = again.compare(fail_if="top1:-50")
    assert found.to_json() == before.to_json() == pickle.loads(pickle.dumps(found)).to_json()


def test_a_password_is_in_no_representation():
    place = library._Place.of("postgresql://me:secret@host/name")
    runs = emabench.Runs((), library.run_query(), place)
    assert "secret" not in repr(runs) + runs._repr_html_()
    assert "host/name" in repr(runs)


QUESTIONS = {
    "everything": ([], {}, {}),
    "a study": (["--study", "projector-vs-full"], {"study": "projector-vs-full"}, {}),
    "smoke": (["--smoke"], {"smoke": True}, {}),
    "names": (["--name", "decay", "--by", "ema.decay"], {"name": "decay"}, {"by": "ema.decay"}),
    "words": (
        [
            *("--where", "method=moco", "--metric", "knn_top1,total_s", "--baseline", "none"),
            *("--margin", "knn_top1=0.5", "--margin", "total_s=2%", "--interval", "bca"),
            *("--fail-if", "top1:-0.5"),
        ],
        {"where": {"method": "moco"}},
        {
            "metrics": ["knn_top1", "total_s"],
            "baseline": "none",
            "margin": {"knn_top1": 0.5, "total_s": 0.02},
            "interval": "bca",
            "fail_if": ["top1:-0.5"],
        },
    ),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_comparison_is_what_the_command_prints(store, emabench, question):
    flags, choice, words = QUESTIONS[question]
    printed = emabench(["compare", "--json", *flags])
    found = store.select(**choice).compare(words.pop("metrics", None), **words)
    assert printed.code in (0, 5), printed.err
    assert found.to_json() == json.loads(printed.out)
    assert [result.passed for result in found.gate] == [
        each["passed"] for each in json.loads(printed.out).get("gate", [])
    ]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"metrics": "topp1"}, UnknownNameError, "unknown metric 'topp1'"),
        ({"margin": {"top5": 1}}, UnknownNameError, "top5"),
        ({"margin": {"throughput": 2}}, UsageError, "not a fraction between 0 and 1"),
        ({"margin": {"top1": -1}}, UsageError, "a margin must be above 0"),
        ({"margin": {"top1": True}}, UsageError, "not a number"),
        ({"interval": "bootstrap"}, UnknownNameError, "unknown interval"),
        ({"by": "seed"}, UsageError, "--by seed"),
        ({"fail_if": "top1"}, UsageError, "no bound"),
    ],
)
def test_a_question_that_cannot_be_read_is_an_error(store, words, error, message):
    with pytest.raises(error, match=message):
        store.select().compare(**words)


def test_nothing_to_compare_is_an_error_that_counts_smoke_runs(store):
    with pytest.raises(NotFoundError, match="no run matches"):
        store.select(name="nobody").compare()
    found = store.select(study="projector-vs-full").compare()
    assert "1 smoke run left out, see --smoke" in found.notes
    assert not any(run.smoke for run in store.select())


def test_notebooks_show_tables_with_everything_escaped(store, monkeypatch):
    runs = store.select(where={"method": "moco"})
    shown = runs._repr_html_()
    assert shown.count("<tr>") == 1 + len(runs)
    assert "where method=moco" in shown
    monkeypatch.setattr(library, "_MOST_ROWS", 2)
    shown = runs._repr_html_()
    assert shown.count("<tr>") == 3
    assert runs[-1].id in shown
    assert f"and {len(runs) - 2} earlier runs" in shown
    hostile = "<script>alert('x')</script>"
    table = run_table.Table((hostile,), ((hostile,),))
    assert "<script>" not in table.to_html()
    assert table.to_html().count("&lt;script&gt;") == 2
    comparison = runs.compare()
    page = comparison._repr_html_()
    for words in (*comparison.warnings, *comparison.notes):
        assert words.split("<")[0].split("'")[0] in page
    assert repr(comparison).startswith("| ema_scope |")


@pytest.mark.parametrize("kind", picture_names())
def test_every_picture_is_a_figure_that_pyplot_does_not_know(store, kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # an import would fail
    style = matplotlib.rcParams.copy()
    runs = store.select(study="which-block")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CautionWarning)
        figure = runs.plot(kind)
    assert isinstance(figure, Figure)
    texts = [text.get_text() for part in figure.subfigs for text in part.texts]
    assert any("source: results.db, study which-block" in text.replace("\n", " ") for text in texts)
    assert matplotlib.rcParams.copy() == style
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_picture_takes_its_options_and_refuses_others(store):
    runs = store.select(study="which-block")
    (axes,) = runs.plot("seeds", metric="knn_top1").subfigs[1].axes
    assert "knn_top1" in axes.get_xlabel()
    with pytest.raises(UnknownNameError, match="unknown picture 'paretto'"):
        runs.plot("paretto")
    with pytest.raises(UnknownNameError) as caught:
        runs.plot("pareto", metrik="top1")
    assert caught.value.hint == "did you mean metric?"


def test_what_must_be_known_of_a_picture_is_a_warning(store):
    with pytest.warns(CautionWarning) as caught:
        store.select(study="projector-vs-full").plot("pareto")
    assert any("different devices" in str(each.message) for each in caught)
    assert {Path(each.filename) for each in caught} == {Path(__file__)}


def test_runs_named_by_id_are_drawn_and_compared_whatever_they_are(store, made):
    ids = [made[1]["smoke"], made[1]["done"]]
    assert len(store.select(ids=ids).compare("top1").arms.runs) == 2
    named = store.select(ids=[made[1]["profiled alone"]])
    assert named.plot("seeds")
    with pytest.raises(NotFoundError, match="only profiled runs"):
        named.compare("top1")


def test_without_pandas_a_table_says_what_to_install(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    runs = store.select(study="which-block")
    for table in (runs.to_frame, runs.curves, runs.compare().to_frame):
        with pytest.raises(EmabenchError) as caught:
            table()
        assert caught.value.hint == "pip install 'emabench[pandas]'"
        assert "\n" not in caught.value.message


@pytest.mark.skipif(not EXAMPLE.exists(), reason="no example store")
def test_reading_leaves_a_store_untouched(folder):
    shutil.copy(EXAMPLE, folder / "results.db")
    before = hashlib.sha256((folder / "results.db").read_bytes()).hexdigest()
    with read_only(folder):
        with emabench.open_store("results.db") as store:
            runs = store.select(study="projector-vs-full")
        runs.compare()
        runs.gather(_picture("curves"))
        assert [file.name for file in folder.iterdir()] == ["results.db"]
    assert hashlib.sha256((folder / "results.db").read_bytes()).hexdigest() == before


def test_the_reference_lists_the_columns(store):
    page = (EXAMPLE.parent / "docs" / "reference" / "library.md").read_text("utf-8")
    table = page.partition("## Tables")[2].partition("\n## ")[0]
    for name in run_table.DESCRIBED:
        assert f"`{name}`" in table, name


def _picture(kind):
    from emabench.report.figures import make_picture

    return make_picture(kind, {})
