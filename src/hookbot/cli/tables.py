"""Tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """The columns of the rows below their names; what would do something to a terminal is a space."""
    cells = [[column.upper() for column in columns], *([_text(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def _text(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return "".join(char if char.isprintable() else " " for char in text)
