"""From a line to a record, and from the records of a request to a `Request`.

A line is a record only if it is JSON, has a possible time, an id and a kind, and if the values that
are read have the types that a recorder gives them. Unknown keys are ignored. What passes
`parse_record` can be used without further checks.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

Row: TypeAlias = dict[str, Any]
Outcome: TypeAlias = Literal["ok", "failed", "unfinished"]

OUTCOMES: dict[str, Outcome] = {"request_end": "ok", "request_failed": "failed"}
KINDS = {"request_start", "event_start", "event_end", "event_failed"} | OUTCOMES.keys()
REQUEST_ID = re.compile("[0-9a-f]{32}")
LONGEST_ELAPSED = 1e9  # seconds, which is 31 years

# Expected types of the keys that are read, in a record and in its summary. All are optional.
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


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, as far as files have it. What they do not have is `None`.

    Attributes:
        request_id: 32 hex digits.
        outcome: "unfinished" if it neither ended nor failed, for example because its process was
            killed.
        elapsed: seconds. It is an upper bound if the request failed and `error` is `None`.
        rows: the rows of the result, as far as they were recorded.
        row_count: how many rows the result had.
        error: `type`, `message` and `causes`, outermost first.
        failed_step: the LLM call or event that failed last, unless a retry succeeded.
        path: the file with its last record.
        offset: where its first record begins in that file, in bytes (uncompressed).
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


def parse_record(line: bytes) -> Row | None:
    """Return the record that a line holds, or `None` if it holds none."""
    try:
        row: Row = json.loads(line.decode("utf-8", "replace"))
        if _is_possible(row):
            return row
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        pass  # it is not JSON, or its values have other types than those of a record
    return None


def _is_possible(row: Row) -> bool:
    """Return whether a recorder can have written this. If it raises, none has, either."""
    time = time_of(row)
    if time.tzinfo is None or not 1970 <= time.year < 9999:  # it exists in every time zone
        return False

    if not REQUEST_ID.fullmatch(row["request_id"]) or row["kind"] not in KINDS:
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


def make_request(start: Row | None, last: Row, path: str, offset: int) -> Request:
    """Return the request of which a file holds these records.

    Args:
        start: its `request_start`, if the file has it.
        last: its last record, which is `start` if it has not finished.
        path: of the file.
        offset: where `start` begins in the file; 0 if the file does not have it.
    """
    first = start or last
    summary = last.get("summary") or {}
    asked = as_mapping(first.get("data"))
    result = as_mapping(as_mapping(last.get("data")).get("result"))
    context = as_mapping(result.get("context"))

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
        path=path,
        offset=offset,
    )


def name_of(event: Row) -> str:
    """Return what an LLM call was for, or else the class of an event."""
    return event.get("step") or event.get("event") or ""


def as_mapping(value: Any) -> Row:
    """Return a mapping as it is, and an empty one in place of what was withheld or cut."""
    if isinstance(value, dict):
        return value
    return {}


def _text(value: Any) -> str | None:
    """Return a text as it is, and any other value as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
