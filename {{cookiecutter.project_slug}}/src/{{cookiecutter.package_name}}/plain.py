"""Any value made plain data in one walk: converted, withheld, masked and truncated.

One `Serializer` serves one record. It has a budget of characters. Every value takes something from
it, so the size of a record is bounded whatever its values are made of. It also keeps the key path
of the value that it works on, which is written down only if something is cut.
"""

import sys
from collections import UserString
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from datetime import date, time
from decimal import Decimal
from functools import singledispatch
from math import isfinite
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeGuard

from dbally.collection.results import ExecutionResult

from .failures import error_chain, message_of
from .privacy import BOTH, METADATA, PROMPT, WITHHELD, Content, contents_of

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
Data: TypeAlias = dict[str, Plain]

VALUE_COST = 16  # characters that a value takes from the budget, beside those of its text
MAX_DEPTH = 32  # containers inside containers; one that contains itself ends here too
MAX_INT_BITS = 63  # some readers of JSON take no wider one
MAX_BYTES = 1_000
MAX_ERRORS = 20  # of one record
MAX_PATH = 300  # characters of a key path

# Of all other classes an object can change and still be the same object.
IMMUTABLE_CLASSES = frozenset([str, int, float, bool, tuple, type(None)])


class Serializer:
    """Makes plain data of the values of one record, until its budget is used up.

    Args:
        max_chars: the budget in characters.
        mask: from text to text, for every text before it is truncated.
        switches: names of the switches that are on; a field needs all that its content names.

    Attributes:
        cut: what was truncated: its key path, and its whole size in characters or entries.
    """

    def __init__(
        self,
        max_chars: int = sys.maxsize,
        mask: Callable[[str], str] | None = None,
        switches: Content = PROMPT,
    ) -> None:
        self.cut: dict[str, int] = {}
        self._budget = max_chars
        self._max_text = max_chars * 2 // 3  # so that one text leaves something for the others
        self._mask = mask
        self._switches = switches
        self._path: list[object] = []  # the keys and indexes that lead to the current value

    def fields(self, source: object, at_start: dict[str, object]) -> Data:
        """Return the fields of one of db-ally's objects, without those that are as `at_start`.

        Args:
            source: an event, a request or a result.
            at_start: values by name that the first record of an event has; those that are recorded
                now are added.
        """
        data: Data = {}
        for name, content in contents_of(source).items():
            value = read_field(source, name)
            if _is_unchanged(value, at_start.get(name), content):
                continue

            at_start[name] = value
            # An ExecutionResult anywhere else is a value like any other, and may contain itself.
            if name == "result" and issubclass(type(value), ExecutionResult):
                self._path.append(name)
                data[name] = self.fields(value, {})
                self._path.pop()
            else:
                data[name] = self.field(name, value, content)
        return data

    def field(self, name: str, value: object, content: Content = METADATA) -> Plain:
        """Return a value as plain data, if what it can hold may be recorded."""
        if not content <= self._switches:
            return WITHHELD

        self._path.append(name)
        plain = self.value(value)
        self._path.pop()
        return plain

    def error(self, error: BaseException) -> Data:
        """Return the type and message of an exception, and in `causes` those of what led to it."""
        outermost, *causes = error_chain(error)[:MAX_ERRORS]
        data = self._type_and_message(outermost)
        data["causes"] = [self._type_and_message(cause) for cause in causes]
        return data

    def _type_and_message(self, error: BaseException) -> Data:
        return {"type": type(error).__name__, "message": self.field("error", error, BOTH)}

    def value(self, value: Any) -> Plain:
        """Return any value as plain data: JSON's own classes as they are, others simplified."""
        kind = type(value)
        if kind is str:
            return self.text(value)

        self._budget -= VALUE_COST
        if kind is dict:
            return self._mapping(value)
        if kind is list:
            return self._sequence(value)

        if _is_scalar(value):
            return value
        return self._simplified(value)

    def _simplified(self, value: Any) -> Plain:
        depth = len(self._path)
        try:
            plain = simplify(value)
            if isinstance(plain, str):
                return self.text(plain)
            if isinstance(plain, (int, float)):
                return plain
            if isinstance(plain, Mapping):
                return self._mapping(plain)
            return self._sequence(plain)

        except Exception as error:  # objects of the application may raise anything
            del self._path[depth:]  # it may have been raised deep inside
            return self.text(f"<{type(value).__name__}: {type(error).__name__} when read>")

    def _mapping(self, mapping: Mapping[Any, Any]) -> Data:
        data: Data = {}
        if len(self._path) <= MAX_DEPTH:
            for key in mapping:
                if self._budget <= 0:
                    break

                name = self.text(str(key))
                if name in data:  # two keys have the same text
                    name = f"{name}~{len(data)}"
                self._path.append(name)
                data[name] = self.value(mapping[key])
                self._path.pop()

        if len(data) < len(mapping):
            self._note_cut(len(mapping))
        return data

    def _sequence(self, entries: Collection[Any]) -> list[Plain]:
        copies: list[Plain] = []
        if len(self._path) <= MAX_DEPTH:
            for entry in entries:
                if self._budget <= 0:
                    break

                self._path.append(len(copies))
                copies.append(self.value(entry))
                self._path.pop()

        if len(copies) < len(entries):
            self._note_cut(len(entries))
        return copies

    def text(self, text: str) -> str:
        """Return a text masked, then truncated, then without what cannot be stored."""
        if self._mask is not None:
            text = _masked(text, self._mask)

        size = len(text)
        if size > self._max_text or size > self._budget:
            kept = max(0, min(self._max_text, self._budget))
            text = text[:kept]
            self._note_cut(size)

        if not text.isascii() or "\0" in text:
            text = _storable(text)
        self._budget -= VALUE_COST + len(text)
        return text

    def _note_cut(self, size: int) -> None:
        path = ".".join(map(str, self._path))[:MAX_PATH]
        self._budget -= len(path)
        self.cut[path] = size


def read_field(source: object, name: str) -> object:
    """Return an attribute; `None` if there is none, a text if it cannot be read."""
    try:
        return getattr(source, name, None)
    except Exception as error:  # objects of the application may raise anything
        return f"<{name}: {type(error).__name__} when read>"


def _is_scalar(value: Any) -> TypeGuard[bool | int | float | None]:
    """Return whether JSON has this very value, and every reader takes it."""
    kind = type(value)
    if kind is int:
        return value.bit_length() <= MAX_INT_BITS  # type: ignore[no-any-return]
    if kind is float:
        return isfinite(value)
    return value is None or kind is bool


def _is_unchanged(value: object, before: object, content: Content) -> bool:
    """Return whether a field is what it was; what was not there before was `None`.

    The same list can have other entries meanwhile. But nobody changes a prompt.
    """
    return value is before and (type(value) in IMMUTABLE_CLASSES or content == PROMPT)


def _masked(text: str, mask: Callable[[str], str]) -> str:
    try:
        masked = mask(text)
    except Exception:  # it is not told, because its message could quote the text
        return WITHHELD
    if type(masked) is not str:
        return WITHHELD
    return masked


def _storable(text: str) -> str:
    """Return a text with escapes in place of lone surrogates and NUL.

    UTF-8 has no lone surrogates, and PostgreSQL has no NUL.
    """
    encoded = text.encode(errors="backslashreplace")
    return encoded.decode().replace("\0", "\\u0000")


@singledispatch
def simplify(value: Any) -> Any:
    """Return a value as text, a number, a mapping or a collection.

    Your own class is added with `simplify.register(Money, str)`.
    """
    shape = getattr(value, "shape", None)
    if shape:  # of an array or a table, which may take seconds to print
        return f"<{type(value).__name__} of {' x '.join(map(str, shape))}>"
    return str(value)


@simplify.register
def _(value: Integral) -> int | str:  # NumPy's integers too
    number = int(value)
    if number.bit_length() > MAX_INT_BITS:
        return str(number)
    return number


@simplify.register
def _(value: Real) -> float | str:
    number = float(value)
    if not isfinite(number):
        return str(number)
    return number


@simplify.register
def _(value: Decimal) -> float | str:
    number = float(value)
    if isfinite(number) and Decimal(repr(number)) == value:
        return number
    return str(value)


@simplify.register
def _(value: bytes | bytearray | memoryview) -> str:
    octets = memoryview(value).tobytes()
    if len(octets) > MAX_BYTES:
        return f"<{type(value).__name__} of {len(octets)}>"
    return repr(octets)


@simplify.register
def _(value: date | time) -> str:
    return value.isoformat()


@simplify.register
def _(value: Mapping | Sequence | Set) -> Any:  # type: ignore[type-arg]
    return value


@simplify.register
def _(value: str) -> str:
    return str.__str__(value)  # the `str` of an enumeration of texts can be something else


simplify.register(UserString, str)
simplify.register(BaseException, message_of)
