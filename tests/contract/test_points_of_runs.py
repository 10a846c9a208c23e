"""The metrics of many runs at once, on every database."""

import math

from seeding import ENVIRONMENT, plan

from emabench.records import MetricPoint, WantedValues


def trained(store, planned, points):
    run = store.add_run(planned)
    claim = store.queue.claim(run.pretrain_job, environment=ENVIRONMENT)
    store.queue.record(claim, points)
    return run.id


def test_only_the_names_that_are_asked_for_come_in_the_order_of_steps(store):
    points = [
        MetricPoint(2, 2, "loss", 1.0),
        MetricPoint(1, 1, "loss", math.nan),
        MetricPoint(1, 1, "grad_norm:stem", 3.0),
        MetricPoint(1, 1, "grad_normal", 4.0),
        MetricPoint(1, 1, "gradXnorm:stem", 5.0),
        MetricPoint(1, 1, "lr", 6.0),
    ]
    first = trained(store, plan(seed=0), points)
    second = trained(store, plan(seed=1), points[:1])
    trained(store, plan(seed=2), points)
    found = store.values([first, second], WantedValues(points=("loss", "grad_norm:"))).points
    assert list(found) == [first, second]
    assert [(p.step, p.name) for p in found[first]] == [
        (1, "grad_norm:stem"),
        (1, "loss"),
        (2, "loss"),
    ]
    assert math.isnan(found[first][1].value)
    assert found[second] == points[:1]
    assert store.values([], WantedValues(points=("loss",))).points == {}
    assert store.values([first], WantedValues(points=())).points == {first: []}
