"""``published``, and published figures beside runs."""

import json

from seeding import complete, plan

from emabench.store import RunStore


def test_published_rows_as_a_table_and_as_json(emabench):
    asked = ["published", "--method", "byol", "--dataset", "cifar10"]
    text = emabench(asked)
    assert (text.code, text.err) == (0, "")
    assert "solo-learn" in text.out
    answer = json.loads(emabench([*asked, "--json"]).out)
    assert {row["method"] for row in answer["published"]} == {"BYOL"}
    assert all(row["source"] for row in answer["published"])
    lines = emabench([*asked, "--csv"]).out.splitlines()
    assert len(lines) == 1 + len(answer["published"])
    nothing = emabench(["published", "--method", "ibot", "--dataset", "cifar10"])
    assert (nothing.code, nothing.out) == (0, "")
    assert "nothing is published of them together" in nothing.err
    assert "did you mean byol" in emabench(["published", "--method", "byoll"]).hint


def test_compare_sets_published_figures_beside_runs_and_calls_none_equal(emabench):
    with RunStore.open("results.db", mode="write") as store:
        complete(store, plan(method="simclr", pretrain__data__dataset="cifar10"), top1=60.0)
    answer = json.loads(emabench(["compare", "--published", "--json"]).out)
    assert len(answer["published"]) == 3
    for each in answer["published"]:
        assert (each["metric"], each["mean"]) == ("top1", 60.0)
        assert each["row"]["source"]
        assert each["differing"]
    text = emabench(["compare", "--published"])
    assert "differs in" in text.out
    assert "equal" not in text.out
    assert "published figures stand beside these, not for them" in text.err
    assert "published" not in json.loads(emabench(["compare", "--json"]).out)
    assert emabench(["compare", "--published", "--csv"]).code == 2
