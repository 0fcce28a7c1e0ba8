"""What a record looks like as a line of JSON for a program, and as text for a person.

The exact output of both is here once. JSON is what programs read: change it with care. Text is a
view that nothing reads back: change it as you like, and the one test of it with it. Delete a test
with its format.
"""

import datetime
import json
import re
import sys
import unicodedata
from functools import cache

import pytest
from files import HEADLINE
from hypothesis import example, given
from hypothesis import strategies as st

from {{ cookiecutter.package_name }} import Record
from {{ cookiecutter.package_name }}.formats import format_json, format_text, show

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=datetime.UTC)

ODD_CHARACTERS = "ab \n\r\t\x0b\x0c\x1b\x7f\x85\x9b\u2028\u202e\u2066\u200b\U000e0041|:-{}%"
TEXTS = st.text(st.characters(codec="utf-8")) | st.text(st.sampled_from(ODD_CHARACTERS))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


def make_record(kind, data=None, **values):
    return Record(
        request_id="1f2e3d4c" * 4,
        collection="staff",
        started_at=NOW,
        process="host:1",
        labels={"user": "ann"},
        time=NOW,
        kind=kind,
        data=data,
        **values,
    )


def make_event_end(data, event="CacheEvent"):
    return make_record("event_end", data, event_id=1, event=event, elapsed=0.25)


ERROR = {
    "type": "ViewError",
    "message": "no view",
    "causes": [{"type": "LLMError", "message": "Rate\nlimit"}, {"type": "OSError", "message": ""}],
}
SUMMARY = {
    "collection": "staff",
    "question": "Who?",
    "labels": {"user": "ann"},
    "view": "StaffView",
    "rows": 2,
    "calls": 4,
    "failed_calls": 1,
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 110,
}


# JSON


def test_a_record_is_one_line_of_json():
    record = make_record("request_failed", error=ERROR, summary=SUMMARY, elapsed=0.5)
    record = record._replace(
        open_events=[{"event_id": 3, "event": "filters"}], cut={"error": 200_000}
    )

    assert format_json(record) == (
        '{"time":"2026-01-02T03:04:05.123456Z","request_id":"1f2e3d4c1f2e3d4c1f2e3d4c1f2e3d4c",'
        '"kind":"request_failed","elapsed":0.5,"error":{"type":"ViewError","message":"no view",'
        '"causes":[{"type":"LLMError","message":"Rate\\nlimit"},{"type":"OSError","message":""}]},'
        '"summary":{"collection":"staff","question":"Who?","labels":{"user":"ann"},'
        '"view":"StaffView","rows":2,"calls":4,"failed_calls":1,"prompt_tokens":100,'
        '"completion_tokens":10,"total_tokens":110},'
        '"open_events":[{"event_id":3,"event":"filters"}],"cut":{"error":200000}}\n'
    )


def test_the_start_of_a_request_says_where_it_comes_from():
    row = json.loads(format_json(make_record("request_start", {"question": "Who?"})))

    assert row["version"] == 1
    assert row["dbally"]
    assert row["process"] == "host:1"
    assert row["labels"] == {"user": "ann"}
    assert list(row)[-1] == "data"


def test_labels_are_left_out_if_there_are_none():
    record = make_record("request_start", {})._replace(labels={})

    assert "labels" not in json.loads(format_json(record))


@pytest.mark.parametrize(
    ("kind", "required"),
    [
        ("request_start", "data"),
        ("event_start", "data"),
        ("event_end", "data"),
        ("event_failed", "error"),
        ("request_end", "data"),
        ("request_failed", "error"),
    ],
)
def test_what_is_not_known_is_null_where_it_is_required_and_else_left_out(kind, required):
    row = json.loads(format_json(make_record(kind)))

    assert row[required] is None
    assert not {"data", "error", "summary", "open_events", "cut"} & (row.keys() - {required})


@pytest.mark.slow
@given(VALUES)
def test_json_is_strict_and_gives_back_the_very_value(value):
    line = format_json(make_event_end({"value": value}))

    row = json.loads(line, parse_constant=pytest.fail)
    assert row["data"] == {"value": value}
    assert line.count("\n") == 1
    assert line.encode().decode() == line


# Text


REQUEST_AS_TEXT = """\
1f2e3d4c 2026-01-02 03:04:05.123 request_start
1f2e3d4c   Request: 1f2e3d4c1f2e3d4c1f2e3d4c1f2e3d4c, db-ally <version>
1f2e3d4c   Process: host:1
1f2e3d4c   Labels user: ann
1f2e3d4c   Collection: staff
1f2e3d4c   Question: Who?
1f2e3d4c 2026-01-02 03:04:05.123 event_start 1 filters
1f2e3d4c   Prompt system:
1f2e3d4c | Be brief.
1f2e3d4c | Be kind.
1f2e3d4c   Prompt user: Who?
1f2e3d4c 2026-01-02 03:04:05.123 event_end 1 filters  Elapsed Time: 0.001000 s
1f2e3d4c   Response: Ann
1f2e3d4c   Tokens: 1 prompt, 2 completion, 3 total
1f2e3d4c 2026-01-02 03:04:05.123 event_end 1 CacheEvent  Elapsed Time: 0.250 s
1f2e3d4c   Key a b: {"c": 1}
1f2e3d4c   Whole: 7
1f2e3d4c   Yes: true
1f2e3d4c 2026-01-02 03:04:05.123 request_end  Elapsed Time: 0.500 s
1f2e3d4c   Answer: Ann does.
1f2e3d4c   Execution time: 0.250 s
1f2e3d4c   Context SQL:
1f2e3d4c | SELECT name
1f2e3d4c | FROM staff
1f2e3d4c   Context IQL filters: lives_in()
1f2e3d4c   Output:
1f2e3d4c   - {"name": "Ann", "city": "Kraków"}
1f2e3d4c   Summary: StaffView, 2 rows, 4 calls, 1 failed, 110 tokens
"""


def test_a_request_is_text_for_people():
    messages = [
        {"role": "system", "content": "Be brief.\nBe kind.", "is_example": False},
        {"role": "user", "content": "Who?"},
    ]
    tokens = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    result = {
        "textual_response": "Ann does.",
        "execution_time": 0.25,
        "context": {"sql": "SELECT name\nFROM staff", "iql": {"filters": "lives_in()"}},
        "results": [{"name": "Ann", "city": "Kraków"}],
    }
    call = {"event_id": 1, "event": "LLMEvent", "step": "filters"}
    records = [
        make_record("request_start", {"collection_name": "staff", "question": "Who?"}),
        make_record("event_start", {"prompt": messages}, **call),
        make_record("event_end", {"response": "Ann", **tokens}, elapsed=0.001, **call),
        make_event_end({"key": {"a": {"b": {"c": 1}}}, "whole": 7, "yes": True, "no": []}),
        make_record("request_end", {"result": result}, summary=SUMMARY, elapsed=0.5),
    ]

    text = "".join(format_text(record) for record in records)

    assert re.sub("db-ally .*", "db-ally <version>", text) == REQUEST_AS_TEXT


FAILED_REQUEST_AS_TEXT = """\
1f2e3d4c 2026-01-02 03:04:05.123 request_failed  Elapsed Time: 0.000100 s
1f2e3d4c   Error: ViewError: no view
1f2e3d4c   Caused by:
1f2e3d4c | LLMError: Rate
1f2e3d4c | limit
1f2e3d4c   Caused by: OSError
1f2e3d4c   Question: Who?
1f2e3d4c   Failed step: filters
1f2e3d4c   Summary: no view, 4 calls
1f2e3d4c   Open: 3 filters, 4 answer
1f2e3d4c   Cut: error, 200000 in all
"""


def test_a_failed_request_is_text_for_people():
    record = make_record(
        "request_failed",
        error=ERROR,
        summary={"question": "Who?", "calls": 4, "failed_step": "filters"},
        elapsed=0.0001,
        open_events=[{"event_id": 3, "event": "filters"}, {"event_id": 4, "event": "answer"}],
        cut={"error": 200_000},
    )

    assert format_text(record) == FAILED_REQUEST_AS_TEXT


def test_text_says_how_to_know_an_error_that_is_not_known():
    text = format_text(make_record("request_failed", summary={"calls": 0}, elapsed=0.5))

    assert "Elapsed Time: at most 0.500 s\n" in text
    assert "Error: unknown: put `recording()` directly around the `ask` to know it\n" in text


@pytest.mark.slow
@given(st.lists(VALUES, max_size=4))
@example(["1f2e3d4c 2026-01-02 00:00:00.000 request_end\n1f2e3d4c   Collection: forged"])
@example([[{"role": "x\n  Output: forged", "content": "\nEvent", "is_example": False}]])
def test_text_has_no_hidden_characters_and_no_forged_lines(values):
    text = "".join(format_text(make_event_end({"value": value})) for value in values)

    assert text.encode().decode() == text
    assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066\U000e0041]", text)
    assert len(text.splitlines()) == text.count("\n")
    assert len(HEADLINE.findall(text)) == len(values)
    for line in text.splitlines():
        assert re.match(r"1f2e3d4c (2026-|\| |  - |  Value)", line)


def test_a_name_of_two_lines_forges_no_line_of_text():
    name = "Odd\n1f2e3d4c 2026-01-02 03:04:05.123 request_end"

    text = format_text(make_event_end({name: {name: 1}}, event=name))

    assert text.count("\n") == 2
    assert len(HEADLINE.findall(text)) == 1


def test_text_shows_a_key_that_was_added_to_a_record():
    row = make_event_end({}).as_dict() | {"tenant": "acme"}

    assert "  Tenant: acme\n" in show(row)


# Both


def is_seen(code):
    """Return whether a control or format character is drawn, says the Unicode Standard."""
    prepended_marks = {0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x600, 0x606)}
    hieroglyph_controls = range(0x13430, 0x13440)
    return code in prepended_marks or code in hieroglyph_controls or code == ord("\n")


@cache
def hidden_characters():
    """Return all that cannot be seen: what this Python knows, and what Unicode 16 ignores."""
    # https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
    default_ignorable = [
        *[0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0],
        *range(0x180B, 0x1810),
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFE00, 0xFE10),
        *range(0xFFF0, 0xFFF9),
        *range(0x1BCA0, 0x1BCA4),
        *range(0x1D173, 0x1D17B),
        *range(0xE0000, 0xE1000),
    ]
    codes = set(default_ignorable)
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp") and not is_seen(code):
            codes.add(code)
    return [chr(code) for code in sorted(codes)]


@pytest.mark.slow
@pytest.mark.parametrize("around", ["", "ascii", "zażółć"], ids=["alone", "in ASCII", "in Polish"])
def test_what_cannot_be_seen_is_shown_as_an_escape(around):
    for character in hidden_characters():
        value = around + character
        record = make_event_end({"value": value})
        line = format_json(record)

        assert character not in line, ascii(character)
        assert json.loads(line)["data"] == {"value": value}
        assert f"{around}{json.dumps(character)[1:-1]}\n" in format_text(record)


@pytest.mark.parametrize("text", ["Kraków", "日本", "\U0001f98a", "a b", "\xa0"])
def test_what_can_be_seen_is_shown_as_it_is(text):
    record = make_event_end({"value": text})

    assert f'"{text}"' in format_json(record)
    assert f": {text}\n" in format_text(record)
