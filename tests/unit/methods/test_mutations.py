"""The tests of the losses notice a sign, a temperature, a missing half: all are broken once."""

import functools
import inspect
import sys
import types

import pytest
import test_losses

from emabench.methods import load_method
from emabench.methods._method import Method

BROKEN = {
    "simclr": (
        ("logits = anchors @ keys.T / temperature", "logits = -anchors @ keys.T / temperature"),
        ("keys.T / temperature", "keys.T * temperature"),
        ("anchors = F.normalize(torch.cat(online), dim=1)", "anchors = torch.cat(online)"),
        ('masked_fill(itself, float("-inf"))', "masked_fill(itself, 0.0)"),
    ),
    "dcl": (
        ("logits = anchors @", "logits = -anchors @"),
        ("keys.T / self.temperature", "keys.T * self.temperature"),
        ("image[:, None] == image", "image[:, None] < 0"),
        ("torch.cat(positive)", "torch.cat(positive[:1] * 2)"),
    ),
    "byol": (
        ("(4 - 2 * first", "(4 + 2 * first"),
        ("- 2 * second", "- 2 * first"),
        ("online[1], target[0]", "online[0], target[0]"),
    ),
    "simsiam": (
        ("return -(first", "return (first"),
        ("first + second", "first + first"),
        ("online[1], target[0]", "online[1], target[1]"),
    ),
    "mocov3": (
        ("logits = F.normalize", "logits = -F.normalize"),
        (".T / self.temperature", ".T"),
        ("2 * self.temperature * (", "2 * ("),
        ("first + second", "first + first"),
    ),
    "barlow_twins": (
        ("(1 - diagonal)", "(1 + diagonal)"),
        ("first + second", "first + first"),
        ("correction=0", "correction=1"),
        ("self.redundancy_weight * others", "others"),
    ),
    "vicreg": (
        ("F.relu(1 - ", "F.relu(1 + "),
        ("(first + second) / 2", "first"),
        ("_covariance(online[0]) + _covariance(online[1])", "2 * _covariance(online[0])"),
        ("(count - 1)", "count"),
    ),
    "lejepa": (
        ("self.weight * regularity + (1 - self.weight)", "regularity + (1 - self.weight)"),
        ("target).mean(dim=0)", "online).mean(dim=0)"),
        ("angles.sin().mean(dim=0).square()", "angles.sin().square().mean(dim=0)"),
        ("(-frequencies.square() / 2)", "(-frequencies.square())"),
        ("len(embeddings) * 2", "len(embeddings)"),
        ("directions / directions.norm(dim=0)", "directions"),
    ),
    "supcon": (
        ("target[0].repeat(len(online))", "torch.arange(len(anchors))"),
        ("& ~itself", ""),
        ('logits.masked_fill(itself, float("-inf"))', "logits"),
        (".T / self.temperature", ".T"),
        ("return -(of", "return (of"),
        ("of_positives / positive.sum(dim=1)", "of_positives"),
    ),
    "ijepa": (
        ("F.layer_norm(tokens, tokens.shape[-1:])", "tokens"),
        ("(normalized, self.hidden.flatten(1))", "(normalized, self.hidden.flip(1).flatten(1))"),
        ("smooth_l1_loss", "mse_loss"),
        ("target[0][:, self.grid.prefix :]", "target[0][:, : -self.grid.prefix]"),
        ('{"visible": visible, "hidden": hidden}', '{"visible": hidden[:, 0], "hidden": hidden}'),
        ("hidden.flatten(0, 1))", "hidden.flip(1).flatten(0, 1))"),
        ("tokens[:, self.grid.prefix :].repeat", "tokens[:, : -self.grid.prefix].repeat"),
    ),
    "mae_ct": (
        ("self._nearest, dim=1)", "self._nearest, dim=1, largest=False)"),
        ("self.ranks[view]", "self.ranks[0]"),
        ("own @ self.support[0].T", "targets @ self.support[0].T.flip(1)"),
        ("enqueued > 0, self", "enqueued > 99, self"),
        ("torch.randint(self._nearest,", "torch.randint(1,"),
    ),
    "mae": (
        ("shuffled[:, :seen]", "shuffled[:, seen:]"),
        ("self.grid), self.hidden)", "self.grid), self.visible)"),
        ("if self.normalize_pixels:", "if not self.normalize_pixels:"),
        ("dim=-1, keepdim=True", "dim=1, keepdim=True"),
        ("permute(0, 2, 4, 3, 5, 1)", "permute(0, 4, 2, 3, 5, 1)"),
    ),
    "wmse": (
        ("(2 - first - second)", "(2 + first - second)"),
        ("2 - first - second", "2 - 2 * first"),
        ("embeddings - embeddings.mean(dim=0)", "embeddings"),
        ("upper=False", "upper=True"),
    ),
    "moco": (
        ("(query * key)", "(-query * key)"),
        ("/ self.temperature", "* self.temperature"),
        ("(first, second_key, 1)", "(first, second_key, 0)"),
        ("self._info_nce(second, first_key, 0)", "self._info_nce(first, second_key, 1)"),
    ),
    "nnclr": (
        ("logits = neighbours", "logits = -neighbours"),
        (".T / self.temperature", ".T"),
        ("(first + second) / 2", "first"),
        (").argmax(", ").argmin("),
        ("self.neighbours(target[0], 0), online[1]", "self.neighbours(target[0], 0), online[0]"),
    ),
    "ressl": (
        ("self._similarity(query) / self.temperature", "-self._similarity(query)"),
        ("/ self.target_temperature", "/ self.temperature"),
        ("masked_fill(unused, _FAR_AWAY)", "masked_fill(unused, 0.0)"),
    ),
    "dino": (
        ("target - self.center", "target + self.center"),
        ("scores / self.options.temperature", "scores"),
        ("self.target_temperature).softmax", "1.0).softmax"),
        ("online, target, self._cross_entropy", "online[:1], target, self._cross_entropy"),
        ("online, target, self._cross_entropy", "online, target[:1], self._cross_entropy"),
        ("1 - self.options.center_decay", "self.options.center_decay"),
    ),
    "swav": (
        ("(scores / self.options.temperature", "(-scores / self.options.temperature"),
        ("online, assigned, self._cross_entropy", "online[:1], assigned, self._cross_entropy"),
        ("scores / epsilon", "scores"),
        ("logits.log_softmax(dim=0)", "logits"),
        ("self._assigned(target, view)", "self._assigned(target, 0)"),
    ),
}
"""For each method: what stands in its file, and what a slip would make of it."""

CASES = [(name, *slip) for name, slips in BROKEN.items() for slip in slips]
FORMULA = "test_a_loss_is_its_formula_with_attached_and_with_separate_targets"
CHECKS = {
    "lejepa": [FORMULA, "test_lejepa_draws_its_directions_anew_at_every_step"],
    "ijepa": [
        "test_ijepa_is_the_smooth_distance_to_the_normalised_tokens_of_the_targets",
        "test_ijepa_predicts_each_target_without_the_others",
    ],
    "mae_ct": ["test_mae_ct_contrasts_with_one_of_the_nearest_neighbours_drawn_at_random"],
    "mae": ["test_mae_is_the_error_of_the_normalised_pixels_of_hidden_patches"],
    "supcon": ["test_supcon_takes_every_view_of_the_class_for_a_positive"],
    "moco": ["test_moco_contrasts_with_the_queue_of_the_keys_view"],
    "nnclr": ["test_nnclr_contrasts_with_the_nearest_neighbour_among_the_first_views_targets"],
    "ressl": ["test_ressl_compares_relations_to_the_queue_with_the_weak_views"],
    "dino": ["test_dino_centres_and_sharpens_the_target"],
    "swav": ["test_swav_predicts_balanced_assignments"],
}


@functools.cache
def check_as_it_is(name):
    """Check the method of the package, once."""
    check(name)


def check(name):
    for test in CHECKS.get(name, [FORMULA]):
        arguments = [name] if test == FORMULA else []
        getattr(test_losses, test)(*arguments)


@pytest.mark.parametrize(("name", "right", "wrong"), CASES)
def test_a_slip_in_a_loss_is_noticed(monkeypatch, name, right, wrong):
    check_as_it_is(name)
    source = inspect.getsource(inspect.getmodule(load_method(name)))
    assert right in source, "the slip is not one of the current code"
    module = types.ModuleType(f"broken_{name}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(source.replace(right, wrong), module.__dict__)
    (broken,) = (
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Method) and each.__module__ == module.__name__
    )
    monkeypatch.setattr(test_losses, "load_method", lambda name: broken)
    with pytest.raises(AssertionError):
        check(name)


def test_every_loss_with_a_formula_is_broken_at_least_three_times():
    assert set(BROKEN) >= set(test_losses.STATELESS) | set(test_losses.SYMMETRIC)
    assert all(len(slips) >= 3 for slips in BROKEN.values())
