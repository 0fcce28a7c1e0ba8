"""A record as text for a person, and as a line of JSON for a program: pure functions."""

import json
import re
from collections.abc import Callable, Iterator

from .records import Record
from .values import Plain

# C0 and C1 controls but the newline, DEL, bidi controls, Unicode line ends, lone surrogates: what
# could move a cursor, break or reorder a line, or not be encoded at all.
_ASCII_UNSAFE = {code: f"\\u{code:04x}" for code in (*range(10), *range(11, 32), 127)}
_UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode

_LABELS = {
    "collection_name": "Collection",
    "question": "Question",
    "type": "Type",
    "prompt": "Prompt",
    "response": "Response",
    "prompt_tokens": "Prompt tokens",
    "completion_tokens": "Completion tokens",
    "total_tokens": "Total tokens",
    "result": "Output",
}


def format_json(record: Record) -> str:
    """Return the record as one line of strict JSON, newline included."""
    line = _to_json(record.as_dict())
    is_safe = line.isascii() and "\x7f" not in line  # JSON itself escapes the other controls of ASCII
    return (line if is_safe else _escape(line)) + "\n"


def format_text(record: Record) -> str:
    """Return the record as a block of lines: a headline, and below it, indented, what happened.

    The headline names the time, the request and the kind. Text from outside stands behind a label
    or a bar, its control characters escaped, so it cannot look like a line of the format's own.
    """
    event = "" if record.event_id is None else f" {record.event_id} {_one_line(record.event or '')}"
    time = record.time.isoformat(timespec="microseconds")
    return "\n".join([f"{time} {record.request.request_id} {record.kind}{event}", *_body(record), ""])


FORMATS: dict[str, Callable[[Record], str]] = {"text": format_text, "jsonl": format_json}


def _body(record: Record) -> Iterator[str]:
    if record.elapsed is not None:
        yield f"  Elapsed Time: {record.elapsed:.6f} s"
    if record.kind.endswith("_failed"):
        error = record.error or {"type": "unknown", "message": "db-ally does not say what it was"}
        yield from _lines("Error", f"{error['type']}: {error['message']}", "  ")
    for name, value in (record.data or {}).items():
        yield from _lines(_LABELS.get(name) or _one_line(name), value, "  ")
    if record.open_events:
        yield f"  Never ended: {', '.join(f'{number} {_one_line(name)}' for number, name in record.open_events.items())}"
    for path, size in (record.cut or {}).items():
        yield f"  Cut: {_one_line(path)}, {size} in all"


def _lines(label: str, value: Plain, indent: str) -> Iterator[str]:
    if isinstance(value, str) and "\n" in value:
        yield f"{indent}{label}:"
        bar = f"{indent}  | "
        yield bar + _escape(value).replace("\n", "\n" + bar)
    elif isinstance(value, dict):
        yield f"{indent}{label}:"
        for key, item in value.items():
            yield from _lines(_one_line(key), item, indent + "  ")
    elif isinstance(value, list) and value:
        yield f"{indent}{label}:"
        for item in value:
            if isinstance(item, dict) and item.keys() >= {"role", "content"}:  # a message of a prompt
                yield from _lines(_one_line(str(item["role"])), item["content"], indent + "  ")
            else:
                yield f"{indent}  - {_escape(_to_json(item))}"
    else:
        yield f"{indent}{label}: {_escape(value) if isinstance(value, str) else _scalar(value)}"


def _scalar(value: Plain) -> str:
    return str(value) if type(value) in (int, float) else _to_json(value)


def _one_line(text: str) -> str:
    return _escape(text).replace("\n", "\\n")


def _escape(text: str) -> str:
    if text.isprintable():  # stops at the first newline
        return text
    if text.isascii():
        return text.translate(_ASCII_UNSAFE)  # the same for ASCII, six times faster
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
