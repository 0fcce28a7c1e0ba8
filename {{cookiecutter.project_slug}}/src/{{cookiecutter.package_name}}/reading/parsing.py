"""One record as it stands in a file of either format, parsed."""

import json
import re
from typing import Any, NamedTuple, TypeAlias

from ..formats import show

Facts: TypeAlias = dict[str, Any]

_JSON = re.compile(
    rb'\{"time": ?"(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z)", ?"request_id": ?"(?P<id>[0-9a-f]{32})", ?"kind": ?"(?P<kind>\w+)"'
)
_TEXT = re.compile(
    rb"(?P<id>[0-9a-f]{8}) (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) "
    rb"(?P<kind>(?:request|event)_(?:start|end|failed))(?: (?P<event_id>\d+) (?P<event>.+?))?"
    rb"(?:  Elapsed Time: (?P<late>at most )?(?P<elapsed>[\d.]+) s)?\n"
)
_SUMMARY = re.compile(
    rb"(?m)^[0-9a-f]{8}   Summary: (?:no view|(?P<view>.*?))(?:, (?P<row_count>\d+) rows)?(?:, (?P<calls>\d+) calls)?"
    rb"(?:, (?P<failed_calls>\d+) failed)?(?:, (?P<total_tokens>\d+) tokens)?$"
)
_FIELD_START = re.compile(r"(?m)^[0-9a-f]{8}   (?=[^ -])")
_IN_GROUPS = {"event": str, "view": str, "elapsed": float} | dict.fromkeys(
    ["event_id", "row_count", "calls", "failed_calls", "total_tokens"], int
)
_LABELS = {"SQL": "sql", "IQL": "iql", "Output": "rows"} | {
    name.capitalize(): name for name in ("collection", "question", "process", "answer")
}


class LogRecord(NamedTuple):
    """A record as it stands in a file.

    Attributes:
        request_id: 32 hex digits; the first 8 of them in a text file.
        time: when it happened, ISO 8601, UTC.
        kind: as in `Record`.
        raw: its lines.
    """

    request_id: str
    time: str
    kind: str
    raw: bytes

    def facts(self) -> Facts:
        """Return what it tells, by the names of `Request`, and of an event its `event_id` and its `event`."""
        facts = _facts_of_json(self.raw) if self.raw.startswith(b"{") else _facts_of_text(self.raw)
        return {name: value for name, value in facts.items() if value is not None}

    def text(self) -> str:
        """Return it as the text format shows it."""
        row = _load(self.raw)
        return show(row) if row else self.raw.decode("utf-8", "replace")


def parse_line(line: bytes) -> LogRecord | None:
    """Return the record that `line` is, or is the headline of, if it is one."""
    if found := _JSON.match(line) or _TEXT.fullmatch(line):
        request_id, time, kind = (part.decode() for part in found.group("id", "time", "kind"))
        return LogRecord(request_id, time.replace(" ", "T").rstrip("Z") + "Z", kind, line)
    return None


def _load(raw: bytes) -> Facts:
    try:
        return _mapping(json.loads(raw))
    except ValueError:  # text, or something else wrote into the file
        return {}


def _facts_of_json(raw: bytes) -> Facts:
    row = _load(raw)
    data, summary = _mapping(row.get("data")), _mapping(row.get("summary"))
    result = _mapping(data.get("result"))
    context = _mapping(result.get("context"))
    return {
        **{name: row.get(name) for name in ("labels", "process", "elapsed", "error", "event_id")},
        "event": row.get("step") or row.get("event"),
        "collection": data.get("collection_name"),
        "question": data.get("question"),
        **summary,
        "answer": result.get("textual_response"),
        "sql": context.get("sql"),
        "iql": context.get("iql"),
        "rows": result.get("results"),
        "row_count": summary.get("rows"),
    }


def _mapping(value: Any) -> Facts:
    return value if isinstance(value, dict) else {}  # else it is withheld


def _facts_of_text(raw: bytes) -> Facts:
    groups = _groups(_TEXT.match(raw)) | _groups(_SUMMARY.search(raw))
    facts: Facts = {name: make(groups[name]) for name, make in _IN_GROUPS.items() if name in groups}
    errors: list[Facts] = []
    for label, value in map(_field, _FIELD_START.split(raw.decode("utf-8", "replace"))[1:]):
        name, _, key = label.partition(" ")
        if label in ("Error", "Caused by"):
            kind, _, message = value.partition(": ")
            errors.append({"type": kind, "message": message})
        elif label == "Request":
            facts["request_id"] = value[:32]
        elif key and name in ("Labels", "IQL"):
            facts.setdefault(name.lower(), {})[key] = value
        elif label in _LABELS:
            facts.setdefault(_LABELS[label], value)
    if errors and "late" not in groups:
        facts["error"] = errors[0] | {"causes": errors[1:]}
    return facts


def _groups(found: re.Match[bytes] | None) -> dict[str, str]:
    return {name: value.decode() for name, value in found.groupdict().items() if value} if found else {}


def _field(part: str) -> tuple[str, Any]:
    """Return the label and the value of a field: text in one line, text behind bars, or a list of JSON."""
    label, _, value = part.partition(":")
    first, *lines = value.rstrip("\n").split("\n")
    if not lines:
        return label, first[1:]
    if lines[0][8:13] == "   - ":
        return label, [json.loads(line[13:]) for line in lines]
    return label, "\n".join(line[11:] for line in lines)
