"""Every accuracy says whose it is."""

import json

import pytest
from seeding import complete, plan

from emabench.analysis.comparison import compare
from emabench.analysis.metrics import parse_metrics
from emabench.report.tables import run_table
from emabench.report.tables.run_sheet import run_sheet
from emabench.store import RunStore


@pytest.fixture
def store(tmp_path):
    with RunStore.open(str(tmp_path / "results.db"), mode="write") as opened:
        yield opened


def network_notes(runs, metrics):
    notes = compare(runs, parse_metrics(metrics)).notes
    return [note for note in notes if note.endswith("network")]


def test_lists_and_sheets_name_the_network(store):
    complete(store, plan(ema_scope="full", evaluation__network="target"))
    store.add_run(plan(ema_scope="none", evaluation__enabled=False))
    runs = store.runs()
    for table in (run_table.reading_table(runs), run_table.data_table(runs)):
        column = table.headers.index("network")
        first, second = (row[column] for row in table.rows)
        assert first == "target"
        assert second in (None, "-")
    assert run_table.run_values(runs[0])["network"] == "target"
    (_, about), *_ = run_sheet(runs[0], [])
    assert ("network", "target") in about.rows
    (_, about), *_ = run_sheet(runs[1], [])
    assert "network" not in [row[0] for row in about.rows]
    json.dumps(run_table.run_values(runs[1]))


def test_a_comparison_names_the_network_of_all_or_has_a_column_of_several(store):
    for scope in ("none", "full"):
        complete(store, plan(ema_scope=scope, evaluation__network="target"))
    assert network_notes(store.runs(), "top1,knn_top1,online_top1,throughput") == [
        "top1, knn_top1: of the target network"
    ]
    assert network_notes(store.runs(), "throughput,online_top1") == []
    complete(store, plan(ema_scope="full", evaluation__network="online"))
    assert network_notes(store.runs(), "top1") == []
    found = compare(store.runs(), parse_metrics("top1"))
    assert "evaluation.network" in found.rows[0].differing
