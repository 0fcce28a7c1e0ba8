"""What may be in a record: the privacy switches live here and nowhere else."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

from dbally.audit.events import FallbackEvent, LLMEvent, RequestEnd, RequestStart, SimilarityEvent
from dbally.collection.results import ExecutionResult

from .limits import Limits, Path, PlainCopy
from .records import Data
from .values import Plain

WITHHELD = "[withheld]"

# What is the same object of one of these as before is not new. (db-ally's prompts are tuples; it changes none.)
_FIXED = (str, int, float, bool, tuple, type(None))

# What a field can hold. A prompt can quote rows and earlier answers, an error the SQL and its
# literals, a `repr` anything: such a field is recorded only while both switches are on.
_METADATA: frozenset[str] = frozenset()
_INPUTS = frozenset({"inputs"})
_OUTPUTS = frozenset({"outputs"})
_BOTH = _INPUTS | _OUTPUTS

# Every field of db-ally's classes. Any other field, as of an event of the application, counts as both.
CONTENT: dict[type, dict[str, frozenset[str]]] = {
    RequestStart: {"collection_name": _METADATA, "question": _INPUTS},
    LLMEvent: {
        "type": _METADATA,
        "prompt": _BOTH,
        "response": _OUTPUTS,
        "completion_tokens": _METADATA,
        "prompt_tokens": _METADATA,
        "total_tokens": _METADATA,
    },
    SimilarityEvent: {"store": _BOTH, "fetcher": _BOTH, "input_value": _BOTH, "output_value": _OUTPUTS},
    FallbackEvent: {
        "triggering_collection_name": _METADATA,
        "triggering_view_name": _OUTPUTS,  # all that the model said, if that is no view's name
        "fallback_collection_name": _METADATA,
        "error_description": _BOTH,
    },
    RequestEnd: {"result": _BOTH},  # but it is looked into, field by field
    ExecutionResult: {
        "textual_response": _OUTPUTS,
        "view_name": _METADATA,
        "execution_time": _METADATA,
        "execution_time_view": _METADATA,
        "context": _OUTPUTS,
        "results": _OUTPUTS,  # last: the rows take what the record has room for
    },
}


class Policy:
    """Decides what of db-ally's objects goes into a record.

    Args:
        record_inputs: whether questions and what else users typed may be recorded.
        record_outputs: whether responses, rows and SQL may be recorded.
        limits: how much of them.
    """

    def __init__(self, record_inputs: bool, record_outputs: bool, limits: Limits) -> None:
        self._allowed = (_INPUTS if record_inputs else _METADATA) | (_OUTPUTS if record_outputs else _METADATA)
        self._limits = limits

    def describe(
        self, source: object, before: Mapping[str, object], known: Data
    ) -> tuple[Data | None, Mapping[str, int]]:
        """Return what is new in `source`, or what it is if it is an error, and what was cut of that.

        New is a field that is not what it was `before`, and of which `known`, the record of that, says something else.
        """
        copier = PlainCopy(self._limits)
        if source is None:
            return None, copier.cut
        if isinstance(source, BaseException):
            message = self._plain(source, self._allowed >= _BOTH, copier, ("message",))
            return {"type": type(source).__name__, "message": message}, copier.cut
        data: Data = {}
        for name, value, is_allowed in self._fields(source):
            if value is before.get(name, known.get(name)) and type(value) in _FIXED:
                continue
            left, cut = copier.left, dict(copier.cut)
            plain = self._plain(value, is_allowed, copier, (name,))
            if plain == known.get(name):
                copier.left, copier.cut = left, cut  # it takes no room
            else:
                data[name] = plain
        return data, copier.cut

    def _plain(self, value: object, is_allowed: bool, copier: PlainCopy, path: Path) -> Plain:
        if value is None:
            return None
        if len(path) == 1 and issubclass(type(value), ExecutionResult):  # isinstance would ask the object itself
            return {name: self._plain(part, may, copier, (*path, name)) for name, part, may in self._fields(value)}
        if not is_allowed:
            return WITHHELD
        return copier.copy(value, path)

    def _fields(self, source: object) -> Iterator[tuple[str, object, bool]]:
        """Yield the name of each field, its value, and whether it may be recorded, in the order of records."""
        declared = _declared(type(source), self._allowed)  # type: ignore[arg-type]  # see limits.py
        for name in declared | getattr(source, "__dict__", {}):
            try:
                value = getattr(source, name, None)
            except Exception as error:  # the application's own objects may raise anything
                value = f"<{name}: {type(error).__name__} when read>"
            yield name, value, declared.get(name, self._allowed >= _BOTH)


@lru_cache(maxsize=256)
def _declared(source: type[Any], allowed: frozenset[str]) -> dict[str, bool]:
    known = next((CONTENT[base] for base in source.__mro__ if base in CONTENT), {})
    declared = fields(source) if is_dataclass(source) else ()
    content = known | {field.name: _BOTH for field in declared if field.name not in known}
    return {name: holds <= allowed for name, holds in content.items()}
