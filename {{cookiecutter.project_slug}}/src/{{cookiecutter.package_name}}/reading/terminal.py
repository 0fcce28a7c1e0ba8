"""Text for a terminal: how many columns it takes, and how it is made to fit.

What is shown may come from anywhere. So everything goes through `escape_hidden`, which leaves
nothing in a text that could move the cursor, change colors or hide.
"""

import json
import shutil
import sys
import textwrap
from collections.abc import Container
from itertools import accumulate
from typing import Any
from unicodedata import category, east_asian_width

from ..formats import escape

FEWEST_COLUMNS = 20  # of a terminal; what is shown on a narrower one breaks there


def columns() -> int:
    """Return how many columns the terminal has; more than any text needs if there is none."""
    size = shutil.get_terminal_size((sys.maxsize, 0))
    return max(size.columns, FEWEST_COLUMNS)


def escape_hidden(text: str) -> str:
    """Return `text` with an escape in place of every character that cannot be seen."""
    return escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def one_line(value: Any) -> str:
    """Return a text, or another value as JSON, in one line without hidden characters."""
    text = value
    if not isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    return escape_hidden(text).replace("\n", " ")


def width(text: str) -> int:
    """Return how many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width_of_character, text))


def _width_of_character(character: str) -> int:
    if category(character) in ("Mn", "Me"):  # an accent on the character before it
        return 0
    if east_asian_width(character) in ("W", "F"):
        return 2
    return 1


def cut(text: str, limit: int) -> str:
    """Return as much of a line as fits into `limit` columns."""
    if width(text) <= limit:
        return text
    widths = accumulate(map(_width_of_character, text))
    fitting = [used for used in widths if used < limit]
    return text[: len(fitting)] + "…"


def wrap(text: str, limit: int, indent: str = "") -> list[str]:
    """Return a line as at most three indented lines of `limit` columns; the last may be cut."""
    if width(text) > len(text):
        limit //= 2  # so that all fits even if each character takes two columns
    return textwrap.wrap(
        text,
        limit,
        initial_indent=indent,
        subsequent_indent=indent,
        max_lines=3,
        placeholder="…",
    )


def pad(text: str, size: int) -> str:
    """Return a text with spaces behind it, so that it takes `size` columns."""
    return text + " " * (size - width(text))


def table(lines: list[list[str]], numbers: Container[str] = ()) -> list[str]:
    """Return lines of cells as text, the header first.

    Columns whose name in the header is in `numbers` align to the right.
    """
    padded = []
    for column in zip(*lines, strict=True):
        size = max(map(width, column))
        if column[0] in numbers:
            padded.append([cell.rjust(size) for cell in column])
        else:
            padded.append([pad(cell, size) for cell in column])

    return [" ".join(cells).rstrip() for cells in zip(*padded, strict=True)]
