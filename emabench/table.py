"""A plain table that becomes CSV, Markdown, LaTeX, HTML or JSON, and the words for its numbers."""

from __future__ import annotations

import csv
import html
import io
import itertools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from emabench.errors import UsageError

Format = Literal["text", "json", "csv", "markdown", "latex"]

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "…": r"\ldots{}",
    "\n": " ",
}
_LATEX_SIGN = re.compile(r"(?<![\w)\]])-(?=[\d.])|(?<= )-(?= )")
"""A minus sign, which is no hyphen."""
_MARKUP = re.compile(r"[\\|*`<]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")
"""What Markdown would take for markup; an underscore within a word is none."""

_UNSEEN_IN_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, marks that turn the direction of text, and bytes that are no text."""


@dataclass(frozen=True)
class Table:
    """Headers and rows of plain values; every row is as long as the headers.

    Attributes:
        headers: one per column.
        rows: the cells; None is unknown.
        right: headers of the columns that hold numbers, aligned to the right.
        whole: headers of the columns that are never folded, however narrow the terminal.
        spare: headers of the columns that a narrow terminal does without, the first to go first.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    right: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    spare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headers):
                raise ValueError(f"a row of {len(row)} cells under {len(self.headers)} headers")

    def to_csv(self) -> str:
        """Return CSV in full precision; unknown is an empty field, a list is joined by spaces."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(map(visible, self.headers))
        writer.writerows([_field(cell) for cell in row] for row in self.rows)
        return stream.getvalue()

    def to_markdown(self) -> str:
        """Return a Markdown table."""
        rule = ["---:" if header in self.right else "---" for header in self.headers]
        body = [[show_value(cell) for cell in row] for row in self.rows]
        lines = [[*self.headers], rule, *body]
        return "".join(f"| {' | '.join(map(_escaped, line))} |\n" for line in lines)

    def to_latex(self) -> str:
        """Return a LaTeX tabular in the manner of the package booktabs."""
        sides = "".join("r" if header in self.right else "l" for header in self.headers)
        rows = [self.headers, *([show_value(cell) for cell in row] for row in self.rows)]
        head, *body = (" & ".join(map(_latex, row)) + r" \\" for row in rows)
        lines = [
            r"% \usepackage{booktabs}",
            rf"\begin{{tabular}}{{{sides}}}",
            *(r"\toprule", head, r"\midrule", *body, r"\bottomrule"),
            r"\end{tabular}",
        ]
        return "".join(f"{line}\n" for line in lines)

    def to_html(self) -> str:
        """Return an HTML table, everything in it as text."""
        head = "".join(f"<th>{_as_text(header)}</th>" for header in self.headers)
        lines = [f"<thead><tr>{head}</tr></thead>", "<tbody>"]
        for row in self.rows:
            cells = zip(self.headers, row, strict=True)
            lines.append(f"<tr>{''.join(self._html_cell(*cell) for cell in cells)}</tr>")
        return "\n".join(["<table>", *lines, "</tbody>", "</table>"])

    def _html_cell(self, header: str, value: Any) -> str:
        side = ' style="text-align: right"' if header in self.right else ""
        return f"<td{side}>{_as_text(show_value(value))}</td>"

    def to_records(self) -> list[dict[str, Any]]:
        """Return one mapping per row, for JSON."""
        return [dict(zip(self.headers, row, strict=True)) for row in self.rows]


def choose_format(
    *, json: bool, csv: bool = False, markdown: bool = False, latex: bool = False
) -> Format:
    """Return the one format that the flags ask for.

    Raises:
        UsageError: they ask for more than one.
    """
    flags: dict[Format, bool] = {"json": json, "csv": csv, "markdown": markdown, "latex": latex}
    asked: list[Format] = [name for name, wanted in flags.items() if wanted]
    if len(asked) > 1:
        raise UsageError(
            f"{' and '.join(f'--{name}' for name in asked)} exclude each other",
            hint="choose one of them",
        )
    return asked[0] if asked else "text"


def show_value(value: Any) -> str:
    """Write the value of a field for people: YAML's words, compact lists."""
    if value is None:
        return "null"
    return visible(value) if isinstance(value, str) else json.dumps(value, default=str)


def show_known(value: Any) -> str:
    """Write the value of a field for people, as ``show_value`` does; None is unknown."""
    return UNKNOWN if value is None else show_value(value)


def visible(text: str) -> str:
    """Return text with what a terminal would obey, or hide, as escapes like those of ``ascii``.

    Names, hosts and reasons may come from somebody else's store. Line ends and tabs stay.
    """
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def visible_json(text: str) -> str:
    """Return JSON with the same, but for what JSON itself escapes, as its own escapes."""
    return _UNSEEN_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def first_hidden(text: str) -> str | None:
    """Return the first letter that ``visible`` escapes, or a line end; None in plain text."""
    found = _UNSEEN.search(text.replace("\n", "\0"))
    return None if found is None else text[found.start()]


def _as_text(text: str) -> str:
    return html.escape(visible(text))


def _field(cell: Any) -> Any:
    if isinstance(cell, str):
        return visible(cell)
    if cell is None or isinstance(cell, (int, float)):
        return cell
    if isinstance(cell, Sequence):
        return " ".join("" if part is None else visible(str(part)) for part in cell)
    return json.dumps(cell, default=str)


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", visible(text)).replace("\n", " ")


def _latex(text: str) -> str:
    signed = _LATEX_SIGN.sub("\x00", "--" if text == "-" else visible(text))
    plain = "".join(_LATEX.get(letter, letter) for letter in signed).replace("\x00", "$-$")
    # A row that begins with a bracket or star would be an argument of the line break before it.
    return f"{{}}{plain}" if plain[:1] in ("[", "*") else plain


UNKNOWN = "-"
"""Stands for what is not known: never an empty cell, never 0."""


def significant(value: float | None, digits: int = 4) -> str:
    """Write a number with some significant digits and no exponent; whole digits are all kept."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(max(decimals, 0), 12)}f}"


def counted(number: int, noun: str) -> str:
    """Write a number of things: ``1 run``, ``3 runs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def scaled(value: float | None, unit: float) -> str:
    """Write a number in a unit, ``1e9`` for billions, as ``significant`` does."""
    return significant(None if value is None else value / unit)


def fixed(value: float | None, decimals: int = 2) -> str:
    """Write a number with a fixed number of decimals."""
    return UNKNOWN if value is None else f"{value:.{decimals}f}"


def signed(value: float | None, decimals: int = 2) -> str:
    """Write a difference with its sign."""
    return UNKNOWN if value is None else f"{value:+.{decimals}f}"


def price_of(seconds: float | None, price_per_hour: float | None) -> float | None:
    """Return what so many seconds cost; None where either is not known."""
    if seconds is None or price_per_hour is None:
        return None
    return seconds / 3600 * price_per_hour


def duration(seconds: float | None) -> str:
    """Write seconds as ``12.3 s``, ``4 min 05 s`` or ``2 h 03 min``."""
    if seconds is None:
        return UNKNOWN
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Draw values as a line of bars, from the smallest to the largest; a gap is not finite.

    Args:
        values: in their order; where there are more than ``width``, the mean of each part.
        width: letters at most.
    """
    parts = min(width, len(values))
    cuts = [place * len(values) // parts for place in range(parts + 1)] if parts else []
    means = []
    for start, end in itertools.pairwise(cuts):
        known = [value for value in values[start:end] if math.isfinite(value)]
        means.append(math.fsum(known) / len(known) if known else math.nan)
    finite = [mean for mean in means if math.isfinite(mean)]
    low, span = min(finite, default=0.0), max(finite, default=0.0) - min(finite, default=0.0)
    last = len(_BARS) - 1
    return "".join(
        " " if not math.isfinite(mean) else _BARS[round((mean - low) / span * last) if span else 0]
        for mean in means
    )
