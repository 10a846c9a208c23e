"""What methods with local views have in common: every view meets the targets of the other ones."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from emabench.methods._method import Views


def mean_of_other_views(
    online: Views, targets: Views, term: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return the mean of a term over all pairs of a view and the target of another view.

    Args:
        online: [N, E] of each view, those with a target first.
        targets: [N, E] of the first views.
        term: of a view and a target, a scalar.
    """
    terms = [
        term(view, target)
        for number, view in enumerate(online)
        for index, target in enumerate(targets)
        if number != index
    ]
    return sum(terms[1:], terms[0]) / len(terms)
