"""The figures of a spread, against known embeddings and their formulas written out."""

import math

import pytest
import torch

from emabench.monitors.representation import (
    alignment,
    effective_rank,
    embedding_std,
    target_gap,
    uniformity,
)


def gaussian(count, size, seed=0):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def test_equal_embeddings_are_a_collapse_in_every_figure():
    same = torch.ones(50, 8) * torch.arange(1, 9)
    assert embedding_std(same) == pytest.approx(0, abs=1e-6)
    assert effective_rank(same) == pytest.approx(1, abs=1e-4)
    assert uniformity(same) == pytest.approx(0, abs=1e-6)
    assert alignment(same, 3 * same) == pytest.approx(0, abs=1e-6)


def test_even_embeddings_are_none():
    even = gaussian(4000, 16)
    assert embedding_std(even) == pytest.approx(1, abs=0.02)
    assert effective_rank(even) == pytest.approx(16, abs=0.1)
    assert uniformity(even) < -3
    assert alignment(even, -even) == pytest.approx(4)


def test_the_length_of_an_embedding_does_not_matter_but_for_the_rank():
    some = gaussian(100, 8)
    longer = some * torch.linspace(1, 5, 100)[:, None]
    assert embedding_std(longer) == pytest.approx(embedding_std(some))
    assert uniformity(longer) == pytest.approx(uniformity(some))


def test_orthogonal_directions_count_once_each():
    assert effective_rank(torch.eye(7)) == pytest.approx(7)
    assert effective_rank(torch.diag(torch.tensor([1.0, 1.0, 0.0]))) == pytest.approx(2)
    shares = torch.tensor([0.5, 0.25, 0.25])
    expected = math.exp(-sum(p * math.log(p) for p in shares.tolist()))
    assert effective_rank(torch.diag(shares)) == pytest.approx(expected)


def test_the_formulas_pair_by_pair():
    first, second = gaussian(20, 5), gaussian(20, 5, seed=1)
    units = [row / row.norm() for row in first]
    others = [row / row.norm() for row in second]
    gaps = [float((a - b).square().sum()) for a, b in zip(units, others, strict=True)]
    assert alignment(first, second) == pytest.approx(sum(gaps) / 20, rel=1e-5)
    potentials = [
        math.exp(-2 * float((units[i] - units[j]).square().sum()))
        for i in range(20)
        for j in range(i)
    ]
    expected = math.log(sum(potentials) / len(potentials))
    assert uniformity(first) == pytest.approx(expected, rel=1e-5)
    cosines = [float(a @ b) for a, b in zip(units, others, strict=True)]
    assert target_gap(first, second) == pytest.approx(1 - sum(cosines) / 20, rel=1e-5)
