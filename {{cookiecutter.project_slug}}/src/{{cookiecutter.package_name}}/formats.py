"""A record as text for a person, and as a line of JSON for a program: pure functions."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from .records import Record

# What could move a cursor, break or reorder a line, or stay unseen: C0 but the newline, DEL, C1, line separators, bidi,
# and all else that Unicode calls Default_Ignorable_Code_Point (DerivedCoreProperties.txt), tags and zero widths among it.
_HIDDEN = (
    "\0-\t\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_FIND_HIDDEN = re.compile(f"[{_HIDDEN}]")
_HIDDEN_STARTS = {*range(32), 127} - {10} | {char.encode()[0] for char in _HIDDEN if char > "\x7f"}  # in UTF-8
_HARMLESS = bytes({*range(256)} - _HIDDEN_STARTS)

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode
_to_line = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode

_IN_HEADLINE = {"time", "request_id", "kind", "version", "dbally", "event_id", "event", "step", "elapsed"}
_LABELS = {"collection_name": "Collection", "textual_response": "Answer", "results": "Output", "sql": "SQL", "iql": "IQL"}
_UNKNOWN = {"type": "unknown", "message": "put `recording()` around the `ask` to know it", "causes": []}
_COUNTS = {"rows": "rows", "calls": "calls", "failed_calls": "failed", "total_tokens": "tokens"}
_SECONDS = ("execution_time", "execution_time_view")
_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
_TOLD = ("view_name", *_TOKENS)  # elsewhere in the same record
_ANSWERS = ("answer", "explanation")  # steps whose response the end of the request tells
_MESSAGE = {"role", "content", "is_example"}  # the keys of a message of a prompt
_DEEPEST = 3  # mappings inside mappings; what is inside more is shown as JSON


def format_json(record: Record) -> str:
    """Return the record as one line of strict JSON, newline included: UTF-8 whose every character can be seen."""
    return _escape(_to_line(record.as_dict())) + "\n"


def format_text(record: Record) -> str:
    """Return the record as lines that start with 8 digits of the request's id: a headline, and what happened.

    No text from outside can look like a line of the format's own: it stands behind a label or a bar.
    """
    return show(record.as_dict())


def show(row: Any) -> str:
    """Return what `Record.as_dict` gives, or the JSON of it read again, as `format_text` does."""
    headline = f"{row['time'][:10]} {row['time'][11:23]} {row['kind']}"
    if "event_id" in row:
        headline += f" {row['event_id']} {_one_line(row.get('step') or row['event'])}"
    if "elapsed" in row:
        is_late = row.get("error", "") is None  # it failed some time before that was known
        headline += f"  Elapsed Time: {'at most ' * is_late}{_seconds(row['elapsed'])}"
    gutter = f"{row['request_id'][:8]} "
    return gutter + "\n".join([headline, *_body(row)]).replace("\n", "\n" + gutter) + "\n"


def _body(row: Any) -> Iterator[str]:
    for name, value in row.items():
        match name:
            case "dbally":
                yield f"  Request: {row['request_id']}, db-ally {_one_line(value)}"
            case "error":
                yield from _errors(value or _UNKNOWN, row.get("summary", {}).get("question"))
            case "data":
                yield from _data(dict(_flat(value or {})), row.get("step"))
            case "summary":
                told = [f"{value[key]} {what}" for key, what in _COUNTS.items() if value.get(key)]
                yield f"  Summary: {', '.join([_one_line(value.get('view', 'no view')), *told])}"
            case "open_events":
                yield "  Open: " + ", ".join(f"{each['event_id']} {_one_line(each['event'])}" for each in value)
            case "cut":
                yield from (f"  Cut: {_one_line(path)}, {size} in all" for path, size in value.items())
            case _ if name not in _IN_HEADLINE:
                yield from _show(_label(name), value)


def _errors(error: Any, question: str | None) -> Iterator[str]:
    yield from _show("Question", question)
    for number, each in enumerate([error, *error["causes"]]):
        yield from _show("Caused by" if number else "Error", f"{each['type']}: {each['message']}")


def _data(fields: dict[str, Any], step: str | None) -> Iterator[str]:
    for name, value in fields.items():
        if name in _SECONDS:
            yield f"  {_label(name)}: {_seconds(value)}"
        elif name not in _TOLD and not (name == "response" and step in _ANSWERS):
            yield from _show(_label(name), value)
    if tokens := [f"{fields[name]} {name.removesuffix('_tokens')}" for name in _TOKENS if name in fields]:
        yield f"  Tokens: {', '.join(tokens)}"


def _flat(data: Any) -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        is_ours = name in ("result", "context") and isinstance(value, dict)
        yield from _flat(value) if is_ours else [(name, value)]


def _show(label: str, value: Any, depth: int = 1) -> Iterator[str]:
    if isinstance(value, str) and value:
        text = _escape(value)
        yield f"  {label}:" + (f"\n{text}".replace("\n", "\n| ") if "\n" in text else f" {text}")
    elif isinstance(value, dict) and depth < _DEEPEST:
        for key, item in value.items():
            yield from _show(f"{label} {_LABELS.get(key) or _one_line(key)}", item, depth + 1)
    elif isinstance(value, list) and value and all(isinstance(each, dict) and each.keys() == _MESSAGE for each in value):
        for message in value:
            yield from _show(f"{label} {_one_line(str(message['role']))}", message["content"], depth + 1)
    elif isinstance(value, list) and value:
        yield "\n".join([f"  {label}:", *(f"  - {_escape(_to_json(item))}" for item in value)])
    elif value not in (None, "", [], {}):
        yield f"  {label}: {_escape(_to_json(value))}"


def _label(name: str) -> str:
    return _LABELS.get(name) or _one_line(name[:1].upper() + name[1:].replace("_", " "))


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 0.01 else f"{seconds:.6f} s"


def _one_line(text: str) -> str:
    return _escape(text).replace("\n", "\\n")


def _escape(text: str) -> str:
    if text.encode().translate(None, _HARMLESS):  # which is ten times faster than to search
        return _FIND_HIDDEN.sub(lambda found: "\\u" + found[0].encode("utf-16-be").hex(" ", 2).replace(" ", "\\u"), text)
    return text


FORMATS: dict[str, Callable[[Record], str]] = {"text": format_text, "jsonl": format_json}
