"""The probes against independent computations."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

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
        np.testing.assert_allclose(row.numpy(), expected, rtol=1e-4)


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
