"""Seeds are resolved together, to what each of them would be alone."""

from collections import Counter

from emabench import experiment
from emabench.events import Notice
from emabench.plans.grids import grid, profiled, resolve_all


def test_the_seeds_of_a_grid_are_resolved_at_once_to_what_each_is_alone(monkeypatch):
    settled = Counter()
    settle = experiment.settle_pretraining

    def counted(spec, **more):
        settled[spec.method.name] += 1
        return settle(spec, **more)

    monkeypatch.setattr(experiment, "settle_pretraining", counted)
    flags = {"preset": "smoke", "method": "simclr,moco", "seed": "0,3", "set_": ["threads=1"]}
    points = [profiled(point) for point in grid(flags)]
    # The same run again is a plan of its own.
    points += [points[0]]
    events = []
    found = resolve_all(points, name="x", study="mine", on_event=events.append)
    assert settled == {"simclr": 2, "moco": 1}
    alone = [resolve_all([point], name="x", study="mine", on_event=print)[0] for point in points]
    assert found == alone
    assert len({plan.fingerprint for plan in found}) == 4
    assert all("--seed" in plan.command for plan in found)
    told = [event.message for event in events if isinstance(event, Notice)]
    assert [text for text in told if "profiled" in text and text.endswith("(5 runs)")]
