"""A page as one file of HTML: its styles and scripts are in it, and it asks the network nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from emabench.errors import EmabenchError, UsageError
from emabench.report.page.content import PageContent
from emabench.store.transfer.atomic_file import draft
from emabench.table import visible, visible_json
from emabench.user_paths import check_output, is_folder

_ASSETS = resources.files("emabench.report.page") / "assets"
_ENDINGS = (".html", ".htm")
_STYLE = "page.css"
_SCRIPTS = ("tables.js", "charts.js", "page.js")


@dataclass(frozen=True)
class LivePage:
    """A page of a server, with a tag that changes when anything on it but the time does."""

    html: str
    tag: str


def live_page(content: PageContent, *, refresh: float) -> LivePage:
    """Return a page that looks again at the server that it came from.

    Args:
        content: what stands on it.
        refresh: seconds between two looks.
    """
    made, place = "@made@", "@tag@"
    html = render_page(replace(content, made=made), refresh=refresh, tag=place)
    tag = hashlib.sha256(html.encode("utf-8")).hexdigest()[:16]
    return LivePage(html.replace(made, content.made, 1).replace(place, tag, 1), tag)


def render_page(content: PageContent, *, refresh: float | None = None, tag: str = "") -> str:
    """Return the HTML of a page.

    Args:
        content: what stands on it.
        refresh: seconds between two looks at the server that it came from; None where it is a
            file, which never asks for anything.
        tag: tells this version of the page from a later one.
    """
    template = _environment().get_template("page.html")
    return template.render(
        page=content,
        data=_json(content.data()),
        style=Markup(_asset(_STYLE)),
        script=Markup(_script()),
        policy=content_policy(live=refresh is not None),
        refresh=refresh,
        tag=tag,
    )


def check_page(path: Path) -> None:
    """Refuse a page that cannot be written, before anything is computed.

    Raises:
        UsageError: the ending is not that of a page, the folder does not exist, or
            something is there that is not a regular file.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"{path.name!r} is not a name for a page", hint="end it in .html")
    folder = path.absolute().parent
    if not is_folder(folder):
        raise UsageError(f"there is no folder {folder}", hint="make it, or choose another")
    check_output(path)


def write_page(content: PageContent, path: Path) -> int:
    """Write a page whole or not at all, and return its size in bytes.

    Raises:
        EmabenchError: the file cannot be written.
    """
    data = render_page(content).encode("utf-8")
    try:
        with draft(path, overwrite=True) as file:
            file.write_bytes(data)
    except OSError as error:
        raise EmabenchError(
            f"cannot write {path}: {error.strerror}", hint="choose another place with --output"
        ) from None
    return len(data)


@cache
def content_policy(*, live: bool) -> str:
    """Return the content security policy of a page: its own style and script, and nothing else.

    Args:
        live: whether the page may ask the server that it came from.
    """
    rules = [
        "default-src 'none'",
        f"style-src {_hash(_asset(_STYLE))}",
        f"script-src {_hash(_script())}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join([*rules, "connect-src 'self'"] if live else rules)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text("utf-8")


def _script() -> str:
    return "\n".join(_asset(name) for name in _SCRIPTS)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _json(value: Any) -> Markup:
    """Return JSON that cannot end the element that it stands in."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(visible_json(text))
