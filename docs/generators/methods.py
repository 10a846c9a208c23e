"""The methods with their options, and the presets with what they are for."""

from __future__ import annotations

from collections.abc import Iterator

from emabench.methods import load_method, method_names
from emabench.spec.settings import DEFAULT_PRESET, NO_PRESET, load_preset, preset_names
from generators.fields import default_of, type_in_words
from generators.markdown import code, prose, table


def methods_table() -> str:
    """Return every method: what it is, its scopes and its options with their defaults."""
    return table(("method", "what it is", "EMA scopes", "options"), _methods())


def presets_table() -> str:
    """Return every preset in its own words."""
    rows = [(code(name), _preset(name)) for name in preset_names()]
    last = (code(NO_PRESET), "Nothing but the defaults of the fields below.")
    return table(("preset", "what it is"), [*rows, last])


def _preset(name: str) -> str:
    note = " The default." if name == DEFAULT_PRESET else ""
    return prose(load_preset(name)["description"]) + note


def _methods() -> Iterator[tuple[str, str, str, str]]:
    for name in method_names():
        method = load_method(name)
        first = prose((method.__doc__ or "").strip().partition("\n")[0])
        options = [
            f"{code(f'{option}={default_of(field)}')}"
            f" ({type_in_words(field.annotation, field.metadata)})"
            for option, field in method.Options.model_fields.items()
        ]
        scopes = "all" if method.target_views else "`none`"
        yield code(name), first, scopes, ", ".join(options) or "none"
