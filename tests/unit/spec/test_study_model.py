"""A study that cannot be is refused with the reason; one that can is taken as it was written."""

import copy
from pathlib import Path

import pytest
import yaml

from emabench.errors import NotFoundError, SpecError, UnknownNameError, UsageError
from emabench.plans.studies import check_given, study_points
from emabench.spec.study import load_study, study_names

FIELDS = {
    "title": "t",
    "claim": "c",
    "question": "q",
    "hypothesis": "h",
    "refuted_by": "r",
    "metrics": ["top1", "throughput"],
    "margin": {"top1": 0.5},
    "by": "ema_scope",
    "baseline": "none",
    "arms": [{"method": "simclr,moco", "ema_scope": ["none", "full"]}],
    "budgets": {"smoke": {"preset": "smoke", "seeds": "0..1", "set": {"epochs": 3}}},
}
BLOCKS = ["stem", "body", "projector"]


@pytest.fixture
def study(tmp_path):
    """Writes a study with some fields changed, by dotted path, and loads it."""

    def load(changes=None, name="mine"):
        fields = copy.deepcopy(FIELDS)
        for path, value in (changes or {}).items():
            *groups, last = path.split("/")
            inner = fields
            for group in groups:
                inner = inner[int(group)] if isinstance(inner, list) else inner[group]
            inner[last] = value
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(fields, sort_keys=False), "utf-8")
        return load_study(str(file))

    return load


def runs(study, budget="smoke", **settings):
    found = study_points(study, budget, blocks_of=lambda spec: BLOCKS, **settings)
    return [
        (run.spec.pretrain.method.name, run.spec.pretrain.ema.scope, run.spec.pretrain.seed)
        for run in found
    ]


def test_every_seed_has_all_arms_before_the_next_one_begins(study):
    arms = [("simclr", "none"), ("simclr", "full"), ("moco", "none"), ("moco", "full")]
    assert runs(study()) == [(*arm, seed) for seed in (0, 1) for arm in arms]


def test_an_arm_wins_over_the_budget_and_a_change_over_both(study):
    found = study({"arms": [{"ema_scope": "none"}, {"ema_scope": "full", "epochs": 4}]})

    def epochs(changes=()):
        some = study_points(found, "smoke", changes=changes, blocks_of=lambda spec: BLOCKS)
        return [run.spec.pretrain.epochs for run in some if run.spec.pretrain.seed == 0]

    assert epochs() == [3, 4]
    assert epochs([("pretrain.epochs", [5])]) == [5, 5]


def test_a_change_of_the_seeds_takes_their_place(study):
    assert {seed for *_, seed in runs(study(), changes=[("pretrain.seed", [7, 9])])} == {7, 9}


def test_every_stands_for_the_scopes_of_the_backbone_in_its_place(study):
    found = study({"arms": [{"ema_scope": ["full", "every"]}]})
    scopes = [scope for _, scope, seed in runs(found) if seed == 0]
    assert scopes == ["full", "none", "stem", "body", "projector", "from:body", "backbone"]


def test_every_asks_for_the_blocks_of_each_backbone(study):
    found = study({"arms": [{"ema_scope": "every", "backbone": "resnet18,resnet50"}]})
    asked = []

    def blocks_of(spec):
        asked.append(spec.pretrain.backbone.name)
        return BLOCKS if spec.pretrain.backbone.name == "resnet50" else ["only", "projector"]

    some = study_points(found, "smoke", changes=[("pretrain.seed", [0])], blocks_of=blocks_of)
    assert asked == ["resnet18", "resnet50"]
    counts = [run.spec.pretrain.backbone.name for run in some]
    # none, only, projector, full; and none, three blocks, from:body, backbone, full
    assert (counts.count("resnet18"), counts.count("resnet50")) == (4, 7)


def test_a_run_of_two_arms_is_one_run(study):
    found = study({"arms": [{"ema_scope": "none,full"}, {"ema_scope": "none"}]})
    assert len(runs(found)) == 4


def test_what_is_compared_cannot_be_changed(study):
    with pytest.raises(UsageError, match="compares ema_scope, which cannot be set") as caught:
        runs(study(), changes=[("pretrain.ema.scope", ["full"])])
    assert "mine.yaml" in caught.value.hint


def test_the_number_of_runs_is_a_promise_unless_something_is_changed(study):
    found = study({"budgets/smoke/runs": 9})
    with pytest.raises(SpecError, match="says 9 runs, but its arms come to 8"):
        runs(found)
    assert len(runs(found, changes=[("pretrain.epochs", [1])])) == 8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clam": "c"}, ["unknown field 'clam'", "did you mean claim"]),
        ({"budgets/smoke/sede": 1}, ["unknown field 'budgets.smoke.sede'", "did you mean seeds"]),
        ({"budgets/cpu": {"preset": "quick"}}, ["'budgets.cpu.seeds' is required"]),
        ({"budgets/smoke/preset": "smok"}, ["unknown preset 'smok'", "did you mean smoke"]),
        ({"budgets/smoke/seeds": "3..1"}, ["runs backwards", "1..3"]),
        ({"budgets/smoke/seeds": [1, 1]}, ["none twice"]),
        ({"budgets/smoke/seeds": []}, ["at least one"]),
        ({"budgets/smoke/seeds": -1}, ["budgets.smoke.seeds"]),
        ({"budgets": {}}, ["name at least one of smoke, cpu, gpu"]),
        ({"arms/0/ema.deacy": 0.9}, ["unknown field 'ema.deacy'", "did you mean ema.decay"]),
        ({"arms/0/ema.scope": "full"}, ["ema.scope is given twice"]),
        ({"arms/0/seed": [3]}, ["the seeds belong to the budgets"]),
        ({"arms/0/lr": []}, ["lr has no values"]),
        ({"arms": []}, ["arms"]),
        ({"by": "ema_scop"}, ["by: unknown field 'ema_scop'", "did you mean ema_scope"]),
        (
            {"baseline": "projector"},
            ["projector is not a value of ema_scope in the arms: none, full"],
        ),
        ({"margin": {"top5": 0.5}}, ["top5 is not one of the metrics"]),
        ({"margin": {"top1": 0}}, ["margin.top1"]),
        ({"metrics": []}, ["metrics"]),
        ({"title": ""}, ["title"]),
    ],
)
def test_what_is_wrong_is_named_with_its_file(study, changes, words):
    with pytest.raises(SpecError) as caught:
        study(changes)
    said = f"{caught.value.message} {caught.value.hint}"
    for word in ("mine.yaml", *words):
        assert word in said


def test_a_value_that_cannot_be_is_named_with_its_study(study):
    with pytest.raises(SpecError, match=r"study mine, smoke: pretrain\.ema\.decay=2"):
        runs(study({"arms/0/ema.decay": 2}))
    with pytest.raises(UnknownNameError, match="unknown budget 'cpu'"):
        runs(study(), budget="cpu")


def test_a_study_is_named_or_a_file(study, tmp_path):
    assert study(name="my-study").name == "my-study"
    with pytest.raises(UnknownNameError) as caught:
        load_study("which-blok")
    assert "which-block" in caught.value.hint
    with pytest.raises(NotFoundError) as missing:
        load_study(str(tmp_path / "no.yaml"))
    assert "emabench studies" in missing.value.hint
    (tmp_path / "no.yml").write_text("a: [", "utf-8")
    with pytest.raises(SpecError, match=r"no\.yml is not valid YAML"):
        load_study(str(tmp_path / "no.yml"))


def test_a_file_cannot_label_its_runs_as_another_study_of_the_package(study, tmp_path):
    name = study_names()[0]
    with pytest.raises(UsageError, match="would label its runs so"):
        study(name=name)
    file = tmp_path / f"{name}.yaml"
    file.write_bytes(Path(load_study(name).file).read_bytes())
    assert load_study(str(file)).spec == load_study(name).spec


def test_a_budget_has_fields_of_each_arm(study):
    found = study(
        {
            "arms": [{"method": "simclr", "ema_scope": ["none", "full"], "epochs": 9}] * 2,
            "budgets/smoke/arms": [{"epochs": 1}, {"epochs": 2}],
        }
    )
    assert {run.spec.pretrain.epochs for run in study_points(found, "smoke")} == {1, 2}
    with pytest.raises(SpecError, match=r"budgets\.smoke\.arms: 1, not 2"):
        study(
            {
                "arms": [{"method": "simclr", "ema_scope": "none"}] * 2,
                "budgets/smoke/arms": [{"epochs": 1}],
            }
        )


def test_what_is_given_later_fills_the_arms_that_ask_for_it(study):
    found = study(
        {
            "given": {"ema.teacher": "a run"},
            "arms": [
                {"method": "moco", "ema_scope": ["none", "full"]},
                {"method": "moco", "ema_scope": "full", "ema.teacher": "given"},
            ],
        }
    )
    changes = [("pretrain.ema.teacher", ["abc"])]
    with pytest.raises(UsageError, match=r"needs --set ema\.teacher=…") as caught:
        check_given(found, [])
    assert caught.value.hint == "a run"
    check_given(found, changes)
    points = study_points(found, "smoke", changes=changes)
    teachers = [run.spec.pretrain.ema.teacher for run in points if run.spec.pretrain.seed == 0]
    assert teachers == [None, None, "abc"]
    with pytest.raises(SpecError, match=r"unknown field 'ema\.teachr'"):
        study({"given": {"ema.teachr": "a run"}})
