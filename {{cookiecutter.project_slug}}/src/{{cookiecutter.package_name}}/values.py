"""Any value, made plain: a bounded copy that strict JSON can hold."""

import math
import numbers
import sys
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from itertools import islice
from typing import TypeAlias

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
# Where a value stands: the path of its parent and its own key. Joined only when something is cut.
Path: TypeAlias = "tuple[Path, object] | None"

_BYTES = (bytes, bytearray, memoryview)
# Built-in types first: to ask an abstract class takes ten times as long.
_SCALARS = (type(None), int, float, *_BYTES)
_MAPPINGS = (dict, Mapping)
_CONTAINERS = (tuple, list, *_MAPPINGS, Sequence, AbstractSet)
_INTEGERS = (int, numbers.Integral)
_REALS = (float, numbers.Real, Decimal)
_MAX_DEPTH = 32  # containers inside containers
_MAX_INT_BITS = 4_096  # Python refuses to print integers of more than 4,300 digits
_SCALAR_COST = 8  # characters that a number or a container counts for


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one record is kept; `None` lifts a bound.

    The defaults keep a record under 2 MB on disk, whatever is in it.

    Attributes:
        items: entries of one list or mapping: of a result, the rows.
        text: characters of one string.
        total: characters of all the data in one record.

    Raises:
        ValueError: a bound is not a whole number above zero.
    """

    items: int | None = 1_000
    text: int | None = 100_000
    total: int | None = 200_000

    def __post_init__(self) -> None:
        for name in ("items", "text", "total"):
            bound = getattr(self, name)
            if bound is not None and (type(bound) is not int or bound < 1):
                raise ValueError(f"limit {name} {bound!r}: a whole number above zero or None; for example 1000")


DEFAULT_LIMITS = Limits()


class PlainCopy:
    """Copies the values of one record until its limits are used up.

    Attributes:
        cut: for each value that did not fit, its path and its whole size in rows, entries or characters.
    """

    def __init__(self, limits: Limits) -> None:
        self._items = limits.items or sys.maxsize
        self._text = limits.text or sys.maxsize
        self._left = limits.total or sys.maxsize
        self._parents: list[int] = []
        self.cut: dict[str, int] = {}

    def copy(self, value: object, path: Path) -> Plain:
        """Return `value` as plain data. What cannot be read becomes a text that says so."""
        try:
            if isinstance(value, str):
                return self._string(str.__str__(value), path)
            if not isinstance(value, _SCALARS) and isinstance(value, _CONTAINERS):
                return self._container(value, path)
            return self._scalar(value, path)
        except Exception as error:  # the application's own objects may raise anything
            return f"<{type(value).__name__}: {type(error).__name__} when read>"

    def _string(self, text: str, path: Path) -> str:
        size = len(text)
        if size and (size > self._left or size > self._text):
            return self._cut_string(text, path)
        self._left -= size
        return text

    def _cut_string(self, text: str, path: Path) -> str:
        room = min(self._text, max(self._left, 0))
        self._note_cut(path, len(text))
        self._left -= room
        return text[:room]

    def _scalar(self, value: object, path: Path) -> Plain:
        self._left -= _SCALAR_COST
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, _INTEGERS):  # NumPy's too
            number = int(value)
            return number if number.bit_length() <= _MAX_INT_BITS else self._string(hex(number), path)
        if isinstance(value, _REALS):
            real = float(value)
            is_exact = not isinstance(value, Decimal) or Decimal(repr(real)) == value
            return real if math.isfinite(real) and is_exact else str(value)
        if isinstance(value, _BYTES):
            return self._string(repr(bytes(value[: self._text])), path)
        return self._string(value.isoformat() if isinstance(value, (date, time)) else str(value), path)

    def _container(self, value: Collection[object], path: Path) -> Plain:
        if id(value) in self._parents:
            return "<cycle>"
        self._left -= _SCALAR_COST
        self._parents.append(id(value))
        try:
            kept = self._entries(value, path)
        finally:
            self._parents.pop()
        if len(kept) < len(value):
            self._note_cut(path, len(value))
        return kept

    def _entries(self, value: Collection[object], path: Path) -> dict[str, Plain] | list[Plain]:
        some = islice(value, self._items if len(self._parents) <= _MAX_DEPTH else 0)
        if isinstance(value, _MAPPINGS):
            entries: dict[str, Plain] = {}
            for key in some:
                if self._left <= 0:
                    break
                name = self._string(str(key), path)
                entries[name] = self.copy(value[key], (path, key))
            return entries
        items: list[Plain] = []
        for index, item in enumerate(some):
            if self._left <= 0:
                break
            items.append(self.copy(item, (path, index)))
        return items

    def _note_cut(self, path: Path, size: int) -> None:
        keys: list[str] = []
        while path is not None:
            path, key = path
            keys.insert(0, str(key))
        self.cut[".".join(keys)] = size
