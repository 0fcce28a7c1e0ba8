"""Any value, made plain: what strict JSON can hold."""

import math
import numbers
from collections import UserString
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"

_MAX_INT_BITS = 4_096  # Python refuses to print integers of more than 4,300 digits
_MAX_ARRAY = 1_000  # values; NumPy and pandas can be set to print any number of them, which takes seconds


def _integer(value: numbers.Integral) -> int | str:
    number = int(value)
    return number if number.bit_length() <= _MAX_INT_BITS else hex(number)


def _real(value: numbers.Real | Decimal) -> float | str:
    real = float(value)
    is_exact = not isinstance(value, Decimal) or Decimal(repr(real)) == value
    return real if math.isfinite(real) and is_exact else str(value)


def _any(value: Any) -> str:
    shape = value.shape if hasattr(type(value), "shape") else ()  # as arrays and tables have it
    size = math.prod(shape) if type(shape) is tuple and all(type(length) is int for length in shape) else 0
    return str(value) if size <= _MAX_ARRAY else f"<{type(value).__name__} of {size}>"


_MAKERS: dict[tuple[type, ...], Callable[[Any], Any]] = {
    (str,): str.__str__,
    (bool, type(None)): lambda value: value,
    (numbers.Integral,): _integer,  # NumPy's too
    (numbers.Real, Decimal): _real,
    (date, time): lambda value: value.isoformat(),
    (bytes, bytearray, memoryview): bytes,
    (UserString,): str,
    (Mapping,): dict,
    (Sequence, AbstractSet): list,
    (object,): _any,
}


@lru_cache(maxsize=256)  # it takes long to ask abstract classes
def maker(kind: type[Any]) -> Callable[[Any], Any]:
    """Return the function that makes values of a class plain; for containers and bytes, the type to copy them to."""
    return next(make for kinds, make in _MAKERS.items() if issubclass(kind, kinds))
