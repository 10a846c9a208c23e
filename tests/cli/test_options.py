from pathlib import Path

import pytest

from emabench.artifacts.layout import artifacts_folder
from emabench.cli.options.run_choice import run_query
from emabench.errors import UsageError


@pytest.mark.parametrize(
    ("conditions", "filters"),
    [
        (None, {}),
        (["ema_scope=full"], {"pretrain.ema.scope": "full"}),
        (["seed=3"], {"pretrain.seed": 3}),
        (["dataset=2020"], {"pretrain.data.dataset": "2020"}),
        (["data.train_subset=null"], {"pretrain.data.train_subset": None}),
        (["data_dir=null"], {"pretrain.data.data_dir": None}),
        (
            ["ema.decay=1e-1", "method=moco"],
            {"pretrain.ema.decay": 0.1, "pretrain.method.name": "moco"},
        ),
        (["augmentation.crop_scale=[0.2, 1]"], {"pretrain.augmentation.crop_scale": [0.2, 1]}),
        (["data_dir=a=b"], {"pretrain.data.data_dir": "a=b"}),
    ],
)
def test_conditions_become_typed_values_by_path(conditions, filters):
    assert run_query(conditions).where == filters


@pytest.mark.parametrize("condition", ["seed", "sed=3", "seed=[", ""])
def test_what_is_no_condition_is_refused(condition):
    with pytest.raises(UsageError) as caught:
        run_query([condition])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("db", "folder"),
    [
        ("results.db", "results-artifacts"),
        ("/data/study.sqlite", "/data/study-artifacts"),
        ("sqlite:///study.db", "study-artifacts"),
        ("sqlite:////data/study.db", "/data/study-artifacts"),
        ("postgresql+psycopg://user:secret@host/study?sslmode=require", "study-artifacts"),
        ("postgresql://", "results-artifacts"),
    ],
)
def test_the_artifacts_lie_beside_the_store(db, folder):
    assert artifacts_folder(db, None) == Path(folder)
    assert artifacts_folder(db, Path("given")) == Path("given")
