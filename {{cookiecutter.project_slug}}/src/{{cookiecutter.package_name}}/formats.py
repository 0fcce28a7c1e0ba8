"""A record as text for a person, and as a line of JSON for a program: pure functions."""

import json
import re
from collections.abc import Callable, Iterator
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
_LABELS = dict(collection_name="Collection", textual_response="Answer", results="Output", sql="SQL", iql="IQL")
_COUNTS = {"rows": "rows", "calls": "calls", "failed_calls": "failed", "total_tokens": "tokens"}
_TOKENS = {"prompt_tokens": "prompt", "completion_tokens": "completion", "total_tokens": "total"}
_TOLD = {"view_name", *_TOKENS}  # elsewhere in the same record
_ANSWERS = ("answer", "explanation")  # steps whose response the end of the request tells
_MESSAGE = {"role", "content"}  # keys of each message of a prompt; of some, db-ally says whether it is an example
_UNKNOWN = {"type": "unknown", "message": "put `recording()` around the `ask` to know it", "causes": []}
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
        is_late = "error" in row and row["error"] is None  # it failed some time before that was known
        headline += f"  Elapsed Time: {'at most ' * is_late}{show_seconds(row['elapsed'])}"
    lines = [headline]
    for name, value in row.items():
        if name not in _IN_HEADLINE:
            told = _fields(value or {}, row.get("step")) if name == "data" else _told(name, value, row)
            for label, text in told:
                _add(lines, gutter, _label(label), text)
    return escape("\n".join([*lines, ""]))  # once for all: what is escaped is in no line of the format's own


def _told(name: str, value: Any, row: Any) -> Iterator[tuple[str, Any]]:
    """Yield what there is to tell of a key, each with its name."""
    match name:
        case "dbally":
            yield "request", f"{row['request_id']}, db-ally {value}"
        case "error":
            first, *causes = show_errors(value or _UNKNOWN)
            yield "question", row.get("summary", {}).get("question")
            yield "error", first
            yield from (("caused_by", cause) for cause in causes)
        case "summary":
            told = [key for key in _COUNTS if value.get(key) or (key == "rows" and key in value)]
            counts = [f"{value[key]} {_COUNTS[key]}" for key in told]
            yield "summary", ", ".join([value.get("view", "no view"), *counts])
        case "open_events":
            yield "open", ", ".join(f"{event['event_id']} {event['event']}" for event in value)
        case "cut":
            yield from (("cut", f"{path}, {size} in all") for path, size in value.items())
        case _:
            yield name, value


def _fields(data: Any, step: str | None = None) -> Iterator[tuple[str, Any]]:
    """Yield the fields of db-ally's objects, with those of the result and its context among them."""
    for name, value in data.items():
        if name in ("result", "context") and isinstance(value, dict):
            yield from _fields(value)
        elif name.startswith("execution_time") and type(value) is float:
            yield name, show_seconds(value)
        elif name not in _TOLD and not (name == "response" and step in _ANSWERS):
            yield name, value
    if "total_tokens" in data:
        yield "tokens", ", ".join(f"{data[name]} {what}" for name, what in _TOKENS.items() if name in data)


def _add(lines: list[str], gutter: str, label: str, value: Any, depth: int = 1) -> None:
    if type(value) is str and value:
        bar = f"\n{gutter} | "
        shown = bar + value.replace("\n", bar) if "\n" in value else " " + value
        lines.append(f"{gutter}   {label}:{shown}")
    elif type(value) is dict and depth < _DEEPEST:
        for name, item in value.items():
            _add(lines, gutter, f"{label} {_LABELS.get(name) or _one_line(name)}", item, depth + 1)
    elif type(value) is list and value:
        if all(type(item) is dict and item.keys() - {"is_example"} == _MESSAGE for item in value):
            for item in value:
                _add(lines, gutter, f"{label} {_one_line(str(item['role']))}", item["content"])
        else:
            lines += [f"{gutter}   {label}:", *[f"{gutter}   - {_to_json(item)}" for item in value]]
    elif value not in (None, "", [], {}):
        lines.append(f"{gutter}   {label}: {_to_json(value)}")


@lru_cache(maxsize=256)
def _label(name: str) -> str:
    return _LABELS.get(name) or _one_line(name[:1].upper() + name[1:].replace("_", " "))


def show_errors(error: Any) -> list[str]:
    """Return the error of a record and its causes, a text each; nothing of `None`."""
    errors = [error, *error["causes"]] if error else []
    return [": ".join(filter(None, (each["type"], each["message"]))) for each in errors]


def show_seconds(seconds: float) -> str:
    """Return a duration for a person, in seconds whatever its size."""
    return f"{seconds:.3f} s" if seconds >= 0.01 else f"{seconds:.6f} s"


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")


def escape(text: str) -> str:
    """Return `text` with every character that cannot be seen as its escape, written out; newlines stay."""
    if text.encode().translate(None, _HARMLESS):  # which is ten times faster than to search
        return _FIND_HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)
    return text


FORMATS: dict[str, Callable[[Record], str]] = {"text": format_text, "jsonl": format_json}
