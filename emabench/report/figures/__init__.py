"""Pictures, one file each: the file's name is the picture's name."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import TYPE_CHECKING

from emabench.errors import UnknownNameError

if TYPE_CHECKING:
    from emabench.report.figures._picture import Picture


@dataclass(frozen=True)
class PictureHelp:
    """What the help says of a picture.

    Attributes:
        name: of the picture.
        text: what is drawn, with examples.
        options: by name, the default, what stands for the value, and the help.
        places: its rank among the commands, and on a page.
    """

    name: str
    text: str
    options: Mapping[str, tuple[str | None, str, str]]
    places: tuple[int, int]


def picture_names() -> list[str]:
    """Return the names of all pictures, sorted; imports none of them."""
    files = (f.name for f in resources.files(__name__).iterdir())
    return sorted(n.removesuffix(".py") for n in files if n.endswith(".py") and n[0] != "_")


def load_picture(name: str) -> type[Picture]:
    """Return the picture of that name."""
    from emabench.report.figures._picture import Picture

    module = importlib.import_module(f"{__name__}.{name}")
    (picture,) = (
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Picture) and member.__module__ == module.__name__
    )
    return picture


def make_picture(name: str, options: Mapping[str, str | None]) -> Picture:
    """Return a picture with some of its options.

    Args:
        name: of the picture.
        options: values by name; the others take their defaults.

    Raises:
        UnknownNameError: there is no such picture, or it has no such option.
    """
    if name not in picture_names():
        raise UnknownNameError("picture", name, picture_names())
    kind = load_picture(name)
    known = [field.name for field in fields(kind)]
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of {name}", option, known)
    return kind(**options)


def picture_help(name: str) -> PictureHelp:
    """Read the help of a picture from its source, so that it costs no import."""
    source = (resources.files(__name__) / f"{name}.py").read_text("utf-8")
    (picture,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and "Picture" in map(ast.unparse, node.bases)
    )
    options, places = {}, (99, 99)
    for line in picture.body:
        match line:
            case ast.AnnAssign(target=ast.Name(id=field), value=ast.Call(args=words)):
                default, metavar, text = map(ast.literal_eval, words)
                options[field] = (default, metavar, text)
            case ast.Assign(targets=[ast.Name(id="places")], value=value):
                places = ast.literal_eval(value)
    return PictureHelp(name, ast.get_docstring(picture) or "", options, places)
