import itertools
import typing

from emabench.spec.streams import Stream, derive


def test_streams_are_independent_and_repeatable():
    streams = typing.get_args(Stream)
    seeds = [
        derive(seed, stream, *index)
        for seed, stream, index in itertools.product(range(3), streams, [(), (0,), (1,), (0, 1)])
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(0, "order", 3) == derive(0, "order", 3)


def test_streams_stay_the_same_from_version_to_version():
    assert derive(0, "init") == 7797302695267191734
    assert derive(1, "order", 12) != derive(11, "order", 2)
