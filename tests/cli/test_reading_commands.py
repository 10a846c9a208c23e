"""compare, list and show on a store as a user would read it."""

import csv
import io
import json
import shutil
import sqlite3
import stat

import pytest
from seeding import complete, plan

from emabench.cli.app.main import run
from emabench.store import RunStore


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "results.db"
    with RunStore.open(str(path), mode="write") as store:
        for seed in range(3):
            for scope, top1, speed in (
                ("none", 60, 1000),
                ("projector", 61, 990),
                ("full", 61, 700),
            ):
                fields = {"method": "moco", "ema_scope": scope, "seed": seed}
                complete(store, plan(**fields), top1=top1 + seed / 10, throughput=speed + seed)
        complete(store, plan(method="moco", ema_scope="none", smoke=True), top1=10.0)
        store.add_run(plan(method="moco", ema_scope="none", seed=9))
    return path


@pytest.fixture
def db(made, tmp_path):
    """The path of a copy of the store."""
    return shutil.copy(made, str(tmp_path / "results.db"))


def compare(capsys, db, *options):
    assert run(["compare", "--metric", "top1,throughput", "--db", db, *options]) == 0
    return capsys.readouterr().out


def test_the_json_of_compare(capsys, db):
    answer = json.loads(compare(capsys, db, "--json"))
    assert answer["schema_version"] == 1
    rows = {row["ema_scope"]: row for row in answer["rows"]}
    assert list(rows) == ["none", "projector", "full"]
    row = rows["projector"]
    assert (row["method"], row["n"], row["seeds"]) == ("moco", 3, [0, 1, 2])
    assert row["metrics"]["top1"]["values"] == [61.0, 61.1, 61.2]
    assert row["metrics"]["top1"]["mean"] == pytest.approx(61.1)
    assert row["metrics"]["top1"]["sd"] == pytest.approx(0.1)
    assert row["metrics"]["throughput"]["values"] == [990, 991, 992]


def test_the_formats_hold_the_same_numbers(capsys, db):
    rows = json.loads(compare(capsys, db, "--json"))["rows"]
    table = list(csv.DictReader(io.StringIO(compare(capsys, db, "--csv"))))
    assert len(table) == len(rows)
    for line, row in zip(table, rows, strict=True):
        figures = {value for value in line.values() if value}
        assert str(row["metrics"]["top1"]["mean"]) in figures
        assert str(row["metrics"]["throughput"]["mean"]) in figures
    markdown = compare(capsys, db, "--markdown").strip().splitlines()
    assert len(markdown) == 2 + len(rows)
    assert all(line.startswith("|") and line.endswith("|") for line in markdown)


def test_a_baseline_gives_ratios_of_costs_and_differences_of_accuracies(capsys, db):
    rows = json.loads(compare(capsys, db, "--json", "--baseline", "none"))["rows"]
    full = next(row for row in rows if row["ema_scope"] == "full")
    top1, speed = (full["metrics"][name]["baseline"] for name in ("top1", "throughput"))
    assert (top1["kind"], speed["kind"]) == ("difference", "ratio")
    assert top1["value"] == pytest.approx(1.0)
    assert speed["value"] == pytest.approx(0.7, abs=0.01)


def test_smoke_and_unfinished_runs_are_left_out(capsys, db):
    assert "10.0" not in compare(capsys, db, "--csv")
    everything = json.loads(compare(capsys, db, "--json", "--smoke"))["rows"]
    assert any(10.0 in row["metrics"]["top1"]["values"] for row in everything)


def test_where_chooses_runs(capsys, db):
    rows = json.loads(compare(capsys, db, "--json", "--where", "ema_scope=full"))["rows"]
    assert [row["ema_scope"] for row in rows] == ["full"]


def test_list_and_show(capsys, db):
    assert run(["list", "--db", db, "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert len(runs) == 10
    assert run(["show", runs[0]["id"][:8], "--db", db, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["id"] == runs[0]["id"]
    assert run(["show", "@last", "--db", db]) == 0
    assert runs[-1]["id"] in capsys.readouterr().out


def test_wrong_requests_are_one_line_with_a_hint(capsys, db, tmp_path):
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"these are not the rows you are looking for" * 100)
    missing = str(tmp_path / "nowhere.db")
    for arguments, code, words in (
        (["compare", "--metric", "topl", "--db", db], 2, "or top1?"),
        (["compare", "--where", "ema_scoop=full", "--db", db], 2, "did you mean ema_scope"),
        (["compare", "--db", missing], 3, "emabench run"),
        (["list", "--db", missing], 3, "emabench run"),
        (["show", "@last", "--db", missing], 3, "emabench run"),
        (["compare", "--db", str(garbage)], 1, "hint:"),
        (["show", "ffffffffffff", "--db", db], 3, "hint:"),
    ):
        assert run(arguments) == code, arguments
        answer = capsys.readouterr()
        assert words in answer.err, arguments
        assert answer.out == ""
        assert len(answer.err.strip().splitlines()) == 2
        assert "Traceback" not in answer.err
    assert garbage.read_bytes().startswith(b"these are not")
    assert not (tmp_path / "nowhere.db").exists()


def test_reading_changes_no_byte(capsys, db, tmp_path):
    folder = tmp_path / "shipped"
    folder.mkdir()
    copy = folder / "results.db"
    source, target = sqlite3.connect(db), sqlite3.connect(copy)
    source.backup(target)
    target.execute("PRAGMA journal_mode=DELETE")
    source.close()
    target.close()
    before = copy.read_bytes()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert run(["compare", "--metric", "top1", "--db", str(copy)]) == 0
    folder.chmod(stat.S_IRWXU)
    assert copy.read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["results.db"]
