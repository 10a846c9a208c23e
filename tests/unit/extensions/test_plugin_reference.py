"""References of plugins: how they are written, and which job of a run needs which."""

from __future__ import annotations

import pytest
from seeding import plan

from emabench.extensions.plugin_reference import (
    PluginKind,
    PluginReference,
    needed_by,
    references_in,
)
from emabench.records import JobKind

DIGEST = "0123456789abcdef" * 2
METHOD, NET = f"method:soft@{DIGEST}", f"backbone:net@{DIGEST}"
DOTS, OTHER = f"dataset:dots@{DIGEST}", f"dataset:other@{DIGEST}"
EVERY = [NET, DOTS, OTHER, METHOD]


def test_a_reference_is_read_as_it_is_written():
    reference = PluginReference(PluginKind.METHOD, "soft.simclr-2", DIGEST)
    assert PluginReference.parse(str(reference)) == reference
    assert reference.words == "method soft.simclr-2 (01234567)"


@pytest.mark.parametrize(
    "text",
    ["", "soft", f"method:soft@{DIGEST[:-1]}", f"code:soft@{DIGEST}", f"method:../soft@{DIGEST}",
     f"method:a b@{DIGEST}", f"method:soft@{DIGEST}\n", f"method:soft@{DIGEST.upper()}"],
)  # fmt: skip
def test_what_is_no_reference_is_none(text):
    assert PluginReference.parse(text) is None


@pytest.mark.parametrize("said", [None, 3, "method", [3, None, "nothing"], {"method": DIGEST}])
def test_an_identity_of_somebody_else_may_say_anything(said):
    assert references_in({"plugins": said}) == ()


def test_each_job_needs_what_it_uses_and_no_more():
    planned = plan(
        method="soft",
        backbone="net",
        dataset="dots",
        evaluation__data__dataset="other",
        identity={"plugins": EVERY},
    )

    def of(kind):
        return needed_by(kind, planned.spec, planned.identity)

    assert of(JobKind.PRETRAIN) == of(JobKind.BENCH) == (NET, DOTS, METHOD)
    assert of(JobKind.LINEAR_EVAL) == (NET, OTHER)


def test_an_evaluation_on_the_images_of_the_training_needs_their_plugin():
    planned = plan(method="soft", dataset="dots", identity={"plugins": [DOTS, METHOD]})
    assert needed_by(JobKind.LINEAR_EVAL, planned.spec, planned.identity) == (DOTS,)
