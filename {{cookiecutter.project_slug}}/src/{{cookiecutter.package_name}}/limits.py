"""How much of a record is kept: a copy of values that stops at its limits."""

import sys
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from .values import Plain, maker

Path: TypeAlias = tuple[object, ...]  # the keys that lead to a value

_MAX_DEPTH = 32  # containers inside containers
_COST = 8  # characters that a value counts for, beside those of its text: what surrounds it


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one record is kept; `None` lifts a bound.

    The defaults keep a record under 2 MB on disk, however large the result.

    Attributes:
        items: entries of one list or mapping: of a result, the rows.
        text: characters of one string.
        total: characters of all the data in one record.

    Raises:
        ValueError: a bound is not a whole number above zero.
    """

    items: int | None = 1_000
    text: int | None = 100_000
    total: int | None = 150_000

    def __post_init__(self) -> None:
        for name in ("items", "text", "total"):
            bound = getattr(self, name)
            if bound is not None and (type(bound) is not int or bound < 1):
                raise ValueError(f"limit {name} {bound!r}: a whole number above zero or None; for example 1000")


DEFAULT_LIMITS = Limits()


class PlainCopy:
    """Copies the values of one record until its limits are used up.

    Attributes:
        left: characters that there is room for.
        cut: for each value that did not fit, its path and its whole size: entries, characters or bytes.
    """

    def __init__(self, limits: Limits) -> None:
        self._items = limits.items or sys.maxsize
        self._text = limits.text or sys.maxsize
        self.left = limits.total or sys.maxsize
        self.cut: dict[str, int] = {}

    def copy(self, value: Any, path: Path, parents: tuple[int, ...] = ()) -> Plain:
        """Return `value` as plain data. What cannot be read becomes a text that says so."""
        if type(value) is str:
            return self._string(value, path)
        try:
            make = maker(type(value))  # type: ignore[arg-type]  # mypy takes classes for unhashable
            if make is list or make is dict:
                return self._container(value, path, parents, make())
            if make is bytes:
                view = memoryview(value)
                octets = view.cast("B") if view.c_contiguous else view
                text = self._string(repr(bytes(octets[: self._text])), path)  # cut first: `repr` takes long
                self._note_cut(path, self._text, len(octets))
                return text
            plain: Plain = make(value)
        except Exception as error:  # the application's own objects may raise anything
            plain = f"<{type(value).__name__}: {type(error).__name__} when read>"
        if isinstance(plain, str):
            return self._string(plain, path)
        self.left -= _COST + (plain.bit_length() // 4 if isinstance(plain, int) else 0)
        return plain

    def _string(self, text: str, path: Path) -> str:
        size = len(text)
        if size > self._text or size > self.left:
            text = text[: max(0, min(self._text, self.left))]
            self._note_cut(path, len(text), size)
        self.left -= _COST + len(text)
        return text

    def _container(self, value: Any, path: Path, parents: tuple[int, ...], kept: Any) -> Plain:
        if id(value) in parents:
            return "<cycle>"
        self.left -= _COST
        parents = (*parents, id(value))
        for entry in islice(value, self._items if len(parents) <= _MAX_DEPTH else 0):
            if self.left <= 0:
                break
            if type(kept) is list:
                kept.append(self.copy(entry, (*path, len(kept)), parents))
            else:
                name = self._string(str(entry), path)
                kept[name] = self.copy(value[entry], (*path, entry), parents)
        self._note_cut(path, len(kept), len(value))
        return kept  # type: ignore[no-any-return]

    def _note_cut(self, path: Path, kept: int, size: int) -> None:
        if kept < size:
            name = ".".join(str(key)[:100] for key in path)[:300]
            self.left -= len(name)
            self.cut[name] = size
