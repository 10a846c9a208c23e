"""The tables of the store: every column with its type and meaning, from the declarations."""

from __future__ import annotations

import ast
import inspect
import itertools
import types
from typing import Any

from sqlalchemy import Column, DateTime, String

from emabench import records
from emabench.store.schema import tables
from generators.markdown import code, prose, table

EVERYWHERE = {
    "id": "Number of the row; of a job, its 12 hex digits.",
    "step": "Optimiser step.",
    "epoch": "Epoch that the step belongs to.",
    "name": "Name of the figure.",
    "value": "The figure; NULL is unknown.",
    "state": "Where it stands.",
    "fingerprint": "SHA-256 of what decides it.",
}
"""What a column of this name is wherever it says nothing else."""
READINGS = {"costs": "CostReading", "environments": "Environment"}
"""Tables that hold the fields of a record: it describes the columns that they do not."""


def tables_page() -> str:
    """Return a section for each table."""
    return "\n\n".join(_section(mapper) for mapper in _mappers())


def undescribed() -> list[str]:
    """Name the columns that nothing describes."""
    return [
        f"{mapper.local_table.name}.{column.name}"
        for mapper in _mappers()
        for column in mapper.local_table.columns
        if not _meaning(mapper, column)
    ]


def _mappers() -> list[Any]:
    """Return the mapped classes in the order of their file."""
    return sorted(
        tables.StoreTable.registry.mappers, key=lambda each: inspect.getsourcelines(each.class_)[1]
    )


def _section(mapper: Any) -> str:
    name, columns = mapper.local_table.name, mapper.local_table.columns
    rows = [
        (code(each.name), _type_in_words(each), _key_in_words(each), _meaning(mapper, each))
        for each in columns
    ]
    what = prose(inspect.getdoc(mapper.class_))
    return f"## {name}\n\n{what}\n\n{table(('column', 'type', 'key', 'meaning'), rows)}"


def _type_in_words(column: Column[Any]) -> str:
    """Return the type, and whether the column can be unknown."""
    kind = column.type
    if isinstance(kind, tables.UtcDateTime | DateTime):
        words = "moment (UTC)"
    elif enum := getattr(kind, "enums", None):
        words = ", ".join(code(word) for word in enum)
    elif isinstance(kind, String) and kind.length:
        words = f"text ({kind.length})"
    else:
        names = {
            "Text": "text",
            "Integer": "integer",
            "BigInteger": "integer (64 bit)",
            "Float": "number",
            "Double": "number",
            "Boolean": "`true` or `false`",
            "LargeBinary": "bytes",
        }
        words = names.get(type(kind).__name__, type(kind).__name__)
    return f"{words} or NULL" if column.nullable else words


def _key_in_words(column: Column[Any]) -> str:
    keys = ["primary"] if column.primary_key else []
    keys += [f"→ `{each.target_fullname}`" for each in column.foreign_keys]
    return ", ".join(keys)


def _meaning(mapper: Any, column: Column[Any]) -> str:
    """Return what a column means: its own docstring, its record's, or that it is a reference."""
    attribute = mapper.get_property_by_column(column).key
    own = _docstrings(tables, mapper.class_.__name__).get(attribute)
    record = READINGS.get(mapper.local_table.name)
    found = own or (_docstrings(records, record).get(attribute) if record else None)
    if found:
        return prose(found)
    for each in column.foreign_keys:
        if each.column.table is column.table:
            return "The one that has to be done before."
        return f"The row of `{each.target_fullname.partition('.')[0]}` that it belongs to."
    return EVERYWHERE.get(column.name, "")


def _docstrings(module: types.ModuleType, name: str) -> dict[str, str]:
    """Return the texts below the attributes of a class, which Python itself does not keep."""
    body = next(
        node.body
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    found = {}
    for node, below in itertools.pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[node.target.id] = text.value
    return found
