"""Any value made plain: what strict JSON, and any other destination, can hold, as far as a record has room for it."""

import sys
from collections import UserString
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from numbers import Integral, Real
from typing import Any, TypeAlias

from .errors import is_from_signal

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
Data: TypeAlias = dict[str, Plain]
Path: TypeAlias = tuple[object, ...]  # the keys that lead to a value

_COST = 16  # characters that a value counts for, beside those of its text
_DEEPEST = 32  # containers inside containers; one that contains itself ends here too
_WIDEST_INT = 64  # bits; some readers of JSON take no wider one
_MOST_BYTES = 1_000


class PlainCopy:
    """Copies the values of one record until its room is used up.

    Args:
        room: how many characters the record may hold; `None` for any number.
        mask: from text to text, for each text and each key before it is cut; it raises nothing.

    Attributes:
        cut: for each value that did not fit, its path and its whole size: entries or characters.
    """

    def __init__(self, room: int | None, mask: Callable[[str], str] | None) -> None:
        self._room = sys.maxsize if room is None else room
        self._longest = self._room * 2 // 3  # text, so that it leaves room for what comes after it
        self._mask = mask
        self.cut: dict[str, int] = {}

    def copy(self, value: Any, name: object = "", path: Path = ()) -> Plain:
        """Return the value of that name, inside what `path` leads to, as plain data. If it cannot be read, a text says so."""
        kind = type(value)
        if kind is str:
            return self.text(value, name, path)
        self._room -= _COST
        if value is None or kind is bool:
            return value  # type: ignore[no-any-return]
        try:
            make = _maker(kind)  # type: ignore[arg-type]  # mypy takes classes for unhashable
            if make is dict or make is list:
                return self._container(value, make is dict, (*path, name))
            plain: Plain = make(value)
        except Exception as error:  # the application's own objects may raise anything
            if is_from_signal(error):
                raise
            plain = f"<{kind.__name__}: {type(error).__name__} when read>"
        return self.text(plain, name, path) if isinstance(plain, str) else plain

    def text(self, text: str, name: object = "", path: Path = ()) -> str:
        """Return `text`, masked, and cut to what there is room for. NUL and half an emoji become escapes, written out."""
        if self._mask:
            text = self._mask(text)
        size = len(text)
        if size > self._room or size > self._longest:
            text = text[: max(0, min(self._room, self._longest))]
            self._note_cut((*path, name), size)
        if "\0" in text or not text.isascii():
            text = _holdable(text)  # PostgreSQL has no NUL, and UTF-8 no lone surrogate
        self._room -= _COST + len(text)
        return text

    def _container(self, value: Any, is_mapping: bool, path: Path) -> Plain:
        mapping: dict[str, Plain] = {}
        entries: list[Plain] = []
        for entry in value if len(path) <= _DEEPEST else ():
            if self._room <= 0:
                break
            if is_mapping:
                name = self.text(str(entry), "", path)
                mapping[f"{name}~{len(mapping)}" if name in mapping else name] = self.copy(value[entry], name, path)
            else:
                entries.append(self.copy(entry, len(entries), path))
        if len(mapping) + len(entries) < len(value):
            self._note_cut(path, len(value))
        return mapping if is_mapping else entries

    def _note_cut(self, path: Path, size: int) -> None:
        name = ".".join(str(key)[:100] for key in path)[:300]
        self._room -= len(name)
        self.cut[name] = size


def _holdable(text: str) -> str:
    try:
        text.encode("utf-16-le")  # tells faster than a search, or UTF-8
    except UnicodeEncodeError:
        text = text.encode(errors="backslashreplace").decode()
    return text.replace("\0", "\\u0000")


def _integer(value: Integral) -> int | str:
    number = int(value)
    return number if number.bit_length() < _WIDEST_INT else str(number)


def _real(value: Real | Decimal) -> float | str:
    real = float(value)
    is_exact = not isinstance(value, Decimal) or Decimal(repr(real)) == value
    return real if isfinite(real) and is_exact else str(value)


def _octets(value: bytes | bytearray | memoryview) -> str:
    octets = memoryview(value).tobytes()
    return repr(octets) if len(octets) <= _MOST_BYTES else f"<{type(value).__name__} of {len(octets)}>"


def _any(value: Any) -> str:
    shape = getattr(value, "shape", None)  # of arrays and tables, which may take seconds and many lines to print
    return f"<{type(value).__name__} of {' x '.join(map(str, shape))}>" if shape else str(value)


_MAKERS: dict[tuple[type, ...], Callable[[Any], Any]] = {
    (str,): str.__str__,
    (UserString,): str,
    (Integral,): _integer,  # NumPy's too
    (Real, Decimal): _real,
    (date, time): lambda value: value.isoformat(),
    (bytes, bytearray, memoryview): _octets,
    (Mapping,): dict,
    (Sequence, Set): list,
    (object,): _any,
}


@lru_cache(maxsize=256)  # it takes long to ask abstract classes
def _maker(kind: type[Any]) -> Callable[[Any], Any]:
    """Return what makes the values of a class plain; for containers, what to copy them to."""
    return next(make for kinds, make in _MAKERS.items() if issubclass(kind, kinds))
