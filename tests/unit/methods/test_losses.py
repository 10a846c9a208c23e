"""The losses against formulas written out term by term, in float64."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
import written_out
from written_out import T, unit

from emabench.methods import load_method
from emabench.methods._method import TrainingSet
from emabench.methods.swav import sinkhorn
from emabench.networks.token_grid import TokenGrid

N, E = 16, 5
GRID = TokenGrid(side=4, patch=2, prefix=1)


def views(seed, count=2):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn((N, E), generator=generator, dtype=torch.double, requires_grad=True)
        for _ in range(count)
    )


def make(name, **options):
    method = load_method(name)
    if "temperature" in method.Options.model_fields:
        options = {"temperature": T} | options
    grid = TokenGrid(side=8, patch=2, prefix=1) if name == "ijepa" else GRID
    data = TrainingSet(images=64, classes=4, step_images=N, tokens=grid)
    return method(method.Options(**options), E, data).double()


def same_value_and_gradient(loss, expected, inputs):
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    got = torch.autograd.grad(loss, inputs, retain_graph=True)
    wanted = torch.autograd.grad(expected, inputs)
    for mine, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)


STATELESS = {
    "simclr": {},
    "dcl": {},
    "byol": {},
    "simsiam": {},
    "mocov3": {},
    "barlow_twins": {},
    "vicreg": {},
    "wmse": {"whitening_size": N, "output_dim": E},
    "lejepa": {"output_dim": E, "slices": 7, "regularization_weight": 0.3},
}
"""Methods whose loss keeps nothing from earlier steps, and their options."""


def test_mae_is_the_error_of_the_normalised_pixels_of_hidden_patches():
    decoder = {"decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2}
    published, method = make("mae", **decoder), make("mae", **decoder, mask_ratio=0.5)
    published.begin_step(torch.Generator().manual_seed(1))
    assert published.visible.shape == (N, 4)
    assert len(set(map(tuple, published.visible.tolist()))) > 1
    both = torch.cat([published.visible, published.hidden], dim=1)
    assert (both.sort(dim=1).values == torch.arange(16)).all()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(N, 3, 8, 8, generator=generator, dtype=torch.double)
    predicted = torch.randn(N, 8, 12, generator=generator, dtype=torch.double).requires_grad_()
    expected = written_out.mae(predicted, images, method.hidden, GRID)
    same_value_and_gradient(method.loss((predicted,), (images,)), expected, [predicted])
    plain = make("mae", **decoder, mask_ratio=0.5, normalize_pixels=False)
    plain.hidden = method.hidden
    assert plain.loss((predicted,), (images,)).item() != pytest.approx(expected.item(), rel=0.01)


def test_ijepa_is_the_smooth_distance_to_the_normalised_tokens_of_the_targets():
    predictor = {"predictor_dim": 8, "predictor_depth": 1, "predictor_heads": 2}
    method = make("ijepa", **predictor, min_keep=4)
    method.begin_step(torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(0)
    count, targets, size = method.hidden.shape
    for index, context in zip(method.hidden, method.visible, strict=True):
        assert not set(context.tolist()) & set(index.flatten().tolist())
    tokens = torch.randn(count, 1 + 64, E, generator=generator, dtype=torch.double)
    predicted = torch.randn(count, targets, size, E, generator=generator, dtype=torch.double)
    predicted.requires_grad_()
    expected = written_out.ijepa(predicted, tokens, method.hidden, prefix=1)
    loss = method.loss((predicted,), (tokens,))
    same_value_and_gradient(loss, expected, [predicted])
    torch.testing.assert_close(
        method.loss((predicted,), (7 + 3 * tokens,)), loss, rtol=1e-4, atol=0
    )


def test_ijepa_predicts_each_target_without_the_others():
    predictor = {"predictor_dim": 8, "predictor_depth": 2, "predictor_heads": 2}
    method = make("ijepa", **predictor, min_keep=4)
    seen = method.visible.shape[1]
    tokens = torch.randn(N, 1 + seen, E, dtype=torch.double)
    together = method.predict_hidden(tokens, slice(0, N))
    assert together.shape == (*method.hidden.shape, E)
    half = method.predict_hidden(tokens[8:], slice(8, N))
    torch.testing.assert_close(half, together[8:])
    without_prefix = torch.cat([0 * tokens[:, :1], tokens[:, 1:]], dim=1)
    torch.testing.assert_close(method.predict_hidden(without_prefix, slice(0, N)), together)
    for target in range(4):
        alone = method.predictor(tokens[:, 1:], method.visible, method.hidden[:, target])
        torch.testing.assert_close(alone, together[:, target])
    method.hidden = method.hidden.flip(2)
    torch.testing.assert_close(method.predict_hidden(tokens, slice(0, N)), together.flip(2))


def test_mae_ct_contrasts_with_one_of_the_nearest_neighbours_drawn_at_random():
    options = {"output_dim": E, "queue_size": 40, "hidden_dim": 8, "predictor_dim": 8}
    method = make("mae_ct", neighbours=3, **options)
    online, target = views(0), tuple(view.detach() for view in views(1))
    generator = torch.Generator().manual_seed(4)
    method.begin_step(generator)
    own = [F.normalize(view, dim=1) for view in target]
    assert all(torch.equal(method.neighbours(target[v], v), own[v]) for v in (0, 1))
    for seed in (5, 6):
        method.remember(tuple(view.detach() for view in views(seed)))
    known = method.support[0][:32]
    method.begin_step(generator)
    ranks = method.ranks
    assert ranks.shape == (2, N)
    assert set(ranks.flatten().tolist()) == {0, 1, 2}
    found = []
    for view in (0, 1):
        nearest = [
            sorted(range(32), key=lambda i, one=one: -float(one @ known[i])) for one in own[view]
        ]
        found.append(known[[row[r] for row, r in zip(nearest, ranks[view].tolist(), strict=True)]])
        torch.testing.assert_close(method.neighbours(target[view], view), found[view])
    loss = method.loss(online, target)
    expected = [
        F.cross_entropy(found[a] @ F.normalize(online[b], dim=1).T / T, torch.arange(N))
        for a, b in ((0, 1), (1, 0))
    ]
    same_value_and_gradient(loss, sum(expected) / 2, online)
    nearest_alone = make("mae_ct", neighbours=1, **options)
    plain = make("nnclr", **options)
    for each in (nearest_alone, plain):
        each.remember(tuple(view.detach() for view in views(5)))
    torch.testing.assert_close(nearest_alone.loss(online, target), plain.loss(online, target))


def test_supcon_takes_every_view_of_the_class_for_a_positive():
    online, labels = views(0), torch.arange(N) % 5
    loss = make("supcon").loss(online, (labels,))
    same_value_and_gradient(loss, written_out.supcon(online, labels), online)
    torch.testing.assert_close(make("supcon").loss(online[::-1], (labels,)), loss)


def test_supcon_of_images_without_their_like_is_simclr():
    online = views(0)
    loss = make("supcon").loss(online, (torch.arange(N),))
    torch.testing.assert_close(loss, make("simclr").loss(online, online))


def test_lejepa_draws_its_directions_anew_at_every_step():
    method, online = make("lejepa", **STATELESS["lejepa"]), views(0)
    values = []
    for seed in (0, 1, 0):
        method.begin_step(torch.Generator().manual_seed(seed))
        torch.testing.assert_close(method.slices.norm(dim=0), torch.ones(7).double())
        values.append(method.loss(online, online).item())
    assert values[0] == values[2] != values[1]


@pytest.mark.parametrize("name", STATELESS)
def test_a_loss_is_its_formula_with_attached_and_with_separate_targets(name):
    method, online, target = make(name, **STATELESS[name]), views(0), views(1)
    expected = getattr(written_out, name)
    if name == "lejepa":
        expected = functools.partial(expected, slices=method.slices, weight=0.3)
    same_value_and_gradient(method.loss(online, online), expected(online, online), online)
    both = (*online, *target)
    same_value_and_gradient(method.loss(online, target), expected(online, target), both)


SYMMETRIC = STATELESS | {
    "moco": {"queue_size": N, "output_dim": E},
    "nnclr": {"queue_size": N, "output_dim": E},
    "dino": {"prototypes": E},
    "swav": {"prototypes": E},
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_a_loss_is_symmetric_in_the_views(name):
    method, online, target = make(name, **SYMMETRIC[name]), views(0), views(1)
    swapped = method.loss(online[::-1], target[::-1])
    torch.testing.assert_close(method.loss(online, target), swapped)


def test_moco_contrasts_with_the_queue_of_the_keys_view():
    method, online, target = make("moco", queue_size=20, output_dim=E), views(0), views(1)
    earlier = views(2)
    method.remember(earlier)
    queue = [[unit(key.detach()) for key in view] for view in earlier]
    expected = written_out.moco(online, target, queue)
    same_value_and_gradient(method.loss(online, target), expected, online)


def test_nnclr_contrasts_with_the_nearest_neighbour_among_the_first_views_targets():
    method, online, target = make("nnclr", queue_size=20, output_dim=E), views(0), views(1)
    earlier = views(2)
    method.remember(earlier)
    support = [unit(key.detach()) for key in earlier[0]]
    expected = written_out.nnclr(online, target, support)
    same_value_and_gradient(method.loss(online, target), expected, online)


def test_nnclr_takes_the_target_itself_as_long_as_there_is_no_other():
    method, online, target = make("nnclr", queue_size=20, output_dim=E), views(0), views(1)
    own = [unit(key.detach()) for view in target for key in view]
    expected = written_out.nnclr(online, target, own)
    same_value_and_gradient(method.loss(online, target), expected, online)


def test_ressl_compares_relations_to_the_queue_with_the_weak_views():
    method, online, target = make("ressl", queue_size=20, output_dim=E), views(0, 1), views(1, 1)
    at_first = [slot.double() for slot in method.queue[0]]
    expected = written_out.ressl(online, target, at_first)
    same_value_and_gradient(method.loss(online, target), expected, online)
    (earlier,) = views(2, 1)
    method.remember((earlier,))
    queue = [unit(key.detach()) for key in earlier]
    expected = written_out.ressl(online, target, queue)
    same_value_and_gradient(method.loss(online, target), expected, online)


def test_dino_centres_and_sharpens_the_target():
    method, online, target = make("dino", prototypes=E), views(0), views(1)
    zero = torch.zeros(E, dtype=torch.double)
    expected = written_out.dino(online, target, zero)
    same_value_and_gradient(method.loss(online, target), expected, online)
    method.remember(target)
    center = 0.1 * sum(row for view in target for row in view.detach()) / (2 * N)
    torch.testing.assert_close(method.center, center)
    expected = written_out.dino(online, target, center)
    same_value_and_gradient(method.loss(online, target), expected, online)


def test_swav_predicts_balanced_assignments():
    method, online, target = make("swav", prototypes=E, queue_size=8), views(0), views(1)
    expected = written_out.swav(online, target)
    same_value_and_gradient(method.loss(online, target), expected, online)


def test_swav_assigns_together_with_its_queue_once_it_is_time():
    method = make("swav", prototypes=E, queue_size=N, queue_from_epoch=3)
    projector = method.build_projector(method.options, E)
    online, target, earlier = views(0), views(1), views(2)
    method.remember(earlier)
    method.begin_epoch(2, projector)
    without = written_out.swav(online, target)
    same_value_and_gradient(method.loss(online, target), without, online)
    method.begin_epoch(3, projector)
    expected = written_out.swav(online, target, earlier)
    assert expected.item() != pytest.approx(without.item(), rel=1e-3)
    same_value_and_gradient(method.loss(online, target), expected, online)


@pytest.mark.parametrize("filled", [1, 2])
def test_slots_of_swavs_queue_that_were_never_filled_take_no_part(filled):
    method = make("swav", prototypes=E, queue_size=5 * N, queue_from_epoch=1)
    online, target = views(0), views(1)
    earlier = [views(2 + step) for step in range(filled)]
    for each in earlier:
        method.remember(each)
    method.begin_epoch(1, method.build_projector(method.options, E))
    queue = [torch.cat([each[view] for each in earlier]).detach() for view in (0, 1)]
    expected = written_out.swav(online, target, queue)
    same_value_and_gradient(method.loss(online, target), expected, online)


def test_a_queue_that_is_still_empty_changes_no_assignment():
    method = make("swav", prototypes=E, queue_size=N, queue_from_epoch=1)
    method.begin_epoch(1, method.build_projector(method.options, E))
    online, target = views(0), views(1)
    loss = method.loss(online, target)
    same_value_and_gradient(loss, written_out.swav(online, target), online)


def test_an_assignment_gives_every_image_one_and_every_prototype_the_same():
    scores = torch.randn(40, 8, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    shares = sinkhorn(scores, epsilon=0.5, iterations=100)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(40, dtype=torch.double))
    torch.testing.assert_close(shares.sum(dim=0), torch.full((8,), 5.0, dtype=torch.double))


@pytest.mark.parametrize(("name", "smoothing"), [("diet", 0.8), ("supervised", 0.0)])
def test_a_classifier_has_the_cross_entropy_of_its_labels(name, smoothing):
    method, (logits,) = make(name), views(0, 1)
    labels = torch.arange(N) % E
    expected = written_out.classification((logits,), labels, smoothing)
    same_value_and_gradient(method.loss((logits,), (labels,)), expected, (logits,))
    smooth = make(name, label_smoothing=0.3).loss((logits,), (labels,))
    same_value_and_gradient(smooth, written_out.classification((logits,), labels, 0.3), (logits,))


def test_whitened_embeddings_have_no_mean_and_unit_covariance():
    from emabench.methods.wmse import whiten

    (embeddings,) = views(0, 1)
    white = whiten(embeddings)
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(E, dtype=torch.double))
    torch.testing.assert_close(white.T.cov(), torch.eye(E, dtype=torch.double))


def test_wmse_whitens_group_by_group():
    halves = make("wmse", whitening_size=N // 2, output_dim=E)
    online, target = views(0), views(1)
    parts = [
        written_out.wmse([v[rows] for v in online], [v[rows] for v in target])
        for rows in (slice(0, N // 2), slice(N // 2, N))
    ]
    same_value_and_gradient(halves.loss(online, target), sum(parts) / 2, online)


def test_moco_ignores_slots_that_are_not_filled():
    method, online = make("moco", queue_size=N, output_dim=E), views(0)
    loss = method.loss(online, online)
    assert loss.item() == 0, "with an empty queue there is nothing to contrast with"
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, online))


def test_a_uniform_embedding_has_the_loss_of_chance():
    ones = (torch.ones(N, E, dtype=torch.double),) * 2
    assert make("simclr").loss(ones, ones).item() == pytest.approx(math.log(2 * N - 1))
    normal = F.normalize(torch.ones(N, E, dtype=torch.double), dim=1)
    assert make("byol").loss((normal, normal), (normal, normal)).item() == pytest.approx(0)


def test_local_views_meet_every_target_and_have_none():
    online, target, center = views(0, 5), views(1), torch.zeros(E, dtype=torch.double)
    both = (*online, *target)
    dino = make("dino", prototypes=E)
    same_value_and_gradient(
        dino.loss(online, target), written_out.dino(online, target, center), online
    )
    swav = make("swav", prototypes=E, queue_size=8)
    same_value_and_gradient(swav.loss(online, target), written_out.swav(online, target), online)
    lejepa = make("lejepa", **STATELESS["lejepa"])
    expected = written_out.lejepa(online, target, slices=lejepa.slices, weight=0.3)
    same_value_and_gradient(lejepa.loss(online, target), expected, both)


def test_dinos_target_warms_up_from_epoch_to_epoch():
    method = make("dino", prototypes=E, first_target_temperature=0.04, target_warmup_epochs=4)
    projector = method.build_projector(method.options, E)
    found = []
    for epoch in range(6):
        method.begin_epoch(epoch, projector)
        found.append(method.target_temperature)
    assert found == pytest.approx([0.04, 0.05, 0.06, 0.07, 0.07, 0.07])
    plain = make("dino", prototypes=E)
    plain.begin_epoch(0, projector)
    assert plain.target_temperature == 0.07
