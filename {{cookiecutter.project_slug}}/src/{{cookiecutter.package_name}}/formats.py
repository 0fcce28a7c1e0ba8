"""A record as text for a person, and as a line of JSON for a program: pure functions."""

import json
import re
from collections.abc import Callable
from functools import lru_cache
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

_IN_HEADLINE = {"time", "request_id", "kind", "version", "event_id", "event", "step", "elapsed"}
_LABELS = {
    "collection_name": "Collection",
    "textual_response": "Answer",
    "results": "Output",
    "sql": "SQL",
    "iql": "IQL",
}
_COUNTS = {"rows": "rows", "calls": "calls", "failed_calls": "failed", "total_tokens": "tokens"}
_TOKENS = {"prompt_tokens": "prompt", "completion_tokens": "completion", "total_tokens": "total"}
_TOLD = {"view_name", *_TOKENS}  # elsewhere in the same record
_ANSWERS = ("answer", "explanation")  # steps whose response the end of the request tells
_SECONDS = ("execution_time", "execution_time_view")
_MESSAGE = {
    "role",
    "content",
}  # keys that each message of a prompt has; db-ally says of some whether they are an example
_UNKNOWN = {"type": "unknown", "message": "put `recording()` around the `ask` to know it"}
_DEEPEST = 3  # mappings inside mappings; what is inside more is shown as JSON


def format_json(record: Record) -> str:
    """Return the record as one line of strict JSON, newline included: UTF-8 whose every character can be seen."""
    line = _to_line(record.as_dict())
    return (line if line.isascii() and "\x7f" not in line else escape(line)) + "\n"


def format_text(record: Record) -> str:
    """Return the record as lines that start with 8 digits of the request's id: a headline, and what happened.

    No text from outside can look like a line of the format's own: it stands behind a label or a bar.
    """
    return show(record.as_dict())


def show(row: Any) -> str:
    """Return what `Record.as_dict` gives, or the JSON of it read again, as `format_text` does."""
    gutter, time = row["request_id"][:8], row["time"]
    headline = f"{gutter} {time[:10]} {time[11:23]} {row['kind']}"
    if "event_id" in row:
        headline += f" {row['event_id']} {_one_line(row.get('step') or row['event'])}"
    if "elapsed" in row:
        is_late = row.get("error", "") is None  # it failed some time before that was known
        headline += f"  Elapsed Time: {'at most ' * is_late}{show_seconds(row['elapsed'])}"
    lines = [headline]
    for name, value in row.items():
        if name == "data":
            _add_data(lines, gutter, value or {}, row.get("step"))
        elif name not in _IN_HEADLINE:
            for label, text in _told(name, value, row):
                _add(lines, gutter, _label(label), text)
    return escape("\n".join([*lines, ""]))  # once for all: what is escaped is in no line of the format's own


def _add_data(lines: list[str], gutter: str, data: Any, step: str | None) -> None:
    for name, value in data.items():
        if name in ("result", "context") and isinstance(value, dict):
            _add_data(lines, gutter, value, step)
        elif name not in _TOLD and not (name == "response" and step in _ANSWERS):
            shown = show_seconds(value) if name in _SECONDS and type(value) is float else value
            _add(lines, gutter, _label(name), shown)
    if "total_tokens" in data:
        tokens = [f"{data[name]} {what}" for name, what in _TOKENS.items() if name in data]
        lines.append(f"{gutter}   Tokens: {', '.join(tokens)}")


def _told(name: str, value: Any, row: Any) -> list[tuple[str, Any]]:
    """Return what there is to tell of a key, each with its label."""
    match name:
        case "dbally":
            return [("Request", f"{row['request_id']}, db-ally {value}")]
        case "error":
            errors = [
                ": ".join(filter(None, (error["type"], error["message"])))
                for error in ([value, *value["causes"]] if value else [_UNKNOWN])
            ]
            question = row.get("summary", {}).get("question")
            return [("Question", question), ("Error", errors[0]), *(("Caused by", error) for error in errors[1:])]
        case "summary":
            told = (key for key in _COUNTS if value.get(key) or (key == "rows" and key in value))
            counts = [f"{value[key]} {_COUNTS[key]}" for key in told]
            return [("Summary", ", ".join([value.get("view", "no view"), *counts]))]
        case "open_events":
            return [("Open", ", ".join(f"{event['event_id']} {event['event']}" for event in value))]
        case "cut":
            return [("Cut", f"{path}, {size} in all") for path, size in value.items()]
    return [(name, value)]


def _add(lines: list[str], gutter: str, label: str, value: Any, depth: int = 1) -> None:
    if type(value) is str and value:
        bar = f"\n{gutter} | "
        shown = bar + value.replace("\n", bar) if "\n" in value else " " + value
        lines.append(f"{gutter}   {label}:{shown}")
    elif type(value) is dict and depth < _DEEPEST:
        for name, item in value.items():
            _add(lines, gutter, f"{label} {_LABELS.get(name) or _one_line(name)}", item, depth + 1)
    elif (
        type(value) is list
        and value
        and all(type(item) is dict and item.keys() - {"is_example"} == _MESSAGE for item in value)
    ):
        for item in value:
            _add(lines, gutter, f"{label} {_one_line(str(item['role']))}", item["content"], depth + 1)
    elif type(value) is list and value:
        lines += [f"{gutter}   {label}:", *[f"{gutter}   - {_to_json(item)}" for item in value]]
    elif value not in (None, "", [], {}):
        lines.append(f"{gutter}   {label}: {_to_json(value)}")


@lru_cache(maxsize=256)
def _label(name: str) -> str:
    return _LABELS.get(name) or _one_line(name[:1].upper() + name[1:].replace("_", " "))


def show_seconds(seconds: float) -> str:
    """Return a duration for a person, in seconds whatever its size."""
    return f"{seconds:.3f} s" if seconds >= 0.01 else f"{seconds:.6f} s"


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")


def escape(text: str) -> str:
    """Return `text` with every character that cannot be seen as its escape, written out; newlines stay."""
    if text.encode().translate(None, _HARMLESS):  # which is ten times faster than to search
        return _FIND_HIDDEN.sub(
            lambda found: "\\u" + found[0].encode("utf-16-be").hex(" ", 2).replace(" ", "\\u"), text
        )
    return text


FORMATS: dict[str, Callable[[Record], str]] = {"text": format_text, "jsonl": format_json}
