"""How embeddings spread: the figures that show a collapse before the accuracy does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def embedding_std(embeddings: Tensor) -> float:
    """Return the standard deviation of the unit embeddings [N, E], times √E.

    The mean over the dimensions, as in SimSiam (arXiv 2011.10566): 1 where the embeddings spread
    evenly over the sphere, 0 where all of them are the same.
    """
    unit = F.normalize(embeddings.double(), dim=1)
    return float(unit.std(dim=0).mean()) * float(unit.shape[1] ** 0.5)


def effective_rank(embeddings: Tensor) -> float:
    """Return RankMe of embeddings [N, E]: between 1 and min(N, E).

    The exponential of the entropy of the singular values, divided by their sum (Garrido et al.,
    arXiv 2210.02885).
    """
    values = torch.linalg.svdvals(embeddings.double())
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


def alignment(first: Tensor, second: Tensor) -> float:
    """Return the mean squared distance of the unit embeddings of two views [N, E]: 0 to 4.

    Wang & Isola, arXiv 2005.10242, with alpha = 2.
    """
    gaps = F.normalize(first.double(), dim=1) - F.normalize(second.double(), dim=1)
    return float(gaps.square().sum(dim=1).mean())


def uniformity(embeddings: Tensor) -> float:
    """Return the logarithm of the mean Gaussian potential of all pairs of unit embeddings [N, E].

    Wang & Isola, arXiv 2005.10242, with t = 2: the lower, the more even; 0 where all are the same.
    """
    distances = torch.pdist(F.normalize(embeddings.double(), dim=1))
    return float(distances.square().mul(-2).exp().mean().log())


def target_gap(online: Tensor, target: Tensor) -> float:
    """Return the mean of 1 - cos between online and target embeddings [N, E] of the same views."""
    return 1 - float(F.cosine_similarity(online.double(), target.double(), dim=1).mean())
