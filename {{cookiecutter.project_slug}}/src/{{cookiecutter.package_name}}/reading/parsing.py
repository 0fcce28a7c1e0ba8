"""What one line says, and what the lines of a request say together.

A line is a record only if it is JSON, has a possible time, an id and a kind, and if the values that
are read have the types that a recorder gives them. Keys that are not known here are ignored. What
passes `parse_record` can be used without a further look.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias

Row: TypeAlias = dict[str, Any]
Outcome: TypeAlias = Literal["ok", "failed", "unfinished"]

OUTCOMES: dict[str, Outcome] = {"request_end": "ok", "request_failed": "failed"}
KINDS = {"request_start", "event_start", "event_end", "event_failed"} | OUTCOMES.keys()
HEX_DIGITS = frozenset("0123456789abcdef")
LONGEST_ELAPSED = 1e9  # seconds, which is 31 years

# Types of the keys that are read; each may be missing.
TYPES = {
    "event_id": int,
    "event": str,
    "step": str,
    "process": str,
    "labels": dict,
    "summary": dict,
}
SUMMARY_TYPES = {
    "collection": str,
    "labels": dict,
    "view": str,
    "failed_step": str,
    "rows": int,
    "calls": int,
    "failed_calls": int,
    "prompt_tokens": int,
    "completion_tokens": int,
    "total_tokens": int,
}


class File(NamedTuple):
    """A file that was found. Files compare by when they were written.

    Attributes:
        written: when it was written last, in seconds since 1970.
        size: in bytes.
        path: where it is, absolute.
        is_named: the caller named it; it was not found in a directory.
    """

    written: float
    size: int
    path: str
    is_named: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, as far as files tell of it; what they do not tell is `None`.

    Attributes:
        request_id: 32 hex digits.
        outcome: "unfinished" if it neither ended nor failed, for example because its process was
            killed.
        elapsed: seconds. It is an upper bound if the request failed and `error` is `None`.
        rows: those of the result, as far as they were recorded.
        row_count: how many the result had.
        error: `type`, `message` and `causes`, outermost first.
        failed_step: which LLM call or event failed last.
        path: the file with its last record.
        offset: where its first record begins in that file, in bytes (uncompressed).
        written: when that file was written last, in seconds since 1970.
    """

    request_id: str
    started: datetime
    outcome: Outcome
    elapsed: float | None
    collection: str
    question: str | None
    labels: Row
    process: str | None
    view: str | None
    iql: Any
    sql: str | None
    answer: str | None
    rows: Any
    row_count: int | None
    error: Row | None
    failed_step: str | None
    calls: int | None
    failed_calls: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    path: str
    offset: int
    written: float


def parse_record(line: bytes) -> Row | None:
    """Return the record that a line holds, or `None` if it holds none."""
    try:
        row: Row = _decode(line.decode("utf-8", "replace"))
        if _is_possible(row):
            return row
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        pass  # it is no JSON, or its values have other types than those of a record
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_decode = json.JSONDecoder(parse_constant=_refuse).decode


def _is_possible(row: Row) -> bool:
    """Return whether a recorder can have written this; whatever it raises, none has."""
    time = time_of(row)
    if time.tzinfo is None or not 1970 <= time.year < 9999:  # it exists in every time zone
        return False

    request_id = row["request_id"]
    if len(request_id) != 32 or not HEX_DIGITS.issuperset(request_id):
        return False
    if row["kind"] not in KINDS:
        return False

    elapsed = row.get("elapsed")
    if elapsed is not None and not 0 <= elapsed < LONGEST_ELAPSED:
        return False

    error = row.get("error")
    if error is not None:
        chain = [error, *error["causes"]]
        if not all(map(_is_error, chain)):
            return False

    summary = row.get("summary") or {}
    return _has_types(row, TYPES) and _has_types(summary, SUMMARY_TYPES)


def _is_error(error: Row) -> bool:
    return isinstance(error["type"], str) and isinstance(error["message"], str)


def _has_types(values: Row, types: dict[str, type]) -> bool:
    for name, expected in types.items():
        value = values.get(name)
        if value is not None and not isinstance(value, expected):
            return False
    return True


def time_of(row: Row) -> datetime:
    """Return when a record was made."""
    return datetime.fromisoformat(row["time"])


def make_request(start: Row | None, last: Row, file: File, offset: int) -> Request:
    """Return the request of which a file holds these records.

    Args:
        start: its `request_start`, if the file has it.
        last: its last record, which is `start` if it has not finished.
        file: where they are.
        offset: where `start` begins in the file; 0 if the file does not have it.
    """
    first = start or last
    summary = last.get("summary") or {}
    asked = mapping(first.get("data"))
    result = mapping(mapping(last.get("data")).get("result"))
    context = mapping(result.get("context"))

    elapsed = last.get("elapsed")
    started = time_of(first)
    if start is None:
        started -= timedelta(seconds=elapsed or 0)

    return Request(
        request_id=last["request_id"],
        started=started,
        outcome=OUTCOMES.get(last["kind"], "unfinished"),
        elapsed=elapsed,
        collection=summary.get("collection") or _text(asked.get("collection_name")) or "",
        question=_text(asked.get("question", summary.get("question"))),
        labels=first.get("labels") or summary.get("labels") or {},
        process=first.get("process"),
        view=summary.get("view"),
        iql=context.get("iql"),
        sql=_text(context.get("sql")),
        answer=_text(result.get("textual_response")),
        rows=result.get("results"),
        row_count=summary.get("rows"),
        error=last.get("error"),
        failed_step=summary.get("failed_step"),
        calls=summary.get("calls"),
        failed_calls=summary.get("failed_calls"),
        prompt_tokens=summary.get("prompt_tokens"),
        completion_tokens=summary.get("completion_tokens"),
        total_tokens=summary.get("total_tokens"),
        path=file.path,
        offset=offset,
        written=file.written,
    )


def make_events(rows: Iterable[Row]) -> list[Row]:
    """Return the last record of each event of a request, with `started`, when the event started.

    They are in the order in which the events started.
    """
    made: dict[int, Row] = {}
    for row in rows:
        number = row.get("event_id")
        if number is not None:
            elapsed = timedelta(seconds=row.get("elapsed") or 0)
            started = time_of(row) - elapsed
            if number in made:
                started = made[number]["started"]
            made[number] = {**row, "started": started}
    return list(made.values())


def name_of(event: Row) -> str:
    """Return what an LLM call was for, or else the class of an event."""
    return event.get("step") or event.get("event") or ""


def mapping(value: Any) -> Row:
    """Return a mapping as it is, and an empty one in place of what was withheld or cut."""
    if isinstance(value, dict):
        return value
    return {}


def _text(value: Any) -> str | None:
    """Return a text as it is, and any other value as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
