"""A real headless Chromium, the one of the system, and what happens in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest


def chromium() -> str | None:
    """Return the path of the browser, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("EMABENCH_TEST_CHROMIUM") or next(
        filter(None, map(shutil.which, names)), None
    )


@dataclass
class Watched:
    """A page, and everything that it said or asked for."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def is_quiet(self) -> bool:
        """Whether nothing was logged and nothing went wrong."""
        return not self.messages


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    executable = chromium()
    if executable is None:
        pytest.fail("no chromium: apt-get install chromium, or set EMABENCH_TEST_CHROMIUM")
    # Here, so that collecting the tests does not need the extra 'browser'.
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # The sandbox of Chromium does not work as root, as whom CI runs.
        launched = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Open an address in a context of its own; returns a ``Watched``."""
    contexts = []

    def opened(address: str, *, width: int = 1200, height: int = 900, **options: Any) -> Watched:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        watched = Watched(context.new_page())
        page = watched.page
        page.set_default_timeout(20_000)
        page.on("console", lambda message: watched.messages.append(message.text))
        page.on("pageerror", lambda error: watched.messages.append(str(error)))
        page.on("request", lambda request: watched.requests.append(request.url))
        page.goto(address)
        page.wait_for_load_state("load")
        return watched

    yield opened
    for context in contexts:
        context.close()
