"""What tells where a run was made gets a neutral name; all else in a text stays."""

import pytest

from emabench.store.transfer.scrubbing import NeutralNames


@pytest.fixture
def names():
    known = NeutralNames()
    known.learn_host("node7.cluster.example.org")
    known.learn_host("gpu")
    known.learn_value("/home/ada lovelace/my images")
    known.learn_text("/home/charles/x and C:\\Users\\mary\\y")
    return known


@pytest.mark.parametrize(
    ("text", "neutral"),
    [
        ("No such file: '/data/My Pictures/a b.png'", "No such file: 'path-2'"),
        ("cannot read /data/x/y.pt: it is cut short", "cannot read path-2: it is cut short"),
        ("cannot read /data/x/y.pt.", "cannot read path-2."),
        ('File "/opt/lib/train.py", line 10, in run', 'File "path-2", line 10, in run'),
        ("emabench run --data-dir=/a/b --lr 1e-3", "emabench run --data-dir=path-2 --lr 1e-3"),
        ("emabench run '--data-dir=/home/ada lovelace/my images'",
         "emabench run '--data-dir=path-1'"),
        ("emabench run --data-dir ~/images", "emabench run --data-dir path-2"),
        (r"cannot read C:\data\x.pt or \\server\share", "cannot read path-2 or path-3"),
        ("postgresql://me:secret@db.example.org/runs fails", "path-2 fails"),
        ("node7 and node7.cluster.example.org, not node71", "host-1 and host-1, not node71"),
        ("charles@gpu, mary@gpu: lost", "user-2@host-2, user-3@host-2: lost"),
        ("process 4711 is gone, pid=12", "process 0 is gone, pid=0"),
        ("/a /b /a", "path-2 path-3 path-2"),
    ],
)  # fmt: skip
def test_a_text_loses_what_tells_where(names, text, neutral):
    assert names.text(text) == neutral


@pytest.mark.parametrize(
    "text",
    [
        "1,000 images/s in 3/4 of the time, and/or 2 / 3",
        "ValueError: shapes (2, 3) and (3,) do not fit",
        "emabench run --data-dir ../images --ema-scope layer4+projector --seed 0..4",
        "a gpu-like thing and mary2",
        "needs job 0123456789ab, which failed: killed by SIGKILL (out of memory?)",
    ],
)
def test_all_else_stays(names, text):
    assert names.text(text) == text


def test_of_values_only_whole_paths_are_replaced(names):
    for value in ("simclr", "gpu", "charles", "data/images", "layer4/x", "e" * 64, ""):
        assert names.value(value) == value
    assert names.value("/home/ada lovelace/my images") == "path-1"
    assert names.value("s3://bucket/ada/weights.safetensors") == "path-2"
    assert names.value("~ada/images") == "path-3"


def test_hosts_stay_apart():
    names = NeutralNames()
    hosts = ["a.x.org", "a", "a.y.org", "host-1"]
    for host in hosts:
        names.learn_host(host)
    assert [names.host(host) for host in hosts] == [f"host-{number}" for number in (1, 2, 3, 4)]
    assert names.text("a, a.y.org") == "host-2, host-3"


def test_names_that_are_words_are_no_users():
    names = NeutralNames()
    for name in ("root", "me", "user"):
        names.learn_user(name)
    assert names.text("the root of a user is me") == "the root of a user is me"
    assert names.counts == {"hosts": 0, "users": 0, "paths": 0}
