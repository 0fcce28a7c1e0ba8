"""What a record is, and what may be in it: the privacy switches live here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

from dbally.audit.events import FallbackEvent, LLMEvent, RequestEnd, RequestStart, SimilarityEvent
from dbally.collection.results import ExecutionResult

from .values import Limits, Path, Plain, PlainCopy

Kind = Literal["request_start", "event_start", "event_end", "event_failed", "request_end", "request_failed"]
Data: TypeAlias = dict[str, Plain]

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


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Request:
    """What identifies a request: 32 hex digits, its collection, and when it started (UTC)."""

    request_id: str
    collection: str
    started_at: datetime


class Record(NamedTuple):
    """One thing that happened to a request. A sink gets nothing else.

    Attributes:
        time: when, UTC.
        request: the request it happened to.
        kind: what happened.
        event_id: number of the event within its request, from 1; `None` for the request itself.
        event: class name of the event.
        elapsed: seconds since the start of the event or the request, from a monotonic clock.
        error: `type` and `message` of what made it fail; `None` where db-ally hides it.
        data: db-ally's own fields, as plain data; an end leaves out what its start holds.
        cut: paths in `data` that were cut to the limits, with their whole size.
        open_events: with `request_failed`, the events that started and never ended.
    """

    time: datetime
    request: Request
    kind: Kind
    event_id: int | None = None
    event: str | None = None
    elapsed: float | None = None
    error: Data | None = None
    data: Data | None = None
    cut: Mapping[str, int] | None = None
    open_events: Mapping[int, str] | None = None

    def as_dict(self) -> Data:
        """Return the record as JSON shows it: the keys that belong to its kind, in a fixed order."""
        row: Data = {
            "time": self.time.isoformat(timespec="microseconds"),
            "request_id": self.request.request_id,
            "kind": self.kind,
        }
        if self.event_id is not None:
            row |= {"event_id": self.event_id, "event": self.event}
        if self.elapsed is not None:
            row["elapsed"] = round(self.elapsed, 6)
        if self.kind.endswith("_failed"):
            row["error"] = self.error
        else:
            row["data"] = self.data
        if self.open_events is not None:
            row["open_events"] = [{"event_id": number, "event": name} for number, name in self.open_events.items()]
        if self.cut:
            row["cut"] = dict(self.cut)
        return row


@lru_cache(maxsize=256)
def _content(source: type[Any]) -> dict[str, frozenset[str]]:
    """Return what each field of a class can hold, in the order of records."""
    known = next((CONTENT[base] for base in source.__mro__ if base in CONTENT), {})
    return known | {field.name: _BOTH for field in fields(source) if field.name not in known}


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
        self, source: object, known: Mapping[str, Plain], error: BaseException | None
    ) -> tuple[Data | None, Data | None, Mapping[str, int]]:
        """Return the fields of `source` that `known` does not have, the error, and what was cut of them."""
        copy = PlainCopy(self._limits)
        data = failure = None
        if source is not None:
            data = {name: value for name, value in self._fields(source, copy, None).items() if value != known.get(name)}
        if error is not None:
            message = copy.copy(error, (None, "message")) if self._allowed >= _BOTH else WITHHELD
            failure = {"type": type(error).__name__, "message": message}
        return data, failure, copy.cut

    def _fields(self, source: object, copy: PlainCopy, path: Path) -> Data:
        content = _content(type(source))  # type: ignore[arg-type]  # mypy takes classes for unhashable
        data: Data = {}
        for name in dict.fromkeys([*content, *getattr(source, "__dict__", ())]):
            value = getattr(source, name, None)
            if value is None:
                data[name] = None
            elif not content.get(name, _BOTH) <= self._allowed:
                data[name] = WITHHELD
            elif type(value) in CONTENT:
                data[name] = self._fields(value, copy, (path, name))
            else:
                data[name] = copy.copy(value, (path, name))
        return data
