"""A record as text for a person, and as a line of JSON for a program: pure functions.

Text is a headline, and below it each value behind its caption:

    1f2e3d4c 2026-11-25 10:54:07.050 event_end 1 filters  Elapsed Time: 0.250 s
    1f2e3d4c   Response: lives_in("Ann")
    1f2e3d4c   Output:
    1f2e3d4c   - {"name": "Ann", "city": "Gdynia"}
    1f2e3d4c   SQL:
    1f2e3d4c | SELECT name, city
    1f2e3d4c | FROM staff

Every line starts with 8 digits of the request's id. Text from outside never starts a line: it
stands behind a caption, a bar or a dash. Characters that cannot be seen are shown as escapes. So
nothing in a log can be forged or hidden.
"""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the command uses this module, and must start without importing db-ally
    from .records import Record

# What could move a cursor, break or reorder a line, or stay unseen: control characters except the
# newline, line separators, bidirectional controls, and all else that Unicode calls
# Default_Ignorable_Code_Point (DerivedCoreProperties.txt).
HIDDEN_CHARACTER = re.compile(
    "[\0-\t\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# The bytes with which these begin in UTF-8. Change both together: a test compares them.
SUSPICIOUS_BYTES = {*range(32), 0x7F, 0xC2, 0xCD, 0xD8, 0xE1, 0xE2, 0xE3, 0xEF, 0xF0, 0xF3} - {10}
HARMLESS_BYTES = bytes(set(range(256)) - SUSPICIOUS_BYTES)

# Captions of fields whose own names do not read well.
CAPTIONS = {
    "collection_name": "Collection",
    "textual_response": "Answer",
    "results": "Output",
    "sql": "SQL",
    "iql": "IQL",
}
# Keys of a record that `show` treats one by one.
SHOWN_KEYS = {
    "time",
    "request_id",
    "kind",
    "version",
    "dbally",
    "process",
    "labels",
    "event_id",
    "event",
    "step",
    "elapsed",
    "error",
    "data",
    "summary",
    "open_events",
    "cut",
}
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
SUMMARY_UNITS = {
    "rows": "rows",
    "calls": "calls",
    "failed_calls": "failed",
    "total_tokens": "tokens",
}
MAX_DEPTH = 3  # mappings inside mappings; what is deeper is shown as JSON
UNKNOWN_ERROR = "unknown: put `recording()` directly around the `ask` to know it"

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode
_to_compact_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def format_json(record: "Record") -> str:
    """Return the record as one line of strict JSON, newline included."""
    line = _to_compact_json(record.as_dict())
    if not line.isascii() or "\x7f" in line:  # JSON escapes the other control characters of ASCII
        line = escape(line)
    return line + "\n"


def format_text(record: "Record") -> str:
    """Return the record as lines of text, newlines included."""
    return show(record.as_dict())


def show(row: dict[str, Any]) -> str:
    """Return the text of a record; `row` is its `as_dict`, or the JSON of that read again."""
    lines = [_headline(row)]
    if "dbally" in row:
        _add(lines, "Request", f"{row['request_id']}, db-ally {row['dbally']}")
    _add(lines, "Process", row.get("process"))
    _add(lines, "Labels", row.get("labels"))

    if "error" in row:
        _add_error(lines, row["error"])
    _add_data(lines, row.get("data"))
    if "summary" in row:
        _add_summary(lines, row["summary"], row["kind"])

    events = [f"{event['event_id']} {event['event']}" for event in row.get("open_events", [])]
    _add(lines, "Open", ", ".join(events))
    for path, size in row.get("cut", {}).items():
        _add(lines, "Cut", f"{path}, {size} in all")

    for name, value in row.items():  # keys that were added to `Record` later
        if name not in SHOWN_KEYS:
            _add(lines, _caption(name), value)

    gutter = row["request_id"][:8]
    body = "\n".join(lines).replace("\n", f"\n{gutter} ")
    return escape(f"{gutter} {body}\n")


def _headline(row: dict[str, Any]) -> str:
    time = row["time"][:23].replace("T", " ")  # to the millisecond
    headline = f"{time} {row['kind']}"

    if "event_id" in row:
        event = row.get("step") or row["event"]
        headline += f" {row['event_id']} {event}"

    if "elapsed" in row:
        elapsed = show_seconds(row["elapsed"])
        if "error" in row and row["error"] is None:  # it may have failed some time ago
            elapsed = f"at most {elapsed}"
        headline += f"  Elapsed Time: {elapsed}"

    return _one_line(headline)


def _add_error(lines: list[str], error: Any) -> None:
    if error is None:
        _add(lines, "Error", UNKNOWN_ERROR)
        return

    outermost, *causes = show_errors(error)
    _add(lines, "Error", outermost)
    for cause in causes:
        _add(lines, "Caused by", cause)


def _add_data(lines: list[str], data: Any) -> None:
    """Add the fields of one of db-ally's objects, with those of the result among them."""
    if not isinstance(data, dict):
        return

    for name, value in data.items():
        if name == "prompt" and isinstance(value, list):
            _add_prompt(lines, value)
        elif name == "result" and isinstance(value, dict):
            _add_data(lines, value)
        elif name.startswith("execution_time") and isinstance(value, float):
            _add(lines, _caption(name), show_seconds(value))
        elif name not in TOKENS:
            _add(lines, _caption(name), value)

    tokens = []
    for name in TOKENS:
        if name in data:
            tokens.append(f"{data[name]} {name.removesuffix('_tokens')}")
    _add(lines, "Tokens", ", ".join(tokens))


def _add_prompt(lines: list[str], messages: list[Any]) -> None:
    for message in messages:
        if isinstance(message, dict) and "content" in message:
            role = _one_line(str(message.get("role")))
            _add(lines, f"Prompt {role}", message["content"])
        else:
            _add(lines, "Prompt", message)


def _add_summary(lines: list[str], summary: dict[str, Any], kind: str) -> None:
    if kind == "request_failed":
        _add(lines, "Question", summary.get("question"))
        _add(lines, "Failed step", summary.get("failed_step"))

    parts = [str(summary.get("view", "no view"))]
    for name, unit in SUMMARY_UNITS.items():
        if name in summary:
            parts.append(f"{summary[name]} {unit}")
    _add(lines, "Summary", ", ".join(parts))


def _add(lines: list[str], caption: str, value: Any, depth: int = 1) -> None:
    """Add a value behind its caption, in as many lines as it takes; nothing if it is empty."""
    if value in (None, "", [], {}):
        return

    if isinstance(value, str) and "\n" in value:
        lines.append(f"  {caption}:")
        lines.append("| " + value.replace("\n", "\n| "))
    elif isinstance(value, str):
        lines.append(f"  {caption}: {value}")
    elif isinstance(value, dict) and depth < MAX_DEPTH:
        for name, item in value.items():
            _add(lines, f"{caption} {CAPTIONS.get(name) or _one_line(name)}", item, depth + 1)
    elif isinstance(value, list):
        lines.append(f"  {caption}:")
        for item in value:
            lines.append(f"  - {_to_json(item)}")
    else:
        lines.append(f"  {caption}: {_to_json(value)}")


def _caption(name: str) -> str:
    if name in CAPTIONS:
        return CAPTIONS[name]
    words = name.replace("_", " ")
    return _one_line(words[:1].upper() + words[1:])


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")


def show_errors(error: Any) -> list[str]:
    """Return the error of a record and its causes, a text each; nothing if there is none."""
    if not error:
        return []

    texts = []
    for each in [error, *error["causes"]]:
        text = each["type"]
        if each["message"]:
            text += f": {each['message']}"
        texts.append(text)
    return texts


def show_seconds(seconds: float) -> str:
    """Return a duration for a person, in seconds whatever its size."""
    if seconds >= 0.01:
        return f"{seconds:.3f} s"
    return f"{seconds:.6f} s"


def escape(text: str) -> str:
    """Return `text` with an escape in place of every character that cannot be seen.

    Newlines stay. Nearly every text is harmless. To find that out, all harmless bytes are deleted:
    if none is left, there is nothing to escape. This is ten times faster than a search.
    """
    if not text.encode().translate(None, HARMLESS_BYTES):
        return text
    return HIDDEN_CHARACTER.sub(_escape_character, text)


def _escape_character(match: re.Match[str]) -> str:
    return json.dumps(match[0]).strip('"')


FORMATS: dict[str, Callable[["Record"], str]] = {"text": format_text, "jsonl": format_json}
