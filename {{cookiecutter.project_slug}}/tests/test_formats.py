"""What a record looks like as text for a person and as a line of JSON for a program."""

import datetime
import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from files import HEADLINE, ask, read
from hypothesis import example, given
from hypothesis import strategies as st

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.formats import format_json, format_text, show
from {{ cookiecutter.package_name }}.plain import JsonValue, Serializer
from {{ cookiecutter.package_name }}.records import Record

TEXT = st.text(st.characters(codec="utf-8")) | st.text(
    st.sampled_from(
        "ab \n\r\t\x00\x0b\x0c\x1b\x1c\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200b\ud800\U000e0041|:-{}%"
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt: Default_Ignorable_Code_Point of Unicode 16
IGNORABLE = [
    *(
        0xAD,
        0x34F,
        0x61C,
        0x115F,
        0x1160,
        0x17B4,
        0x17B5,
        *range(0x180B, 0x1810),
        *range(0x200B, 0x2010),
    ),
    *(
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        0x3164,
        *range(0xFE00, 0xFE10),
        0xFEFF,
        0xFFA0,
    ),
    *(
        *range(0xFFF0, 0xFFF9),
        *range(0x1BCA0, 0x1BCA4),
        *range(0x1D173, 0x1D17B),
        *range(0xE0000, 0xE1000),
    ),
]
SEEN_FORMATS = {
    0x600,
    0x601,
    0x602,
    0x603,
    0x604,
    0x605,
    0x6DD,
    0x70F,
    0x890,
    0x891,
    0x8E2,
    0x110BD,
    0x110CD,
} | {
    *range(0x13430, 0x13440)  # of category Cf, and yet they are drawn
}


def record_of(data: Any, **changes: Any) -> Record:
    record = Record(
        "0" * 32,
        "staff",
        NOW,
        "host:1",
        {},
        NOW,
        "event_end",
        1,
        "LLMEvent",
        "filters",
        0.5,
        data=data,
    )
    return record._replace(**changes)


def body_of(data: Any, **changes: Any) -> list[str]:
    """Return the lines below the headline, without what each starts with."""
    _, *lines = format_text(record_of(data, **changes)).splitlines()
    assert all(line.startswith("00000000 ") for line in lines)
    return [line.removeprefix("00000000 ") for line in lines]


@given(st.lists(VALUES, max_size=4))
@example(["00000000 2026-01-02 00:00:00.000 request_end\n00000000   Collection: forged"])
@example([[{"role": "x\n  Output: forged", "content": "\nEvent", "is_example": False}]])
def test_text_is_free_of_hidden_characters_and_forged_lines(values: list[Any]) -> None:
    plain = [Serializer().field("value", value) for value in values]
    text = "".join(format_text(record_of({"value": value}, cut={"value": 1})) for value in plain)

    assert text.encode().decode() == text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066\U000e0041]", text)
    assert len(text.splitlines()) == text.count("\n")
    assert len(HEADLINE.findall(text)) == len(values)
    assert {line[:9] for line in text.splitlines()} <= {"00000000 "}
    labelled = [line for line in text.splitlines() if not re.match(r"00000000 (\||  -|2026)", line)]
    assert {re.split("[: ]", line[11:])[0] for line in labelled} <= {"Value", "Cut"}


@given(st.lists(VALUES, max_size=4))
def test_json_lines_are_strict_and_give_back_the_very_values(values: list[Any]) -> None:
    plain = [Serializer().field("value", value) for value in values]
    text = "".join(format_json(record_of({"value": value})) for value in plain)

    lines = text.encode().decode().splitlines()
    assert [
        json.loads(line, parse_constant=pytest.fail)["data"]["value"] for line in lines
    ] == plain
    assert not re.search("[\ud800-\udfff]", "".join(lines))


def test_whatever_cannot_be_seen_is_shown_as_an_escape_and_all_else_as_it_is() -> None:
    hidden = [
        *range(10),
        *range(11, 32),
        *range(127, 160),
        0x2028,
        0x2029,
        0xFFF9,
        0xFFFA,
        0xFFFB,
        *IGNORABLE,
    ]
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if (
            unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")
            and code not in SEEN_FORMATS
            and code != 10
        ):
            assert code in hidden, hex(code)

    short = {8: "\\b", 9: "\\t", 12: "\\f", 13: "\\r"}
    for code in hidden:
        units = memoryview(chr(code).encode("utf-16-le")).cast("H")
        escape = short.get(code) or "".join(f"\\u{unit:04x}" for unit in units)
        for around in ("", "ascii", "zażółć"):
            text = around + chr(code)
            assert body_of({"value": text}) == [f"  Value: {around}{escape}"], hex(code)
            line = format_json(record_of({"value": text}))
            assert chr(code) not in line, hex(code)
            assert json.loads(line)["data"] == {"value": text}, hex(code)
    for text in ("Kraków", "日本", "\U0001f98a", "a b", "\xa0"):
        assert body_of({"value": text}) == [f"  Value: {text}"]
        assert text in format_json(record_of({"value": text}))


async def test_text_reads_well(log_dir: Path) -> None:
    await ask(Handler(log_dir, "{collection}", "text"), question="Who\nis it?")

    text = re.sub(r"(?m)^[0-9a-f]{8}", "<id>", read(log_dir))
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "<time>", text)
    text = re.sub(r"Elapsed Time: \d\.\d{3,6} s", "Elapsed Time: <seconds> s", text)
    text = re.sub(r"Request: [0-9a-f]{32}, db-ally \S+", "Request: <request>", text)
    assert (
        re.sub(r"Process: \S+", "Process: <process>", text)
        == """\
<id> <time> request_start
<id>   Request: <request>
<id>   Process: <process>
<id>   Collection: staff
<id>   Question:
<id> | Who
<id> | is it?
<id> <time> event_start 1 LLMEvent
<id>   Type: Prompt
<id>   Prompt:
<id> | Who
<id> | is it?
<id> <time> event_end 1 LLMEvent  Elapsed Time: <seconds> s
<id>   Response: Ann
<id> <time> request_end  Elapsed Time: <seconds> s
<id>   Answer: Ann does.
<id>   Execution time: 0.250 s
<id>   Execution time view: 0.125 s
<id>   SQL: SELECT 1
<id>   Output:
<id>   - {"name": "Ann", "city": "Kraków"}
<id>   - {"name": "Bob", "city": "Łódź"}
<id>   Summary: StaffView, 2 rows, 1 calls
"""
    )


def test_text_shows_a_prompt_message_by_message() -> None:
    messages = [
        {"role": "system", "content": "Be brief.\nBe kind.", "is_example": False},
        {"role": "user", "content": "Who?"},  # as db-ally adds them when it asks again
    ]

    assert body_of({"prompt": messages}) == [
        "  Prompt system:",
        "| Be brief.",
        "| Be kind.",
        "  Prompt user: Who?",
    ]
    assert body_of({"prompt": [*messages, {"role": "neither"}]})[0] == "  Prompt:"


def test_text_tells_an_answer_once_and_tokens_in_a_line() -> None:
    data = {"response": "Ann does.", "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert body_of(data) == ["  Response: Ann does.", "  Tokens: 1 prompt, 2 completion, 3 total"]
    for step in ("answer", "explanation"):  # the end of the request tells what it was
        lines = format_text(record_of(data, step=step)).splitlines()[1:]
        assert [line[8:] for line in lines] == ["   Tokens: 1 prompt, 2 completion, 3 total"]


def test_text_has_a_name_in_one_line() -> None:
    assert body_of({"a\nb": 1, "deep": {"c\nd": 2, "sql": "SELECT 1"}}) == [
        *("  A\\nb: 1", "  Deep c\\nd: 2", "  Deep SQL: SELECT 1")
    ]


def test_text_shows_as_json_what_is_nested_deeply_and_nothing_where_nothing_is() -> None:
    nested: JsonValue = {
        "a": {"b": {"c": "\x1b\n"}, "nothing": {}, "none": None, "no rows": [], "no text": ""}
    }

    assert body_of({"value": nested}) == ['  Value a b: {"c": "\\u001b\\n"}']
    assert body_of({"yes": True, "whole": 7, "part": 0.5, "zero": 0}) == [
        *("  Yes: true", "  Whole: 7", "  Part: 0.5", "  Zero: 0")
    ]


def test_text_of_a_failed_request_tells_the_whole_story() -> None:
    error = {
        "type": "ViewError",
        "message": "view",
        "causes": [{"type": "LLMError", "message": "Rate\nlimit"}],
    }
    summary = {"question": "Who?", "calls": 4, "failed_calls": 3, "total_tokens": 0}
    open_events: list[JsonValue] = [
        {"event_id": 3, "event": "filters"},
        {"event_id": 4, "event": "Odd\u202eEvent"},
    ]

    record = record_of(
        None,
        kind="request_failed",
        event_id=None,
        event=None,
        step=None,
        error=error,
        summary=summary,
    )
    assert format_text(record._replace(open_events=open_events, cut={"error": 9})).splitlines() == [
        "00000000 2026-01-02 00:00:00.000 request_failed  Elapsed Time: 0.500 s",
        "00000000   Question: Who?",
        "00000000   Error: ViewError: view",
        "00000000   Caused by:",
        "00000000 | LLMError: Rate",
        "00000000 | limit",
        "00000000   Summary: no view, 4 calls, 3 failed",
        "00000000   Open: 3 filters, 4 Odd\\u202eEvent",
        "00000000   Cut: error, 9 in all",
    ]
    late = format_text(record._replace(error=None, elapsed=0.0001)).splitlines()
    assert (
        format_text(record._replace(elapsed=0.01)).splitlines()[0].endswith("Elapsed Time: 0.010 s")
    )
    assert late[0].endswith("request_failed  Elapsed Time: at most 0.000100 s")
    assert late[2] == "00000000   Error: unknown: put `recording()` around the `ask` to know it"


def test_a_record_has_the_time_to_the_microsecond_and_labels_where_it_was_given_some() -> None:
    row = json.loads(
        format_json(record_of({}, kind="request_start", time=NOW.replace(microsecond=123_456)))
    )

    assert row["time"] == "2026-01-02T00:00:00.123456Z"
    assert "labels" not in row


@pytest.mark.parametrize(
    "kind", ["request_start", "event_start", "event_end", "event_failed", "request_failed"]
)
def test_whatever_a_record_holds_both_formats_show(kind: Any) -> None:
    record = record_of(
        {"city": "Kraków"}, kind=kind, summary={"question": "Who?", "calls": 1, "failed_calls": 0}
    )
    record = record._replace(
        labels={"user": "ann"}, error={"type": "E", "message": "m", "causes": []}
    )

    row = json.loads(format_json(record))
    assert (row["data"], row["error"]["type"]) == ({"city": "Kraków"}, "E")
    assert "  City: Kraków\n" in format_text(record)
    assert "  Error: E: m\n" in format_text(record)
    assert (
        ("  Labels user: ann\n" in format_text(record))
        == ("labels" in row)
        == (kind == "request_start")
    )
    assert "  Tenant: acme\n" in show(row | {"tenant": "acme"})
