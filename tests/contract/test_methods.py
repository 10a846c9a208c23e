"""What every method promises in every kind of scope, in few real steps.

A new file in ``emabench/methods`` joins by itself; authors of plugins use the same checks.
"""

from __future__ import annotations

import pytest

from emabench.methods import method_names
from emabench.testing import averaged_by, check_resumption, check_steps, resolved, scopes_of

pytestmark = pytest.mark.usefixtures("uncounted")
CASES = [(method, scope) for method in method_names() for scope in scopes_of(method)]


def cases(*fast_scopes):
    """Every case; those of other scopes are marked slow, unless a method has one scope only."""
    fast = {case for case in CASES if case[1] in fast_scopes or len(scopes_of(case[0])) == 1}
    return [pytest.param(*case, marks=() if case in fast else pytest.mark.slow) for case in CASES]


@pytest.mark.parametrize(("method", "scope"), cases("layer2", "from:layer4", "block1"))
def test_the_right_blocks_are_trained_and_copied(method, scope):
    check_steps(resolved(method, scope), averaged_by(method, scope))


@pytest.mark.parametrize(("method", "scope"), cases("from:layer4", "backbone"))
def test_a_stopped_training_goes_on_exactly(tmp_path, method, scope):
    check_resumption(resolved(method, scope), tmp_path)
