"""A few labels a class: the nearest class mean, over ten draws that every run shares."""

import numpy as np
import pytest
import torch

from emabench import experiment
from emabench.errors import SpecError
from emabench.evaluation.few_shot import DRAWS, few_shot_accuracies, few_shot_results
from emabench.spec.settings import experiments
from emabench.spec.streams import derive


def clusters(per_class, *, spread, seed=0, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn((4, 6), generator=torch.Generator().manual_seed(9))
    labels = torch.arange(4).repeat_interleave(per_class)
    noise = torch.randn((len(labels), 6), generator=generator)
    return centres[labels] + spread * noise + offset, labels


def written_out(shots, draw, train, test):
    (known, labels), (asked, truth) = (tuple(x.numpy() for x in part) for part in (train, test))
    mean = known.mean(axis=0)
    generator = np.random.Generator(np.random.PCG64(derive(0, "few_shot", draw)))
    centres = []
    for label in range(4):
        rows = generator.permutation(np.flatnonzero(labels == label))[:shots]
        of_class = [(known[row] - mean) / np.linalg.norm(known[row] - mean) for row in rows]
        centres.append(np.mean(of_class, axis=0))
    right = 0
    for features, label in zip(asked, truth, strict=True):
        unit = (features - mean) / np.linalg.norm(features - mean)
        right += int(np.argmin([np.linalg.norm(unit - centre) for centre in centres])) == label
    return 100 * right / len(truth)


@pytest.mark.parametrize("shots", [1, 5])
def test_it_is_the_nearest_class_mean(shots):
    train, test = clusters(20, spread=1.5), clusters(25, spread=1.5, seed=1)
    found = few_shot_accuracies(shots, train, test)
    assert found == [written_out(shots, draw, train, test) for draw in range(DRAWS)]
    assert len(set(found)) > 1
    named = few_shot_results((shots,), train, test)
    assert named[f"few_shot_{shots}"] == pytest.approx(np.mean(found))
    assert named[f"few_shot_{shots}_sd"] == pytest.approx(np.std(found, ddof=1))


def test_more_labels_are_better_and_an_offset_changes_nothing():
    train, test = clusters(20, spread=1.5), clusters(25, spread=1.5, seed=1)
    one, ten = (np.mean(few_shot_accuracies(shots, train, test)) for shots in (1, 10))
    assert one < ten
    moved = [clusters(20, spread=1.5, offset=50.0), clusters(25, spread=1.5, seed=1, offset=50.0)]
    assert np.mean(few_shot_accuracies(10, *moved)) == pytest.approx(ten, abs=1)


def test_more_labels_than_a_class_has_are_refused_before_the_training():
    (spec,) = experiments([("evaluation.few_shot", [[1, 500]])], preset="smoke")
    with pytest.raises(SpecError, match=r"few_shot=500: class .* has 20 training images"):
        experiment.resolve(spec, command="emabench run")
