"""A record as text for a person, and as a line of JSON for a program: pure functions."""

import json
import re
from collections.abc import Callable

from .records import Record
from .values import Plain

# C0 and C1 controls but the newline, DEL, Unicode line ends, bidi controls: what could move a cursor,
# break or reorder a line. And lone surrogates, which cannot be encoded at all.
_CONTROLS = (*range(10), *range(11, 32), *range(127, 160), *range(0x2028, 0x202F))
_BIDI = (0x061C, 0x200E, 0x200F, *range(0x2066, 0x206A))
_ESCAPES = {code: f"\\u{code:04x}" for code in (*_CONTROLS, *_BIDI, *range(0xD800, 0xE000))}
_UNSAFE = re.compile(f"[{''.join(map(chr, _CONTROLS + _BIDI))}\ud800-\udfff]")

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_to_ascii_json = json.JSONEncoder(allow_nan=False, check_circular=False).encode

_MESSAGE = {"role", "content", "is_example"}  # the keys of a message of a prompt
_DEEPEST = 8  # columns of indentation; what is inside more mappings is shown as JSON
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
    """Return the record as one line of strict JSON in ASCII, newline included."""
    return _to_ascii_json(record.as_dict()) + "\n"


def format_text(record: Record) -> str:
    """Return the record as a block of lines: a headline, and below it, indented, what happened.

    No text from outside can look like a line of the format's own: it stands behind a label or a bar.
    """
    event = "" if record.event_id is None else f" {record.event_id} {_one_line(record.event or '')}"
    lines = [f"{record.time.isoformat(timespec='microseconds')} {record.request.request_id} {record.kind}{event}"]
    if record.elapsed is not None:
        lines.append(f"  Elapsed Time: {record.elapsed:.6f} s")
    if record.kind.endswith("_failed"):
        error = record.error or {"type": "unknown", "message": "db-ally does not say what it was"}
        _add(lines, "  ", "Error", f"{error['type']}: {error['message']}")
    for name, value in (record.data or {}).items():
        _add(lines, "  ", _LABELS.get(name) or _one_line(name), value)
    if record.open_events:
        names = ", ".join(f"{number} {name}" for number, name in record.open_events.items())
        lines.append(f"  Never ended: {_one_line(names)}")
    for path, size in (record.cut or {}).items():
        lines.append(f"  Cut: {_one_line(path)}, {size} in all")
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Record], str]] = {"text": format_text, "jsonl": format_json}


def _add(lines: list[str], indent: str, label: str, value: Plain) -> None:
    if isinstance(value, str):
        text = _escape(value)
        text = f"\n{text}".replace("\n", f"\n{indent}  | ") if "\n" in text else f" {text}"
        lines.append(f"{indent}{label}:{text}")
    elif isinstance(value, dict) and value and len(indent) < _DEEPEST:
        lines.append(f"{indent}{label}:")
        for key, item in value.items():
            _add(lines, indent + "  ", _one_line(key), item)
    elif isinstance(value, list) and value:
        lines.append(f"{indent}{label}:")
        for item in value:
            if label == _LABELS["prompt"] and isinstance(item, dict) and {"role", "content"} <= item.keys() <= _MESSAGE:
                _add(lines, indent + "  ", _one_line(str(item["role"])), item["content"])
            else:
                lines.append(f"{indent}  - {_escape(_to_json(item))}")
    else:
        text = str(value) if type(value) in (int, float) else _escape(_to_json(value))  # faster, and the same
        lines.append(f"{indent}{label}: {text}")


def _one_line(text: str) -> str:
    return text if text.isprintable() else _escape(text).replace("\n", "\\n")


def _escape(text: str) -> str:
    # In ASCII it is faster to translate than to search first.
    return text.translate(_ESCAPES) if text.isascii() or _UNSAFE.search(text) else text
