"""Text for a terminal: how many columns it takes, and what of it fits into them.

What is shown here may come from anywhere. So everything goes through `visible`, which leaves
nothing in a text that could move the cursor, change colors or hide.
"""

import json
import shutil
import sys
from collections.abc import Container, Iterable
from typing import Any
from unicodedata import category, east_asian_width

from ..formats import escape


def columns() -> int:
    """Return how many columns the terminal has; more than any text needs if there is none."""
    return shutil.get_terminal_size((sys.maxsize, 0)).columns


def visible(text: str) -> str:
    """Return `text` with an escape in place of every character that cannot be seen."""
    return escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def one_line(value: Any) -> str:
    """Return a text, or another value as JSON spells it, in one line without hidden characters."""
    text = value
    if not isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    return visible(text).replace("\n", " ")


def width(text: str) -> int:
    """Return how many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of_character, text))


def _width_of_character(character: str) -> int:
    if category(character) in ("Mn", "Me"):  # it is put upon the one before it
        return 0
    if east_asian_width(character) in ("W", "F"):
        return 2
    return 1


def cut(text: str, limit: int) -> str:
    """Return as much of a line as fits into `limit` columns."""
    if width(text) <= limit:
        return text
    return text[: _fitting(text, limit - 1)] + "…"


def wrap(text: str, limit: int, most: int, indent: str) -> list[str]:
    """Return a line as at most so many indented lines of `limit` columns; the last may be cut."""
    room = max(limit - len(indent), 1)
    lines: list[str] = []
    while len(lines) < most - 1 and width(text) > room:
        end = _fitting(text, room)
        space = text.rfind(" ", end // 2, end)
        if space > 0:
            end = space + 1

        line = indent + text[:end]
        lines.append(line.rstrip())
        text = text[end:]

    lines.append(indent + cut(text, room))
    return lines


def _fitting(text: str, limit: int) -> int:
    """Return how many characters of a text that is too long fit into `limit` columns, or 1."""
    end = 0
    used = _width_of_character(text[0])
    while used <= limit:
        end += 1
        used += _width_of_character(text[end])
    return max(end, 1)


def pad(text: str, size: int) -> str:
    """Return a text with spaces behind it, so that it takes `size` columns."""
    return text + " " * (size - width(text))


def table(
    header: list[str], rows: Iterable[Iterable[str]], numbers: Container[str] = ()
) -> list[str]:
    """Return a line for the header and each row; the columns in `numbers` align to the right."""
    lines = [header]
    for row in rows:
        lines.append(list(row))

    widths = []
    for column in zip(*lines, strict=True):
        widths.append(max(map(width, column)))

    shown = []
    for line in lines:
        cells = []
        for name, cell, size in zip(header, line, widths, strict=True):
            if name in numbers:
                cells.append(cell.rjust(size))
            else:
                cells.append(pad(cell, size))
        shown.append(" ".join(cells).rstrip())
    return shown
