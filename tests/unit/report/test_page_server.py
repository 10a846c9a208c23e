"""The dashboard's server: who gets in, what it answers, and that it only reads."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import quote

import pytest

from emabench.errors import EmabenchError, StoreError, UsageError
from emabench.report.page.content import PageContent
from emabench.report.page.render import live_page
from emabench.report.page.server import Dashboard, PageSource, check_access, is_loopback

TOKEN = "0123456789abcdef"
CONTENT = PageContent(
    title="a page",
    question="why?",
    facts=(),
    source="source: here",
    command="",
    made="at noon",
    problem=("no", None),
)


@contextmanager
def serving(make=lambda: CONTENT, *, token=None, refresh=0.5, host="127.0.0.1"):
    with Dashboard(PageSource(make, refresh), host, 0, token) as dashboard:
        thread = threading.Thread(target=dashboard.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield dashboard.server_address
        finally:
            dashboard.shutdown()
            thread.join()


def ask(address, path="/", method="GET", **headers):
    connection = http.client.HTTPConnection(address[0], address[1], timeout=30)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=names)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def test_it_serves_the_page_and_says_when_it_is_the_same():
    with serving() as address:
        status, headers, text = ask(address)
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        assert "<title>a page</title>" in text
        assert "at noon" in text
        tag = headers["ETag"]
        assert f"data-tag={tag}" in text
        assert "connect-src 'self'" in headers["Content-Security-Policy"]
        assert ask(address, If_None_Match=tag)[0] == 304
        assert ask(address, method="HEAD")[2] == ""


def test_only_what_changes_makes_another_page():
    tag = live_page(CONTENT, refresh=5.0).tag
    assert live_page(replace(CONTENT, made="later"), refresh=5.0).tag == tag
    assert live_page(replace(CONTENT, title="another"), refresh=5.0).tag != tag


def test_a_page_that_is_old_is_made_again():
    titles = iter(["first", *["second"] * 99])
    with serving(lambda: replace(CONTENT, title=next(titles)), refresh=0.0) as address:
        assert "<title>first</title>" in ask(address)[2]
        deadline = time.monotonic() + 60
        while "<title>second</title>" not in ask(address)[2]:
            assert time.monotonic() < deadline


def test_many_visitors_make_one_page():
    made = []
    with serving(lambda: made.append(1) or CONTENT, refresh=60.0) as address:
        visits = [threading.Thread(target=ask, args=(address,)) for _ in range(8)]
        for visit in visits:
            visit.start()
        for visit in visits:
            visit.join()
    assert len(made) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_it_only_reads(method):
    with serving() as address:
        status, headers, _ = ask(address, method=method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_there_is_nothing_else():
    with serving() as address:
        for path in ("/results.db", "/../etc/passwd", "//evil.example/"):
            assert ask(address, path)[0] == 404


def test_a_name_of_another_site_is_refused():
    with serving() as address:
        for name in ("evil.example", "evil.example:8765", "", "[broken"):
            assert ask(address, Host=name)[0] == 403, name
        for name in ("localhost", "127.0.0.1:1", "[::1]:8765"):
            assert ask(address, Host=name)[0] == 200, name


def test_a_token_is_asked_for_and_kept_in_a_cookie():
    with serving(token=TOKEN) as address:
        assert ask(address)[0] == 401
        assert ask(address, "/?token=wrong")[0] == 401
        assert ask(address, Authorization="Bearer wrong")[0] == 401
        assert ask(address, Authorization=f"Bearer {TOKEN}")[0] == 200
        status, headers, text = ask(address, f"/?token={TOKEN}")
        assert (status, headers["Location"], text) == (303, "./", "")
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert ask(address, Cookie=cookie.partition(";")[0])[0] == 200
        assert "path" not in cookie.lower()
        assert TOKEN not in cookie
        name = cookie.partition("=")[0]
        assert ask(address, Cookie=f"{name}=wrong")[0] == 401
        assert ask(address, Cookie=f"{name}={TOKEN}")[0] == 401
        assert ask(address, Cookie=f"a=b; [x]=; {cookie.partition(';')[0]}; é=1")[0] == 200
        assert ask(address, Cookie=cookie.partition(";")[0], Host="machine.example")[0] == 200


def test_two_dashboards_of_one_host_have_cookies_of_their_own():
    with serving(token=TOKEN) as one, serving(token=TOKEN[::-1]) as two:
        cookies = [
            ask(address, f"/?token={token}")[1]["Set-Cookie"].partition(";")[0]
            for address, token in ((one, TOKEN), (two, TOKEN[::-1]))
        ]
        for address in (one, two):
            assert ask(address, Cookie="; ".join(cookies))[0] == 200
        assert ask(one, Cookie=cookies[1])[0] == 401


@pytest.mark.parametrize("token", ['a+b/c=d&e#f%g?h;i,j"k', "~" * 16])
def test_every_token_that_is_accepted_can_be_given(token):
    check_access("0.0.0.0", token)
    with serving(token=token) as address:
        assert ask(address, f"/?token={quote(token, safe='')}")[0] == 303
        assert ask(address, Authorization=f"Bearer {token}")[0] == 200
    with serving(token="base64+of/sixteen==") as address:
        assert ask(address, "/?token=base64+of/sixteen==")[0] == 303


def test_the_page_names_no_place_from_the_root():
    with serving() as address:
        text = ask(address)[2]
    assert 'fetch("/' not in text
    assert 'href="/' not in text


def test_a_store_that_cannot_be_read_is_no_end():
    answers = iter([StoreError("the store is gone"), *[CONTENT] * 9])

    def make():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with serving(make, refresh=0.0) as address:
        assert ask(address)[::2] == (503, "the store is gone\n")
        assert ask(address)[0] == 200


@pytest.mark.parametrize(
    ("host", "token", "message"),
    [
        ("0.0.0.0", None, "needs a token"),
        ("::", None, "needs a token"),
        ("192.0.2.7", None, "needs a token"),
        ("machine.example", None, "needs a token"),
        ("0.0.0.0", "short", "can be guessed"),
        ("127.0.0.1", "short", "can be guessed"),
        ("0.0.0.0", "", "can be guessed"),
        ("0.0.0.0", "ключ-из-шестнадцати", "beyond ASCII"),
        ("127.0.0.1", "clé-de-seize-lettres", "beyond ASCII"),
        ("127.0.0.1", "four words and more", "spaces"),
        ("127.0.0.1", "bytes-of-no-text-\udcff", "beyond ASCII"),
    ],
)
def test_nobody_else_is_let_in_unasked(host, token, message):
    with pytest.raises(UsageError, match=message) as caught:
        check_access(host, token)
    assert "openssl rand" in caught.value.hint


def test_this_machine_is_known_by_its_names():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "localhost.example", "10.0.0.1", "")))
    check_access("127.0.0.1", None)
    check_access("0.0.0.0", TOKEN)


def test_a_port_that_is_taken_is_explained():
    with serving() as address, pytest.raises(EmabenchError, match="cannot listen") as caught:
        Dashboard(PageSource(lambda: CONTENT, 1.0), "127.0.0.1", address[1], None)
    assert "--port 0" in caught.value.hint
