"""The page served over HTTP from the live store: read only, and to nobody else unless asked for."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from emabench.errors import EmabenchError, UsageError
from emabench.report.page.content import PageContent
from emabench.report.page.render import LivePage, content_policy, live_page

LOOPBACK = "127.0.0.1"
SHORTEST_TOKEN = 16

_REST = 10.0
"""So many times as long as a page took to make it is shown before the next one is made."""
_PATIENCE_S = 20.0
"""For a client that says nothing."""


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach a server at an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_access(host: str, token: str | None) -> None:
    """Refuse to let everybody in.

    Raises:
        UsageError: the address is not of this machine alone and there is no token, or it is short
            or cannot be sent.
    """
    if token is not None and not all("!" <= letter <= "~" for letter in token):
        raise UsageError(
            "a token cannot have spaces or letters beyond ASCII",
            hint="use letters and digits, for example from: openssl rand -hex 16",
        )
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise UsageError(
            f"a token of {len(token)} characters can be guessed",
            hint=f"take {SHORTEST_TOKEN} or more, for example from: openssl rand -hex 16",
        )
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} lets other machines in, which needs a token",
            hint="give one with --token or EMABENCH_TOKEN, for example from: openssl rand -hex 16",
        )


class PageSource:
    """Makes the page anew when the last one is old; several threads may ask.

    Args:
        make: reads the store.
        refresh: seconds between two looks of a page.
    """

    def __init__(self, make: Callable[[], PageContent], refresh: float) -> None:
        self._make, self._refresh = make, refresh
        self._lock = threading.Lock()
        self._page: LivePage | None = None
        self._fresh_until = 0.0

    def page(self) -> LivePage:
        """Return a page that is not older than it may be.

        Raises:
            EmabenchError: the store cannot be read.
        """
        with self._lock:
            start = time.monotonic()
            if self._page is None or start >= self._fresh_until:
                self._page = live_page(self._make(), refresh=self._refresh)
                end = time.monotonic()
                self._fresh_until = end + max(self._refresh / 2, _REST * (end - start))
            return self._page


class Dashboard(ThreadingHTTPServer):
    """The server; ``serve_forever`` runs it.

    Args:
        source: of the page.
        host: to bind.
        port: to bind; 0 takes a free one.
        token: that a visitor must know; None lets everybody in who can reach it.

    Raises:
        UsageError: see ``check_access``.
        EmabenchError: the address cannot be bound.
    """

    daemon_threads = True

    def __init__(self, source: PageSource, host: str, port: int, token: str | None) -> None:
        check_access(host, token)
        self.source, self.token = source, token
        self.is_private = token is None
        self.cookie, self.session = f"emabench_{secrets.token_hex(4)}", secrets.token_urlsafe(32)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Visit)
        except OSError as error:
            raise EmabenchError(
                f"cannot listen on {host} port {port}: {error.strerror}",
                hint="--port 0 takes a free port",
            ) from None

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self.server_address[:2]
        name = host.decode() if isinstance(host, bytes | bytearray) else str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a visitor who left before the answer was there."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def knows(self, token: str | None) -> bool:
        """Whether a visitor may see the page."""
        if self.token is None:
            return True
        return token is not None and _is_same(token, self.token)

    def admitted(self, session: str | None) -> bool:
        """Whether a visitor showed the token before."""
        return session is not None and _is_same(session, self.session)


def _is_same(given: str, secret: str) -> bool:
    # Half of a surrogate pair is no text, and no token either.
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode())


class _Visit(BaseHTTPRequestHandler):
    """One request."""

    server: Dashboard
    server_version = "emabench"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE_S

    def do_GET(self) -> None:
        """Answer with the page."""
        parts = urlsplit(self.path)
        given = parse_qs(parts.query).get("token", [None])[0]
        if not self._is_meant_for_here():
            self._say(HTTPStatus.FORBIDDEN, "the dashboard does not go by this name")
        # A + in an address is a space, of which no token has any.
        elif given is not None and self.server.knows(given.replace(" ", "+")):
            self._admit()
        elif not (self.server.knows(self._bearer()) or self.server.admitted(self._session())):
            self._say(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong: /?token=…")
        elif parts.path != "/":
            self._say(HTTPStatus.NOT_FOUND, "there is only one page: /")
        else:
            self._show()

    do_HEAD = do_GET  # noqa: N815

    def refuse(self) -> None:
        """Answer whatever would change something."""
        self.close_connection = True
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, "the dashboard is read only", Allow="GET, HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = refuse  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def _show(self) -> None:
        try:
            page = self.server.source.page()
        except EmabenchError as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, error.message)
            return
        tag = f'"{page.tag}"'
        if self.headers.get("If-None-Match") == tag:
            self._send(HTTPStatus.NOT_MODIFIED, b"", "text/html; charset=utf-8", ETag=tag)
            return
        content = page.html.encode("utf-8")
        self._send(HTTPStatus.OK, content, "text/html; charset=utf-8", ETag=tag)

    def _admit(self) -> None:
        """Give a cookie of this server, so that the token does not stay in the address."""
        cookie: SimpleCookie = SimpleCookie()
        name = self.server.cookie
        cookie[name] = self.server.session
        # No path: it belongs to where the page is seen, which may be below the root of a proxy.
        cookie[name]["httponly"], cookie[name]["samesite"] = True, "Strict"
        words = {"Location": "./", "Set-Cookie": cookie[name].OutputString()}
        self._send(HTTPStatus.SEE_OTHER, b"", "text/plain; charset=utf-8", **words)

    def _bearer(self) -> str | None:
        kind, _, word = self.headers.get("Authorization", "").partition(" ")
        return word.strip() if kind.lower() == "bearer" else None

    def _session(self) -> str | None:
        for pair in self.headers.get("Cookie", "").split(";"):  # others' may be no cookies at all
            name, _, value = pair.strip().partition("=")
            if name == self.server.cookie:
                return value
        return None

    def _is_meant_for_here(self) -> bool:
        """Whether the visitor used a name of this machine.

        A page of another site may have its own name lead to this machine, and would read ours.
        """
        if not self.server.is_private:
            return True
        try:
            name = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:
            return False
        return name is not None and is_loopback(name)

    def _say(self, status: HTTPStatus, words: str, **headers: str) -> None:
        self._send(status, f"{words}\n".encode(), "text/plain; charset=utf-8", **headers)

    def _send(self, status: HTTPStatus, content: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        fixed = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": f"{content_policy(live=True)}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in {**fixed, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
