"""What may be in a record: the privacy switches live here and nowhere else."""

from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

from dbally.audit.events import FallbackEvent, LLMEvent, RequestEnd, RequestStart, SimilarityEvent
from dbally.collection.results import ExecutionResult

from .limits import Limits, Path, PlainCopy
from .records import Data

WITHHELD = "[withheld]"

# What a field can hold. A prompt can quote rows and earlier answers, an error the SQL and its
# literals, a `repr` anything: such a field is recorded only while both switches are on.
_METADATA: frozenset[str] = frozenset()
_INPUTS = frozenset({"inputs"})
_OUTPUTS = frozenset({"outputs"})
_BOTH = _INPUTS | _OUTPUTS

# Every field of db-ally's classes. One that is not named here, and every field of an event that
# the application made, counts as both.
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
        "triggering_view_name": _METADATA,
        "fallback_collection_name": _METADATA,
        "error_description": _BOTH,
    },
    RequestEnd: {"result": _METADATA},  # looked into, field by field
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
        self, source: object, known: Data, error: BaseException | None
    ) -> tuple[Data | None, Data | None, Mapping[str, int]]:
        """Return the fields of `source` that `known` does not have, the error, and what was cut of them."""
        copy = PlainCopy(self._limits)
        data = failure = None
        if source is not None:
            data = {name: value for name, value in self._fields(source, copy, ()).items() if value != known.get(name)}
        if error is not None:
            message = copy.copy(error, ("message",)) if self._allowed >= _BOTH else WITHHELD
            failure = {"type": type(error).__name__, "message": message}
        return data, failure, copy.cut

    def _fields(self, source: object, copy: PlainCopy, path: Path) -> Data:
        may_record = _may_record(type(source), self._allowed)  # type: ignore[arg-type]  # see limits.py
        attributes = getattr(source, "__dict__", may_record).keys()
        if not attributes <= may_record.keys():  # set without a declaration
            may_record = may_record | {name: self._allowed >= _BOTH for name in attributes if name not in may_record}
        data: Data = {}
        for name, is_allowed in may_record.items():
            value = getattr(source, name, None)
            if value is None:
                data[name] = None
            elif not is_allowed:
                data[name] = WITHHELD
            elif type(value) in CONTENT:
                data[name] = self._fields(value, copy, (*path, name))
            else:
                data[name] = copy.copy(value, (*path, name))
        return data


@lru_cache(maxsize=256)
def _may_record(source: type[Any], allowed: frozenset[str]) -> dict[str, bool]:
    """Return which fields of a class may be recorded, in the order of records."""
    known = next((CONTENT[base] for base in source.__mro__ if base in CONTENT), {})
    content = known | {field.name: _BOTH for field in fields(source) if field.name not in known}
    return {name: holds <= allowed for name, holds in content.items()}
