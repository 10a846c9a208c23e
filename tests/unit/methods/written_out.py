"""The losses of the papers, written out term by term: slow, plain, and independent."""

from __future__ import annotations

import itertools
import math

import torch

T = 0.2


def unit(vector):
    return vector / vector.norm()


def cross_entropy(logits, wanted):
    """- Σ wanted · log softmax(logits) of one vector."""
    return -(wanted * (logits - torch.logsumexp(logits, 0))).sum()


def simclr(online, target):
    count = len(online[0])
    anchors = [unit(v) for view in online for v in view]
    keys = [unit(v) for view in target for v in view]
    total = 0.0
    for i, anchor in enumerate(anchors):
        partner = (i + count) % (2 * count)
        others = [anchor @ keys[j] / T for j in range(2 * count) if j != i]
        total = total - (anchor @ keys[partner] / T - torch.logsumexp(torch.stack(others), 0))
    return total / (2 * count)


def moco(online, target, queue):
    total = 0.0
    for query_view, key_view in ((0, 1), (1, 0)):
        for query, key in zip(online[query_view], target[key_view], strict=True):
            own = unit(query) @ unit(key) / T
            negatives = [unit(query) @ slot / T for slot in queue[key_view]]
            total = total - own + torch.logsumexp(torch.stack([own, *negatives]), 0)
    return total / (2 * len(online[0]))


def mocov3(online, target):
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        for i, query in enumerate(online[a]):
            logits = torch.stack([unit(query) @ unit(key) / T for key in target[b]])
            total = total - logits[i] + torch.logsumexp(logits, 0)
    return 2 * T * total / len(online[0])


def dcl(online, target):
    count = len(online[0])
    anchors = [unit(v) for view in online for v in view]
    keys = [unit(v) for view in target for v in view]
    total = 0.0
    for i, anchor in enumerate(anchors):
        partner = (i + count) % (2 * count)
        others = [anchor @ keys[j] / T for j in range(2 * count) if j not in (i, partner)]
        total = total - anchor @ keys[partner] / T + torch.logsumexp(torch.stack(others), 0)
    return total / (2 * count)


def byol(online, target):
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        for prediction, key in zip(online[a], target[b], strict=True):
            total = total + (unit(prediction) - unit(key)).square().sum()
    return total / len(online[0])


def simsiam(online, target):
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        for prediction, key in zip(online[a], target[b], strict=True):
            total = total - unit(prediction) @ unit(key) / 2
    return total / len(online[0])


def barlow_twins(online, target):
    count, size = online[0].shape
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        left, right = online[a], target[b]
        for i in range(size):
            for j in range(size):
                x, y = left[:, i], right[:, j]
                x = (x - x.mean()) / (((x - x.mean()) ** 2).mean() + 1e-5) ** 0.5
                y = (y - y.mean()) / (((y - y.mean()) ** 2).mean() + 1e-5) ** 0.5
                c = (x * y).sum() / count
                total = total + ((1 - c) ** 2 if i == j else 0.0051 * c**2)
    return 0.1 * total / 2


def vicreg(online, target):
    count, size = online[0].shape
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        z = online[a]
        total = total + 25 * ((z - target[b]) ** 2).sum() / (count * size) / 2
        means = [z[:, i].sum() / count for i in range(size)]
        for i in range(size):
            for j in range(size):
                cov = ((z[:, i] - means[i]) * (z[:, j] - means[j])).sum() / (count - 1)
                if i == j:
                    total = total + 25 * torch.clamp(1 - (cov + 1e-4) ** 0.5, min=0) / size
                else:
                    total = total + cov**2 / size
    return total


def wmse(online, target):
    """Whitened by the inverse of the symmetric matrix's lower triangular factor, in one group."""

    def whitened(view):
        rows = view - view.sum(dim=0) / len(view)
        size = rows.shape[1]
        covariance = sum(torch.outer(row, row) for row in rows) / (len(rows) - 1)
        lower = [[torch.zeros((), dtype=view.dtype)] * size for _ in range(size)]
        for i in range(size):
            for j in range(i + 1):
                rest = covariance[i, j] - sum(lower[i][k] * lower[j][k] for k in range(j))
                lower[i][j] = rest.sqrt() if i == j else rest / lower[j][j]
        matrix = torch.stack([torch.stack(row) for row in lower])
        return [torch.linalg.inv(matrix) @ row for row in rows]

    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        for left, right in zip(whitened(online[a]), whitened(target[b]), strict=True):
            total = total + (unit(left) - unit(right)).square().sum() / 2
    return total / len(online[0])


def nnclr(online, target, support):
    total = 0.0
    for a, b in ((0, 1), (1, 0)):
        for i, key in enumerate(target[a].detach()):
            nearest = max(support, key=lambda slot, key=key: float(unit(key) @ slot))
            logits = torch.stack([nearest @ unit(p) / T for p in online[b]])
            total = total - logits[i] + torch.logsumexp(logits, 0)
    return total / (2 * len(online[0]))


def ressl(online, target, queue):
    total = 0.0
    for query, key in zip(online[0], target[0], strict=True):
        wanted = torch.stack([unit(key) @ slot / 0.04 for slot in queue]).softmax(0).detach()
        total = total + cross_entropy(
            torch.stack([unit(query) @ slot / T for slot in queue]), wanted
        )
    return total / len(online[0])


def other_views(online, target):
    return [(a, b) for b in range(len(target)) for a in range(len(online)) if a != b]


def dino(online, target, center):
    total, pairs = 0.0, other_views(online, target)
    for a, b in pairs:
        for scores, key in zip(online[a], target[b], strict=True):
            wanted = ((key - center) / 0.07).softmax(0).detach()
            total = total + cross_entropy(scores / T, wanted)
    return total / (len(pairs) * len(online[0]))


def assignment(scores):
    """Three rounds of equal shares for the prototypes, then for the images."""
    count, prototypes = scores.shape
    shares = [[math.exp(s / 0.05) for s in row] for row in scores.tolist()]
    for _ in range(3):
        for k in range(prototypes):
            total = sum(row[k] for row in shares)
            for row in shares:
                row[k] /= total * prototypes
        for row in shares:
            total = sum(row)
            row[:] = [share / (total * count) for share in row]
    return torch.tensor([[share * count for share in row] for row in shares], dtype=scores.dtype)


def swav(online, target, queue=None):
    total, pairs = 0.0, other_views(online, target)
    for a, b in pairs:
        scores = target[b] if queue is None else torch.cat([target[b], queue[b]])
        for prediction, wanted in zip(online[a], assignment(scores), strict=False):
            total = total + cross_entropy(prediction / T, wanted)
    return total / (len(pairs) * len(online[0]))


def classification(online, labels, smoothing):
    total = 0.0
    for logits, label in zip(online[0], labels, strict=True):
        classes = len(logits)
        wanted = torch.full((classes,), smoothing / classes, dtype=logits.dtype)
        wanted[label] += 1 - smoothing
        total = total + cross_entropy(logits, wanted)
    return total / len(labels)


def supcon(online, labels):
    anchors = [unit(v) for view in online for v in view]
    labels = [label for _ in online for label in labels.tolist()]
    total = 0.0
    for i, anchor in enumerate(anchors):
        rest = [j for j in range(len(anchors)) if j != i]
        everything = torch.logsumexp(torch.stack([anchor @ anchors[j] / T for j in rest]), 0)
        positive = [j for j in rest if labels[j] == labels[i]]
        total = total - sum(anchor @ anchors[j] / T - everything for j in positive) / len(positive)
    return total / len(anchors)


def lejepa(online, target, *, slices, weight, knots=17, largest=3.0):
    """The integral over all frequencies from -3 to 3, both halves of it."""
    centre = sum(target) / len(target)
    invariance = sum(((view - centre) ** 2).mean() for view in online) / len(online)
    width = largest / (knots - 1)
    regularity = 0.0
    for view in online:
        for direction in slices.T:
            projected = view @ direction
            heights = []
            for step in range(1 - knots, knots):
                frequency = torch.tensor(step * width, dtype=view.dtype)
                normal = torch.exp(-(frequency**2) / 2)
                real = torch.cos(frequency * projected).mean()
                imaginary = torch.sin(frequency * projected).mean()
                heights.append(((real - normal) ** 2 + imaginary**2) * normal)
            area = sum((a + b) / 2 * width for a, b in itertools.pairwise(heights))
            regularity = regularity + len(view) * area / slices.shape[1] / len(online)
    return weight * regularity + (1 - weight) * invariance


def mae(predicted, images, hidden, grid):
    total, count = 0.0, 0
    for image, places, guesses in zip(images, hidden.tolist(), predicted, strict=True):
        for place, guess in zip(places, guesses, strict=True):
            top, left = (grid.patch * each for each in divmod(place, grid.side))
            pixels = torch.stack(
                [
                    image[channel, top + y, left + x]
                    for y in range(grid.patch)
                    for x in range(grid.patch)
                    for channel in range(3)
                ]
            )
            centre = pixels.sum() / len(pixels)
            spread = ((pixels - centre) ** 2).sum() / (len(pixels) - 1)
            wanted = (pixels - centre) / torch.sqrt(spread + 1e-6)
            total = total + ((guess - wanted) ** 2).sum()
            count += len(pixels)
    return total / count


def ijepa(predicted, tokens, hidden, prefix):
    terms = []
    for image, blocks, of_blocks in zip(tokens, hidden.tolist(), predicted, strict=True):
        for block, guesses in zip(blocks, of_blocks, strict=True):
            for place, guess in zip(block, guesses, strict=True):
                token = image[prefix + place]
                spread = ((token - token.mean()) ** 2).mean()
                wanted = (token - token.mean()) / torch.sqrt(spread + 1e-5)
                for gap in (guess - wanted).abs():
                    terms.append(gap - 0.5 if gap >= 1 else gap**2 / 2)
    return torch.stack(terms).mean()
