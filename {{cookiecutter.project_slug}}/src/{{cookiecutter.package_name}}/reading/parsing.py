"""One record of a file of either format, and what it tells."""

import json
import re
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from ..formats import show

Facts: TypeAlias = dict[str, Any]

_JSON = re.compile(
    r'\{"time": ?"(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z)", ?"request_id": ?"(?P<id>[0-9a-f]{32})", ?"kind": ?"(?P<kind>\w+)"'
)
_TEXT = re.compile(
    r"(?P<id>[0-9a-f]{8}) (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) "
    r"(?P<kind>(?:request|event)_(?:start|end|failed))(?: (?P<event_id>\d+) (?P<event>.+?))?"
    r"(?:  Elapsed Time: (?P<late>at most )?(?P<elapsed>\d+\.\d+) s)?\n"
)
_FIELD = re.compile(r"(?m)^.{8}   ([^ \n-][^:\n]*):(.*(?:\n.{8} (?:\||  -) .*)*)")
_BAR, _ITEM = (
    re.compile(r"\n.{8} \| "),
    re.compile(r"\n.{8}   - (.*)"),
)  # of a text of several lines, of a list
_COUNT = re.compile(r", (\d+) (rows|calls|failed|tokens)\b")
_COUNTS = {
    "rows": "row_count",
    "calls": "calls",
    "failed": "failed_calls",
    "tokens": "total_tokens",
}


class LogRecord(NamedTuple):
    """A record as it stands in a file.

    Attributes:
        request_id: 32 hex digits; the first 8 of them in a text file.
        time: when it happened, ISO 8601, UTC.
        kind: as in `Record`.
        lines: one of JSON, or a headline and more of text.
    """

    request_id: str
    time: str
    kind: str
    lines: list[str]

    def facts(self) -> Facts:
        """Return what it tells, by the names of `Request`: its `time`, and of an event its `event_id` and its `event`."""
        text = "".join(self.lines)
        headline = _TEXT.match(text)
        facts = _facts_of_text(headline, text) if headline else _facts_of_json(_load(text))
        known = {name: value for name, value in facts.items() if value is not None}
        return {"request_id": self.request_id, **known, "time": datetime.fromisoformat(self.time)}

    def text(self) -> str:
        """Return it as the text format shows it."""
        text = "".join(self.lines)
        row = _load(text)
        return show(row) if row else text


def parse_line(line: str) -> LogRecord | None:
    """Return the record that `line` is, or is the headline of, if it is one."""
    found = _JSON.match(line) or _TEXT.fullmatch(line)
    return (
        LogRecord(found["id"], found["time"].rstrip("Z") + "Z", found["kind"], [line])
        if found
        else None
    )


def _load(text: str) -> Any:
    with suppress(ValueError):  # it is text, or was cut short
        return json.loads(text)
    return {}


def _facts_of_json(row: Facts) -> Facts:
    data, summary = _mapping(row.get("data")), _mapping(row.get("summary"))
    result = _mapping(data.get("result"))
    context = _mapping(result.get("context"))
    return {
        "collection": data.get("collection_name"),
        "question": data.get("question"),
        **row,
        **summary,
        "event": row.get("step") or row.get("event"),
        "answer": result.get("textual_response"),
        "sql": context.get("sql"),
        "iql": context.get("iql"),
        "rows": result.get("results"),
        "row_count": summary.get("rows"),
    }


def _mapping(value: Any) -> Facts:
    return value if isinstance(value, dict) else {}  # else it is withheld


def _facts_of_text(headline: re.Match[str], text: str) -> Facts:
    shown = _FIELD.findall(text)
    fields = [(label, _BAR.sub("\n", value)[1:]) for label, value in shown]
    first = dict(reversed(fields))
    summary = first.get("Summary", "no view")
    view = _COUNT.split(summary)[0]
    causes = [value.partition(": ") for label, value in fields if label in ("Error", "Caused by")]
    errors = [{"type": kind, "message": message} for kind, _, message in causes]
    return {
        **{_COUNTS[what]: int(number) for number, what in _COUNT.findall(summary)},
        **{
            name.lower(): first.get(name)
            for name in ("Process", "Collection", "Question", "Answer", "SQL")
        },
        "request_id": first.get("Request", "")[:32] or None,
        "event_id": headline["event_id"] and int(headline["event_id"]),
        "event": headline["event"],
        "elapsed": headline["elapsed"] and float(headline["elapsed"]),
        "labels": {label[7:]: value for label, value in fields if label.startswith("Labels ")}
        or None,
        "iql": {label[4:]: value for label, value in fields if label.startswith("IQL ")}
        or first.get("IQL"),
        "view": None if view == "no view" else view,
        "rows": [_load(item) for item in _ITEM.findall(dict(shown).get("Output", ""))]
        or first.get("Output"),
        "error": errors[0] | {"causes": errors[1:]} if errors and not headline["late"] else None,
    }
