"""Proves what the command shows, character by character.

Delete this file together with `reading/screens.py`. Change it when you change a screen.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unicodedata import east_asian_width

import pytest
from click import style, unstyle

from {{ cookiecutter.package_name }}.formats import UNKNOWN_ERROR
from {{ cookiecutter.package_name }}.reading import Request
from {{ cookiecutter.package_name }}.reading.causes import explain, explaining_error
from {{ cookiecutter.package_name }}.reading.screens import (
    group_requests,
    list_lines,
    show_lines,
    stats_lines,
)

STARTED = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


def error(*errors: tuple[str, str]) -> dict[str, Any]:
    """Return an error as a record has it, given types and messages, the outermost first."""
    chain = [{"type": name, "message": message} for name, message in errors]
    return {**chain[0], "causes": chain[1:]}


ERROR = error(("ViewExecutionError", "view"), ("RateLimitError", "Too\nmany"), ("OSError", ""))
OK = Request(
    request_id="0" * 32,
    started=STARTED,
    outcome="ok",
    elapsed=4.0,
    collection="staff",
    question="Who?",
    labels={"user": "ann", "beta": True},
    process="host:1",
    view="StaffView",
    iql=None,
    sql="SELECT\n1",
    answer="Ann.",
    rows=[],
    row_count=0,
    error=None,
    failed_step=None,
    calls=2,
    failed_calls=0,
    prompt_tokens=20,
    completion_tokens=10,
    total_tokens=30,
    path="all.jsonl",
    offset=0,
)
FAILED = replace(
    OK,
    request_id="1" * 32,
    outcome="failed",
    error=ERROR,
    failed_step="filters",
    failed_calls=1,
    sql=None,
    answer=None,
)
UNKNOWN = replace(FAILED, request_id="2" * 32, error=None, calls=None, total_tokens=None)
OPEN = replace(
    UNKNOWN,
    request_id="3" * 32,
    outcome="unfinished",
    elapsed=None,
    failed_step=None,
    labels={},
    question=None,
)
HEADER = "started    id       collection outcome    seconds calls tokens question"


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    if os.name == "posix":
        time.tzset()
    yield
    monkeypatch.undo()
    if os.name == "posix":
        time.tzset()


def shown(lines: Iterable[str]) -> list[str]:
    """Return single lines without styles."""
    return [unstyle(line) for part in lines for line in part.split("\n")]


def width(line: str) -> int:
    """Return how many columns a line takes; an accent takes none."""
    base = line.replace("\u0301", "")
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in base)


def stats(by: str, *requests: Request) -> list[str]:
    return stats_lines(by, group_requests(by, requests))


def event(seconds: float, number: int, name: str, **more: Any) -> dict[str, Any]:
    kind = "event_end" if "elapsed" in more else "event_start"
    started = STARTED + timedelta(seconds=seconds)
    return {"started": started, "kind": kind, "event_id": number, "event": name, **more}


def test_list_has_a_line_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    today = replace(OK, started=datetime.now(UTC).replace(hour=0, minute=0, second=7))

    assert list(list_lines([OK, OPEN, today])) == [
        style(HEADER, dim=True),
        style("2025-01-02 00000000 staff      ok           4.000     2     30 Who?"),
        style("2025-01-02 33333333 staff      unfinished", fg="yellow"),
        style("00:00:07   00000000 staff      ok           4.000     2     30 Who?"),
    ]


def test_list_has_the_year_of_requests_of_another_year(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    now = datetime.now(UTC)
    day = 2 if now.day == 1 else 1
    other_day = replace(OK, started=now.replace(day=day, hour=12, minute=34))

    _, old, recent = shown(list_lines([OK, other_day]))
    assert old.startswith("2025-01-02  00000000")
    assert recent.startswith(f"{now:%m}-{day:02} 12:34 00000000")


def test_list_says_below_a_failed_request_why_it_failed() -> None:
    assert list(list_lines([FAILED]))[1:] == [
        style("2025-01-02 11111111 staff      failed    4.000 Who?", fg="red"),
        style("  filters: RateLimitError: Too many", fg="red"),
    ]


def test_list_says_what_to_do_to_know_an_error() -> None:
    assert shown(list_lines([UNKNOWN]))[1:] == [
        "2025-01-02 22222222 staff      failed   <4.000 Who?",
        "  filters: unknown",
        "< means at most. Put `recording()` directly around the `ask` to record the error",
        "and its time.",
    ]


@pytest.mark.parametrize("message", ["日本語 " * 5 + "word " * 100, "日本語" * 100, "x" * 500])
def test_a_long_reason_takes_three_lines_at_most(message: str) -> None:
    lines = shown(list_lines([replace(FAILED, error=error(("E", message)))]))[2:]

    assert len(lines) == 3
    assert all(line.startswith("  ") and width(line) <= 80 for line in lines)
    assert lines[2].endswith("…")


@pytest.mark.parametrize("columns", [30, 50, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("text", ["日本", "👩", "e\u0301", "x"])
def test_a_question_has_room_on_any_terminal(
    columns: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    long_name = replace(OPEN, collection="a collection with a long name", question=text * 300)

    header, line, *_ = shown(list_lines([long_name, OK]))
    room = columns - header.index("question")
    if columns >= 50:
        assert room >= 24
    assert columns - 1 <= width(line) <= columns
    assert line.endswith("…")


def test_a_pipe_gets_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    long = replace(FAILED, question="x" * 1000, error=error(("E", "y" * 1000)))

    lines = shown(list_lines([long]))
    assert lines[1].endswith("x" * 1000)
    assert lines[2] == "  filters: E: " + "y" * 1000


def test_nothing_from_a_record_can_move_the_cursor_or_forge_a_line() -> None:
    nasty = "a\x1b]0;x\x07\u202e\nb\ud83d"
    rows = [{nasty: nasty}, {nasty: [nasty]}]
    request = replace(
        FAILED,
        question=nasty,
        collection=nasty,
        process=nasty,
        view=nasty,
        sql=nasty,
        answer=nasty,
        labels={nasty: nasty},
        failed_step=nasty,
        rows=rows,
        row_count=2,
        path=nasty,
        error=error((nasty, nasty), (nasty, nasty)),
    )
    events = [event(0, 1, nasty, elapsed=1.0, error=request.error)]
    screens = [
        *list_lines([request]),
        *show_lines(request, events),
        *stats("collection", request),
        *stats("error", request),
        *stats(nasty, request),
    ]

    text = "\n".join(shown(screens))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\ud83d" not in text
    assert not [line for line in text.split("\n") if line.startswith("b")]


CHAINS = [
    ([("ViewExecutionError", "v"), ("RateLimitError", "429"), ("OpenAIError", "429")], 1),
    ([("Text2SQLError", "failed"), ("OperationalError", "no such table")], 1),
    ([("PromptTemplateError", "format"), ("LLMStatusError", "429"), ("RateLimitError", "429")], 2),
    ([("HTTPException", "502"), ("ViewExecutionError", "v"), ("IQLSyntaxError", "Sure!")], 2),
    ([("AskFailed", "x"), ("HTTPException", "502"), ("ViewExecutionError", "v"), ("E", "m")], 3),
    ([("AskFailed", "sorry"), ("UnsupportedQueryError", "")], 1),
    ([("ExceptionGroup", "1 sub-exception"), ("KeyError", "'sql'")], 1),
    ([("LLMConnectionError", "Connection error."), ("Timeout", "timed out")], 1),
    ([("LLMStatusError", "E - Connection error."), ("X", "Connection error."), ("Y", "dns")], 2),
    ([("TimeoutError", ""), ("CancelledError", "")], 0),
    ([("ViewExecutionError", "v"), ("LLMStatusError", "500")], 1),
    ([("KeyError", "'a'")], 0),
]


@pytest.mark.parametrize(("chain", "index"), CHAINS, ids=[str(chain) for chain, _ in CHAINS])
def test_the_error_that_explains_a_failure_is_behind_those_that_only_wrap_it(
    chain: list[tuple[str, str]], index: int
) -> None:
    found = explaining_error(error(*chain))

    assert (found["type"], found["message"]) == chain[index]


def reply(number: int, step: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the record of an LLM call that ended."""
    moment = STARTED.isoformat()
    names = {"time": moment, "request_id": "1" * 32, "kind": "event_end", "event": "LLMEvent"}
    return {**names, "event_id": number, "step": step, "data": data}


NOTHING = reply(1, "filter decision", {})
DECISION = reply(2, "aggregation decision", {"response": "Decision: false"})
FILTERS = reply(3, "filters", {"response": "no_such()"})


@pytest.mark.parametrize(
    ("calls", "lines"),
    [
        ([FILTERS, DECISION], ["after filters: E: m", "the model replied: no_such()"]),
        ([NOTHING, DECISION], ["after filter decision: E: m", "the model replied: nothing"]),
        (
            [DECISION, FILTERS, NOTHING],
            ["after filter decision: E: m", "the model replied: nothing"],
        ),
        ([DECISION], ["after aggregation decision: E: m", "the model replied: Decision: false"]),
        ([], ["E: m"]),
    ],
)
def test_the_reply_that_most_likely_spoilt_a_request_is_told(
    calls: list[dict[str, Any]], lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text("".join(json.dumps(call) + "\n" for call in calls), "utf-8")
    failed = replace(FAILED, failed_step=None, error=error(("E", "m")), path=str(path))

    assert explain(failed) == lines


@pytest.mark.parametrize(
    ("calls", "line"),
    [
        ([("filters", "E: rate limit")], "filters: E: rate limit"),
        ([("filters", "E: one"), ("filters", "E: two")], "filters: E: two"),
        ([("filters", "E: rate limit"), ("answer", "E: other")], "filters: E: rate limit"),
        ([("filters", "E: repaired"), ("filters", None)], "filters: unknown"),
        ([("answer", "E: other")], "filters: unknown"),
    ],
)
def test_an_error_that_was_not_recorded_is_that_of_the_step_that_failed(
    calls: list[tuple[str, str | None]], line: str, tmp_path: Path
) -> None:
    path = tmp_path / "all.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, (step, message) in enumerate(calls):
            record = reply(number, step, {})
            if message:
                kind, _, text = message.partition(": ")
                record |= {"kind": "event_failed", "error": error((kind, text))}
            file.write(json.dumps(record) + "\n")

    assert explain(replace(UNKNOWN, request_id="1" * 32, path=str(path))) == [line]


def test_show_draws_events_on_one_time_line() -> None:
    events = [
        event(0, 1, "LLMEvent", step="filters", elapsed=3),
        event(1, 2, "FallbackEvent", elapsed=2),
        event(2, 3, "LLMEvent", elapsed=0.004, error=ERROR),
        event(3.5, 4, "CacheEvent"),
        event(4, 5, "CacheEvent"),
    ]

    lines = list(show_lines(OK, events))
    assert shown(lines) == [
        "0" * 32 + "  ok  4.000",
        "  Started     2025-01-02 03:04:05 +0000",
        "  Process     host:1",
        "  File        all.jsonl",
        "  Collection  staff",
        "  View        StaffView",
        "  Labels      user=ann, beta=true",
        "  Question    Who?",
        "",
        f"  1 filters       {'━' * 38 + ' ' * 13}    3.000 s",
        f"  2 FallbackEvent {' ' * 12 + '━' * 26 + ' ' * 13}    2.000 s",
        f"  3 LLMEvent      {' ' * 25 + '━' + ' ' * 25}     4.0 ms",
        "      ViewExecutionError: view",
        "      RateLimitError: Too many",
        "      OSError",
        f"  4 CacheEvent    {' ' * 44 + '━' * 7}     no end",
        f"  5 CacheEvent    {' ' * 50 + '━'}     no end",
        "",
        "  Model       2 calls, 0 failed, 30 tokens",
        "  SQL         SELECT",
        "              1",
        "  Rows        0",
        "  Answer      Ann.",
    ]
    assert style(f"{' ' * 25}━{' ' * 25}", fg="red") in lines[11]
    assert style(" " * 50 + "━", fg="yellow") in lines[16]
    assert style("━" * 38 + " " * 13, fg="cyan") in lines[9]


@pytest.mark.parametrize(("columns", "widest"), [(50, 50), (100, 100), (120, 120), (200, 120)])
def test_a_time_line_is_as_wide_as_the_terminal(
    columns: int, widest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    lines = shown(show_lines(OK, [event(0, 1, "LLMEvent", elapsed=4.0)]))
    assert [width(line) for line in lines if "━" in line] == [widest]


def test_a_time_line_in_a_pipe_takes_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")

    lines = shown(show_lines(OK, [event(0, 1, "LLMEvent", elapsed=4.0)]))
    assert [width(line) for line in lines if "━" in line] == [80]


@pytest.mark.parametrize("columns", [1, 7, 20, 33])
@pytest.mark.parametrize("text", ["日本", "e\u0301", "word "])
def test_the_narrowest_terminal_breaks_no_screen(
    columns: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    failed = replace(
        FAILED, error=error(("E", text * 100)), rows=[{text: text * 30}], question=text * 30
    )
    failing = event(0, 1, text * 30, elapsed=1.0, error=failed.error)

    listed = shown(list_lines([failed, UNKNOWN]))
    assert all(width(line) <= max(columns, 20) for line in listed[:5])
    assert len(shown(show_lines(failed, [failing]))) > 10
    assert len(stats("collection", failed)) == 2


@pytest.mark.parametrize(
    ("seconds", "elapsed", "whole"),
    [(-9e3, 9e3, 4.0), (0, 0.0, 1e-300), (0, 1.0, None), (1e9, 1.0, 4.0), (0, 0.0, 0.0)],
)
def test_a_bar_fits_whatever_the_clock_said(
    seconds: float, elapsed: float, whole: float | None
) -> None:
    odd = event(seconds, 1, "LLMEvent", elapsed=elapsed)

    lines = shown(show_lines(replace(OK, elapsed=whole), [odd]))
    assert [width(line) for line in lines if "━" in line] == [80]


def test_bars_stand_below_each_other_whatever_an_event_is_called() -> None:
    names = ("CacheEvent", "AnEventOfTheApplicationWithALongName", "日本" * 12)

    lines = shown(show_lines(OPEN, [event(0, number, name) for number, name in enumerate(names)]))
    assert {width(line[: line.index("━")]) for line in lines if "━" in line} == {3 + 1 + 48 + 1}


def test_a_console_without_unicode_has_bars_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", SimpleNamespace(encoding="cp1252"))

    lines = shown(show_lines(OPEN, [event(0, 1, "CacheEvent")]))
    assert f"  1 CacheEvent {'=' * 54}     no end" in lines


def test_show_tells_the_step_and_every_error() -> None:
    assert shown(show_lines(FAILED, []))[8:] == [
        "  Failed step filters",
        "  Error       ViewExecutionError: view",
        "              caused by RateLimitError: Too",
        "              many",
        "              caused by OSError",
        "  Model       2 calls, 1 failed, 30 tokens",
        "  Rows        0",
    ]
    assert shown(show_lines(UNKNOWN, []))[-2:] == [
        f"  Error       {UNKNOWN_ERROR}",
        "  Rows        0",
    ]


def test_show_has_the_first_rows_as_a_table() -> None:
    rows: list[dict[str, Any]] = [{"name": f"Ann {number}", "city": None} for number in range(12)]
    rows[1] = {"name": "日本", "city": 7}

    lines = shown(show_lines(replace(OK, rows=rows, row_count=1200), []))
    table = lines[lines.index("  Rows        name  city") :]
    assert table[1:3] == ["              Ann 0 null", "              日本  7"]
    assert table[11] == "              ... and 1,190 more"
    withheld = shown(show_lines(replace(OK, rows="[withheld]", row_count=3), []))
    assert "  Rows        3" in withheld


def test_stats_count_and_measure() -> None:
    hundred = [replace(OK, elapsed=number / 100) for number in range(1, 101)]

    assert stats("collection", *hundred, FAILED, OPEN, replace(OPEN, collection="")) == [
        "collection requests failed unfinished   p50   p95 calls tokens",
        "(none)            1      0          1                 0      0",
        "staff           102      1          1 0.510 0.960   202   3030",
    ]


@pytest.mark.parametrize(
    ("durations", "median", "most"),
    [
        ([9.0, 1.0], "1.000", "9.000"),
        ([3.0], "3.000", "3.000"),
        ([1.0, 2.0, 3.0], "2.000", "3.000"),
    ],
)
def test_a_percentile_is_the_least_duration_that_enough_requests_do_not_exceed(
    durations: list[float], median: str, most: str
) -> None:
    _, line = stats("collection", *(replace(OK, elapsed=each) for each in durations))

    assert line.split()[4:6] == [median, most]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("view", ["StaffView"]),
        ("beta", ["(none)", "true"]),
        ("nobody", ["(none)"]),
        ("error", ["(unknown)", "RateLimitError"]),
    ],
)
def test_stats_group_by_collection_view_error_or_label(by: str, groups: list[str]) -> None:
    header, *lines = stats(by, OK, FAILED, UNKNOWN, OPEN)

    assert header.startswith(by)
    assert [line.split()[0] for line in lines] == groups


def test_stats_fit_the_terminal() -> None:
    lines = stats("collection", replace(OK, collection="日本" * 100))

    assert [width(line) <= 80 for line in lines] == [True, True]
    assert "日本日本" in lines[1]
