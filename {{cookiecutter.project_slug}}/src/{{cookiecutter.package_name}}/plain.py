"""Turns any value into plain data, in one walk that withholds, converts, masks and truncates.

A `Serializer` has a budget of characters. Each value takes something from it, so the size of a
record is bounded whatever its values are made of. For each value it does this:

1. If a switch that the field needs is off, the value is withheld (`field`).
2. JSON's own types stay as they are, and `simplify` converts the others (`value`).
3. A container is walked entry by entry until the budget is used up (`_mapping`, `_sequence`).
4. A text is masked, then truncated, then characters that cannot be stored are escaped (`text`).
   What else a format must escape, `formats.py` escapes later.

Objects of the application may raise anything while they are read. Then a text says so in the place
of the value.
"""

from collections import UserString
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from datetime import date, time
from decimal import Decimal
from functools import singledispatch
from math import isfinite
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeGuard

from dbally.collection.results import ExecutionResult

from .failures import error_chain, message_of, warn_once
from .privacy import (
    INPUT_AND_OUTPUT,
    METADATA,
    WITHHELD,
    Switches,
    needed_switches,
)

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = dict[str, JsonValue]

VALUE_COST = 16  # characters that a value takes from the budget, beside those of its text
MAX_DEPTH = 32  # containers inside containers
MAX_INT_BITS = 63  # beside the sign; some readers of JSON take no wider integers
MAX_BYTES = 1_000  # of a binary value
MAX_CAUSES = 19  # of one error
MAX_PATH = 300  # characters of a key path

# Objects of all other classes can be changed in place.
IMMUTABLE_CLASSES = frozenset([str, int, float, bool, type(None)])


class Serializer:
    """Makes plain data of the values of one record, until its budget is used up.

    Args:
        max_chars: the budget in characters.
        mask: from text to text, for every text before it is truncated; `None` for none.
        switches: names of the switches that are on.

    Attributes:
        cut: what was truncated: its key path, and its whole size in characters or entries.
    """

    def __init__(
        self, max_chars: int, mask: Callable[[str], str] | None, switches: Switches
    ) -> None:
        self.cut: dict[str, int] = {}
        self._budget = max_chars
        self._max_text = max_chars * 2 // 3  # so that one text leaves something for the others
        self._mask = mask
        self._switches = switches
        self._path: list[object] = []  # the keys and indexes that lead to the current value
        self._container_ids: list[int] = []  # of the containers that the current value is in

    def fields(self, source: object, start_values: dict[str, object]) -> JsonObject:
        """Return the fields of one of db-ally's objects that have changed since the start.

        Args:
            source: an event, a request or a result.
            start_values: the values that its fields had at the start, by name. A field that is not
                among them is compared with `None`, so fields that are `None` are left out.
        """
        data: JsonObject = {}
        for name, needed in needed_switches(source).items():
            value = read_field(source, name)
            if _is_unchanged(name, value, start_values.get(name)):
                continue

            # The result of a request has fields of its own. Elsewhere it is a value like any other.
            if name == "result" and isinstance(value, ExecutionResult):
                self._path.append(name)
                data[name] = self.fields(value, {})
                self._path.pop()
            else:
                data[name] = self.field(name, value, needed)
        return data

    def field(self, name: str, value: object, needed: Switches = METADATA) -> JsonValue:
        """Return a value as plain data, or as withheld if one of the needed switches is off."""
        if not needed <= self._switches:
            return WITHHELD

        self._path.append(name)
        plain = self.value(value)
        self._path.pop()
        return plain

    def labels(self, labels: dict[str, object]) -> JsonObject:
        """Return the labels of a request as plain data; empty if they cannot be read."""
        plain = self.field("labels", labels)
        if isinstance(plain, dict):
            return plain
        return {}

    def error(self, error: BaseException) -> JsonObject:
        """Return the type and message of an exception, and in `causes` those of what led to it."""
        outermost, *causes = error_chain(error)
        data = self._type_and_message("error", outermost)

        copies: list[JsonValue] = []
        for cause in causes[:MAX_CAUSES]:
            copies.append(self._type_and_message(f"error.causes.{len(copies)}", cause))
        if len(copies) < len(causes):
            self.cut["error.causes"] = len(causes)

        data["causes"] = copies
        return data

    def _type_and_message(self, path: str, error: BaseException) -> JsonObject:
        message = self.field(path, error, INPUT_AND_OUTPUT)
        return {"type": type(error).__name__, "message": message}

    def value(self, value: Any) -> JsonValue:
        """Return any value as plain data."""
        if type(value) is str:
            return self.text(value)

        self._budget -= VALUE_COST
        if _is_json_scalar(value):
            return value
        try:
            return self._converted(value)
        except Exception as error:  # objects of the application may raise anything
            return self.text(f"<{type(value).__name__}: {type(error).__name__} when read>")

    def _converted(self, value: Any) -> JsonValue:
        if type(value) is not dict and type(value) is not list:
            simplified = simplify(value)
            if simplified is not value:
                return self.value(simplified)

        if id(value) in self._container_ids:
            return self.text(f"<{type(value).__name__} inside itself>")

        self._container_ids.append(id(value))
        self._path.append("")  # which the loops below replace by the key of each entry
        try:
            entries = self._entries(value)
        finally:
            self._path.pop()
            self._container_ids.pop()

        if len(entries) < len(value):
            self._note_cut(len(value))
        return entries

    def _entries(self, container: Any) -> JsonObject | list[JsonValue]:
        if len(self._container_ids) > MAX_DEPTH:
            return []
        if not isinstance(container, list) and isinstance(container, Mapping):
            return self._mapping(container)
        return self._sequence(container)

    def _mapping(self, mapping: Mapping[Any, Any]) -> JsonObject:
        data: JsonObject = {}
        for key in mapping:
            if self._budget <= 0:
                break

            self._path[-1] = "(key)"
            name = self.text(str(key))
            while name in data:  # another key has the same text
                name += f"~{len(data)}"
            self._path[-1] = name
            data[name] = self.value(mapping[key])
        return data

    def _sequence(self, sequence: Collection[Any]) -> list[JsonValue]:
        copies: list[JsonValue] = []
        for entry in sequence:
            if self._budget <= 0:
                break

            self._path[-1] = len(copies)
            copies.append(self.value(entry))
        return copies

    def text(self, text: str) -> str:
        """Return a text masked, then truncated, then without characters that cannot be stored."""
        if self._mask is not None:
            text = _masked(text, self._mask)

        size = len(text)
        if text and (size > self._max_text or size > self._budget):
            room = min(self._max_text, self._budget)
            text = text[: max(room, 0)]
            self._note_cut(size)

        if not text.isascii() or "\0" in text:
            text = _storable(text)
        self._budget -= VALUE_COST + len(text)
        return text

    def _note_cut(self, size: int) -> None:
        path = ".".join(str(key) for key in self._path)[:MAX_PATH]
        self._budget -= len(path)
        self.cut[path] = size


def read_field(source: object, name: str) -> object:
    """Return an attribute; `None` if there is none, a text if it cannot be read."""
    try:
        return getattr(source, name, None)
    except Exception as error:  # objects of the application may raise anything
        return f"<{name}: {type(error).__name__} when read>"


def field_values(source: object) -> dict[str, object]:
    """Return the fields of one of db-ally's objects as they are."""
    return {name: read_field(source, name) for name in needed_switches(source)}


def _is_json_scalar(value: Any) -> TypeGuard[bool | int | float | None]:
    """Return whether JSON has this value, and every reader of JSON takes it."""
    kind = type(value)
    if kind is int:
        return value.bit_length() <= MAX_INT_BITS  # type: ignore[no-any-return]
    if kind is float:
        return isfinite(value)
    return value is None or kind is bool


def _is_unchanged(name: str, value: object, start_value: object) -> bool:
    if value is not start_value:
        return False
    if type(value) in IMMUTABLE_CLASSES:
        return True

    # The same list may have other entries by now. But db-ally does not change a prompt.
    return name == "prompt"


def _masked(text: str, mask: Callable[[str], str]) -> str:
    try:
        masked = mask(text)
        problem = f"returns {type(masked).__name__}"
    except Exception as error:
        masked = None
        problem = f"raises {type(error).__name__}"  # its message could quote the text

    if type(masked) is str:
        return masked
    warn_once(f"The mask {problem} in place of a text. Texts are recorded as {WITHHELD}.")
    return WITHHELD


def _storable(text: str) -> str:
    """Return a text with escapes in place of lone surrogates and NUL.

    UTF-8 has no lone surrogates, and PostgreSQL has no NUL.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode(errors="backslashreplace").decode()

    return text.replace("\0", "\\u0000")


@singledispatch
def simplify(value: Any) -> Any:
    """Return a value as something simpler, down to JSON's own types.

    A container is returned as it is: its entries are converted one by one. For a class of your own,
    register a function, which may return anything: `simplify.register(Money, str)`.
    """
    shape = getattr(value, "shape", None)
    if shape:  # of an array or a table, which may take seconds to print
        return f"<{type(value).__name__} of {' x '.join(map(str, shape))}>"
    return str(value)


@simplify.register
def _(value: str) -> str:
    return str.__str__(value)  # the `str` of an enumeration of texts can be something else


simplify.register(UserString, str)
simplify.register(BaseException, message_of)


@simplify.register
def _(value: Integral) -> int | str:  # NumPy's integers too
    number = int(value)
    return number if _is_json_scalar(number) else str(number)


@simplify.register
def _(value: Real) -> float | str:
    number = float(value)
    return number if _is_json_scalar(number) else str(number)


@simplify.register
def _(value: Decimal) -> float | str:
    number = float(value)
    if isfinite(number) and Decimal(repr(number)) == value:
        return number
    return str(value)


@simplify.register
def _(value: date | time) -> str:
    return value.isoformat()


@simplify.register
def _(value: bytes | bytearray | memoryview) -> str:
    size = memoryview(value).nbytes
    if size > MAX_BYTES:
        return f"<{type(value).__name__} of {size}>"
    return repr(bytes(value))


@simplify.register
def _(value: Mapping | Sequence | Set) -> Any:  # type: ignore[type-arg]
    return value
