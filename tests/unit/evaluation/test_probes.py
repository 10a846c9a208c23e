"""The probes against independent computations."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import nn

from emabench.errors import WeightsError
from emabench.evaluation import linear
from emabench.evaluation.features import check_features
from emabench.evaluation.knn import correct_at, knn_scores
from emabench.evaluation.linear import fit_linear_probe
from emabench.spec import KnnSpec, LinearSpec


def clusters(n, seed=0, classes=3, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centers = torch.eye(classes, 5) * 2
    return centers[labels] + spread * torch.randn(n, 5, generator=generator), labels


def test_knn_votes_are_weighted_by_similarity():
    (bank, labels), (queries, _) = clusters(30), clusters(7, seed=1)
    votes = knn_scores(KnnSpec(k=4, temperature=0.1), (bank, labels), queries, 3, chunk=2)
    for query, row in zip(queries, votes, strict=True):
        similarity = [float(query @ b / query.norm() / b.norm()) for b in bank]
        nearest = sorted(range(30), key=lambda i: -similarity[i])[:4]
        expected = [0.0] * 3
        for i in nearest:
            expected[int(labels[i])] += np.exp(similarity[i] / 0.1)
        shares = row.exp().numpy()
        np.testing.assert_allclose(shares / shares.sum(), expected / np.sum(expected), rtol=1e-4)


@pytest.mark.parametrize("temperature", [1e-320, 1e-45, 1e-30, 1e-3, 0.01, 0.1, 1e300])
@pytest.mark.parametrize("offset", [0.0, 1e3, -1e3])
def test_votes_of_close_clusters_never_leave_the_range(temperature, offset):
    labels = torch.arange(60) % 6
    generator = torch.Generator().manual_seed(0)
    features = 50 * torch.eye(6)[labels] + offset
    features = features + 1e-2 * torch.randn(60, 6, generator=generator)
    votes = knn_scores(KnnSpec(k=15, temperature=temperature), (features, labels), features, 6)
    assert not votes.isnan().any()
    assert correct_at(votes, labels, 1).all()


def test_votes_tell_classes_apart_however_far_they_are():
    """The weight of the second class is 0 in float32, and still more than no vote at all."""
    bank = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [-1.0, 0.0]])
    votes = knn_scores(
        KnnSpec(k=3, temperature=1e-3), (bank, torch.arange(4)), torch.tensor([[1.0, 0.0]]), 6
    )
    assert votes[0].topk(3).indices.tolist() == [0, 1, 2]
    assert votes[0, 3:].tolist() == [float("-inf")] * 3


def test_a_class_without_a_vote_is_never_predicted():
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(800, 16, generator=generator).split([500, 300])
    labels = torch.arange(500) % 10
    votes = knn_scores(KnnSpec(k=1), (bank, labels), queries, 10)
    truth = torch.arange(300) % 10
    assert torch.equal(correct_at(votes, truth, 5), correct_at(votes, truth, 1))
    two = knn_scores(KnnSpec(k=2), (bank, labels), queries, 10)
    assert (two > float("-inf")).sum(dim=1).max() == 2
    assert torch.equal(correct_at(two, truth, 5), correct_at(two, truth, 2))


def test_k_is_at_most_the_number_of_training_images():
    bank = clusters(5)
    assert torch.isfinite(knn_scores(KnnSpec(k=200), bank, bank[0], 3)).all()


def test_top_k():
    scores = torch.tensor([[0.1, 0.5, 0.4], [0.9, 0.05, 0.05]])
    labels = torch.tensor([2, 0])
    assert correct_at(scores, labels, 1).tolist() == [False, True]
    assert correct_at(scores, labels, 2).tolist() == [True, True]
    assert correct_at(scores, labels, 5).tolist() == [True, True]


@pytest.mark.parametrize("decay", [1e-3, 1e-1])
def test_the_linear_probe_minimises_what_scipy_minimises(decay):
    features, labels = clusters(120)
    spec = LinearSpec(weight_decays=(decay,), max_iterations=500)
    probe = fit_linear_probe(spec, features, labels, 3, seed=0)
    x = ((features - features.mean(0)) / features.std(0)).double().numpy()
    x = np.hstack([x, np.ones((120, 1))])
    y = labels.numpy()

    def objective(flat):
        weight = flat.reshape(3, 6)
        logits = x @ weight.T
        loss = np.mean(logsumexp(logits, axis=1) - logits[np.arange(120), y])
        return loss + decay / 2 * np.sum(weight[:, :-1] ** 2)

    best = minimize(objective, np.zeros(18), method="L-BFGS-B", options={"maxfun": 100_000})
    mine = objective(probe.weight.double().numpy().ravel())
    assert mine == pytest.approx(best.fun, abs=1e-5)


def test_the_penalty_is_chosen_on_held_out_training_images():
    features, labels = clusters(300, spread=3.0)
    spec = LinearSpec(weight_decays=(1e-5, 1e-2, 10.0))
    probe = fit_linear_probe(spec, features, labels, 3, seed=0)
    assert probe.weight_decay in spec.weight_decays
    again = fit_linear_probe(spec, features, labels, 3, seed=0)
    assert torch.equal(probe.weight, again.weight)
    assert 0 < probe.holdout_top1 <= 100


def test_held_out_images_are_not_fitted_and_are_drawn_by_seed_from_every_class():
    labels = torch.arange(90) % 3
    noise = torch.randn(90, 200, generator=torch.Generator().manual_seed(0))
    spec = LinearSpec(weight_decays=(1e-5, 1e-4), holdout=0.5)
    probe = fit_linear_probe(spec, noise, labels, 3, seed=0)
    assert probe.holdout_top1 < 60, "there is nothing to learn but what was fitted"
    drawn = [linear._holdout(labels, 3, 0.2, seed) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert all(labels[each].bincount().tolist() == [6, 6, 6] for each in drawn)


@pytest.mark.parametrize(
    ("accuracies", "edge"),
    [
        ([70, 60, 50], "largest"),
        ([50, 60, 70], "smallest"),
        ([50, 70, 60], None),
        ([70, 70, 60], None),
        ([70, 60, 70], "largest"),
        ([60, 60, 60], None),
    ],
)
def test_a_penalty_at_the_edge_is_said(monkeypatch, accuracies, edge):
    """The accuracies are those on the held-out images, the strongest penalty first."""
    features, labels = clusters(330)
    answers = iter(accuracies)

    def answered(scores, truth, k):
        share = next(answers) / 100
        return torch.arange(len(truth)) < share * len(truth)

    monkeypatch.setattr(linear, "correct_at", answered)
    spec = LinearSpec(weight_decays=(1e-3, 1e-1, 1e-2), max_iterations=3, holdout=0.3)
    assert fit_linear_probe(spec, features, labels, 3, seed=0).edge == edge


def test_a_single_penalty_has_no_edge():
    spec = LinearSpec(weight_decays=(1e-3,))
    assert fit_linear_probe(spec, *clusters(30), 3, seed=0).edge is None


def test_one_image_a_class_is_enough_where_there_is_no_penalty_to_choose():
    features, labels = clusters(3, spread=0.1)
    probe = fit_linear_probe(LinearSpec(weight_decays=(1e-3,)), features, labels, 3, seed=0)
    assert probe.holdout_top1 is None
    assert correct_at(probe.scores(features), labels, 1).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30, 1e19])
def test_features_that_cannot_be_reckoned_with_are_named(value):
    features = torch.randn(20, 4)
    check_features(features, nn.Identity(), part="training")
    features[3, 1] = value
    with pytest.raises(WeightsError, match="features of 1 of 20 training images are not finite"):
        check_features(features, nn.Identity(), part="training")
