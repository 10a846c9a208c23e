"""Studies that look as planned: seeds only for open questions, whoever stops and goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from seeding import ENVIRONMENT, plan

from emabench.analysis.looking.looks import plan_looks
from emabench.engines.settling import settle
from emabench.errors import EmabenchError, UsageError
from emabench.plans.study_questions import (
    planned_looks,
    question_of,
    study_questions,
    study_terms,
)
from emabench.records import CostReading, JobState, RunQuery
from emabench.spec.study import BudgetSpec, Study, StudySpec
from emabench.store.schema.tables import StudyPlanRow

LOOKS = plan_looks((5, 8, 12))
NOISE = (0.0, 0.3, -0.3, 0.2, -0.2, 0.1, -0.1, 0.25, -0.25, 0.15, -0.15, 0.05)
OTHER = replace(ENVIRONMENT, device="Another CPU")


def a_study():
    fields = {
        **dict.fromkeys(("title", "claim", "question", "hypothesis", "refuted_by"), "x"),
        "metrics": ["top1"],
        "margin": {"top1": 1.0},
        "by": "ema_scope",
        "baseline": "full",
        "arms": [{"method": "moco", "ema_scope": ["none", "projector", "full"]}],
        "budgets": {"smoke": {"preset": "smoke", "seeds": 0}},
    }
    return Study("mine", "mine.yaml", StudySpec.parse(fields))


def planned(study, scopes=("none", "projector", "full"), seeds=range(12)):
    return [
        replace(plan(method="moco", ema_scope=scope, seed=seed, smoke=True), study=study.name)
        for seed in seeds
        for scope in scopes
    ]


class Workshop:
    """Works on runs as told: ``none`` is far below ``full``; ``projector`` swings around it."""

    def __init__(self, store, *, swing=8.0, stop_after=None, fails=(), environment=ENVIRONMENT):
        self.store, self.swing, self.stop_after = store, swing, stop_after
        self.fails, self.environment = fails, environment
        self.worked = []

    def add(self, plans):
        return [self.store.add_run(each) for each in plans]

    def __call__(self, runs):
        for queued in runs:
            run = self.store.run(queued.id)
            if run.state is not JobState.QUEUED:
                continue
            if len(self.worked) == self.stop_after:
                raise KeyboardInterrupt
            spec = run.spec["pretrain"]
            scope, seed = spec["ema"]["scope"], spec["seed"]
            claim = self.store.queue.claim(queued.pretrain_job, environment=self.environment)
            self.worked.append((scope, seed))
            if (scope, seed) in self.fails:
                self.store.queue.fail(claim, reason="the loss is not finite", cost=None)
                continue
            self.store.queue.finish(claim, results={}, cost=CostReading(total_s=60.0))
            claim = self.store.queue.claim(queued.eval_job, environment=self.environment)
            gap = {"full": 0.0, "none": -5 + NOISE[seed], "projector": self.swing * NOISE[seed]}
            results = {"top1": 60 + seed + gap[scope]}
            self.store.queue.finish(claim, results=results, cost=CostReading(total_s=1.0))


def looks_of(store, workshop, *, scopes=("none", "projector", "full"), looks=LOOKS):
    study = a_study()
    plans = planned(study, scopes)
    questions = study_questions(study, plans)
    kept = keep(store, study_terms(study, questions, range(12)), looks)
    return settle(
        store,
        questions,
        question=question_of(study),
        plan=kept,
        seeds=list(range(12)),
        add=workshop.add,
        work=workshop,
    )


def keep(store, terms, looks=LOOKS):
    """Keep a plan of the study."""
    return store.keep_plan("mine", smoke=True, pairs=looks.pairs, levels=looks.levels, terms=terms)


def test_only_arms_of_an_open_question_get_seeds(store):
    workshop = Workshop(store)
    first, second, third = looks_of(store, workshop)
    assert (first.decided, first.open, first.queued) == ({"none": "worse"}, ("projector",), 15)
    assert (first.rest.runs, first.rest.seconds) == (14, 14 * 61.0)
    assert (second.pairs, second.queued, third.queued) == (8, 6, 8)
    assert third.open == ("projector",)
    # The baseline goes on with the arm that needs it; what is decided does not.
    assert {s for scope, s in workshop.worked if scope == "none"} == set(range(5))
    assert {s for scope, s in workshop.worked if scope == "full"} == set(range(12))
    taken = store.looks(["mine"]).taken
    assert [look.pairs for look in taken] == [5, 8, 12]
    assert taken[0].verdicts == {
        "none": {"n": 5, "verdict": "worse"},
        "projector": {"n": 5, "verdict": "inconclusive"},
    }
    assert {look.taken_by for look in taken} == {"studies run"}


def test_nothing_is_queued_once_all_is_settled(store):
    workshop = Workshop(store, swing=0.1)
    (only,) = looks_of(store, workshop)
    assert set(only.decided) == {"none", "projector"}
    assert len(store.runs(RunQuery(smoke=True))) == 15


@pytest.mark.parametrize(
    "stop_after",
    [17, pytest.param(3, marks=pytest.mark.slow), pytest.param(15, marks=pytest.mark.slow)],
)
def test_a_study_that_was_stopped_goes_on_as_if_it_had_not_been(store, stop_after):
    halted = Workshop(store, stop_after=stop_after)
    with pytest.raises(KeyboardInterrupt):
        list(looks_of(store, halted))
    resumed = Workshop(store)
    looks = list(looks_of(store, resumed))
    assert len(halted.worked + resumed.worked) == len({*halted.worked, *resumed.worked}) == 29
    assert [len(look.decided) for look in looks] == [1, 1, 1]
    assert {s for scope, s in resumed.worked + halted.worked if scope == "none"} == set(range(5))
    # A third call finds all of it done.
    again = Workshop(store)
    assert [look.decided for look in looks_of(store, again)] == [look.decided for look in looks]
    assert again.worked == []
    assert len(store.looks(["mine"]).taken) == 3


def test_a_failed_run_takes_its_question_out_and_no_other_seed_replaces_it(store):
    workshop = Workshop(store, fails={("projector", 2)})
    (look,) = looks_of(store, workshop)
    assert set(look.decided) == {"none"}
    assert "the loss is not finite" in look.stuck["projector"]
    assert max(seed for _, seed in workshop.worked) == 4


def test_a_look_is_not_taken_before_workers_elsewhere_are_done(store):
    class Elsewhere(Workshop):
        def __call__(self, runs):
            return

    (look,) = looks_of(store, Elsewhere(store))
    assert (look.waiting, look.queued, look.decided) == (15, 15, {})
    assert store.looks(["mine"]).taken == ()
    assert len(store.runs(RunQuery(smoke=True))) == 15


def test_arms_on_unlike_hardware_are_refused(store):
    class Mixed(Workshop):
        def __call__(self, runs):
            half = len(runs) // 2
            super().__call__(runs[:half])
            self.environment = OTHER
            super().__call__(runs[half:])

    with pytest.raises(EmabenchError, match="do not mix kinds of hardware: Another CPU, Test CPU"):
        list(looks_of(store, Mixed(store)))


def test_the_looks_cannot_change_once_there_are_results(store):
    list(looks_of(store, Workshop(store, swing=0.1)))
    with pytest.raises(UsageError, match="was planned to look at 5, 8, 12 pairs"):
        looks_of(store, Workshop(store), looks=plan_looks((5, 6)))
    kept = store.looks(["mine"]).plan("mine", smoke=True)
    assert kept.pairs == (5, 8, 12)
    # Nor what is asked, nor the seeds; an early plan that kept no seeds still holds.
    for other, words in (
        ({"margin": {"top1": 9.0}}, "with margin top1=1"),
        ({"seeds": list(range(20, 32))}, "with seeds 0, 1"),
        ({"arms": ["none", "backbone"]}, "with arms none, projector"),
    ):
        with pytest.raises(UsageError, match=f"was planned {words}"):
            keep(store, {**kept.terms, **other})
    with store._database.write() as session:
        row = session.get(StudyPlanRow, ("mine", True))
        later = ("seeds", "along", "arms")
        row.terms = {name: row.terms[name] for name in row.terms if name not in later}
    assert "seeds" not in keep(store, kept.terms).terms
    assert store.looks(["mine"]).plan("mine", smoke=False) is None


def test_looks_may_change_before_the_first_result_and_tell_of_runs_before_them(store):
    for pairs in ((5, 6), (5, 8)):
        looks = plan_looks(pairs)
        store.keep_plan("s", smoke=True, pairs=pairs, levels=looks.levels, terms={"margin": {}})
    kept = store.looks(["s"]).plan("s", smoke=True)
    assert (kept.pairs, kept.done_before) == ((5, 8), 0)
    workshop = Workshop(store)
    workshop(workshop.add(planned(a_study(), seeds=range(1))))
    kept = store.keep_plan("mine", smoke=True, pairs=(5,), levels=(0.05,), terms={"margin": {}})
    assert kept.done_before == 3


def test_the_seeds_of_a_budget_are_continued_up_to_the_last_look():
    budget = BudgetSpec.parse({"preset": "smoke", "seeds": "3..4"})
    looks, seeds = planned_looks(budget, None)
    assert (looks.pairs, seeds) == ((5, 8, 12, 20), list(range(3, 23)))
    looks, seeds = planned_looks(budget, list(range(9)))
    assert (looks.pairs, seeds) == ((5, 8), list(range(8)))
    looks, seeds = planned_looks(budget, [0, 1, 2, 3, 4, 4, 5, 6])
    assert (looks.pairs, seeds) == ((5,), [0, 1, 2, 3, 4]), "a seed that stands twice is one"
    for few in ([0, 1, 2, 3], [0, 0, 1, 2, 3]):
        with pytest.raises(UsageError, match="the first look is at 5 pairs, too many for 4 seeds"):
            planned_looks(budget, few)
