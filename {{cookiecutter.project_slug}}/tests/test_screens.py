"""What the command shows, character by character."""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click import style
from files import ask, posix_only, start_python

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.reading import Request
from {{ cookiecutter.package_name }}.reading.parsing import LogRecord, parse_line
from {{ cookiecutter.package_name }}.reading.screens import list_lines, show_lines, stats_lines

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CAUSE = {"type": "LLMStatusError", "message": "Rate\nlimit"}
ERROR = {
    "type": "ViewExecutionError",
    "message": "view",
    "causes": [CAUSE, {"type": "OSError", "message": ""}],
}
OK = Request(
    request_id="0" * 32,
    started=STARTED,
    outcome="ok",
    elapsed=4.0,
    collection="staff",
    question="Who?",
    labels={"user": "ann", "tier": 1},
    process="host:1",
    view="StaffView",
    sql="SELECT\n1",
    rows=[],
    row_count=0,
    answer="Ann.",
    calls=2,
    total_tokens=30,
    path="all.log",
    written=0.0,
)
FAILED = replace(
    OK,
    request_id="1" * 32,
    outcome="failed",
    error=ERROR,
    failed_calls=1,
    view=None,
    sql=None,
    answer=None,
)
LATE = replace(FAILED, request_id="2" * 32, error=None, calls=None, total_tokens=None)
OPEN = replace(
    LATE, request_id="3" * 32, outcome="unfinished", elapsed=None, labels=None, question=None
)


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
    """Return single lines, without the end of a style where none has begun."""
    every = [line for part in lines for line in part.split("\n")]
    every = [
        re.sub(r"^\x1b\[2m(  .{12})\x1b\[0m", r"\1", line) for line in every
    ]  # labels of `show`
    return [
        line if "\x1b[3" in line or "\x1b[2m" in line else line.removesuffix("\x1b[0m")
        for line in every
    ]


def record(seconds: float, kind: str, event_id: int, event: str, **more: Any) -> LogRecord:
    moment = f"{STARTED + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%fZ}"
    row = {
        "time": moment,
        "request_id": "0" * 32,
        "kind": kind,
        "event_id": event_id,
        "event": event,
        **more,
    }
    found = parse_line(json.dumps(row) + "\n")
    assert found
    return found


def test_list() -> None:
    today = replace(
        OK, started=datetime.now(UTC).replace(hour=0, minute=0, second=7), question="日" * 40
    )
    assert shown(list_lines([OK, FAILED, LATE, OPEN, today])) == [
        style("started     id       collection outcome    seconds calls tokens question", dim=True),
        "01-02 03:04 00000000 staff      ok           4.000     2     30 Who?",
        style("01-02 03:04 11111111 staff      failed       4.000     2     30 Who?", fg="red"),
        style("  LLMStatusError: Rate limit", fg="red"),
        style("01-02 03:04 22222222 staff      failed      <4.000              Who?", fg="red"),
        style("01-02 03:04 33333333 staff      unfinished", fg="yellow"),
        "00:00:07    00000000 staff      ok           4.000     2     30 日日日日日日日…",
    ]
    around = {**ERROR, "causes": [{"type": "Text2SQLError", "message": "SQL"}]}
    for error, told in (
        (around, "Text2SQLError: SQL"),
        ({**ERROR, "causes": []}, "ViewExecutionError: view"),
    ):
        assert shown(list_lines([replace(FAILED, error=error)]))[2:] == [
            style(f"  {told}", fg="red")
        ]


def test_a_line_is_cut_where_there_is_no_room_for_it() -> None:
    for size, question in ((19, "x" * 19), (20, "x" * 18 + "…")):
        assert shown(list_lines([replace(OK, question="x" * size)]))[1].endswith(
            f"     30 {question}"
        )


def test_show() -> None:
    records = [
        record(0, "event_start", 1, "LLMEvent", step="filters"),
        record(1, "event_start", 2, "FallbackEvent"),
        record(2, "event_start", 3, "LLMEvent"),
        record(2.004, "event_failed", 3, "LLMEvent", elapsed=0.004, error=ERROR),
        record(3, "event_end", 2, "FallbackEvent", elapsed=2),
        record(3, "event_end", 1, "LLMEvent", step="filters", elapsed=3),
        record(3.5, "event_start", 4, "CacheEvent"),
        record(4, "event_start", 5, "CacheEvent"),
    ]
    assert shown(show_lines(OK, records)) == [
        "0" * 32 + "  ok  4.000",
        "  Started     2026-01-02 03:04:05 +0000",
        "  Process     host:1",
        "  File        all.log",
        "  Collection  staff",
        "  Labels      user=ann, tier=1",
        "  Question    Who?",
        "",
        f"  1 filters                {style('━' * 30 + ' ' * 10, fg='cyan')}    3.000 s",
        f"  2 FallbackEvent          {style(' ' * 10 + '━' * 20 + ' ' * 10, fg='cyan')}    2.000 s",
        f"  3 LLMEvent               {style(' ' * 20 + '━' + ' ' * 19, fg='red')}     4.0 ms",
        *(
            style(f"      {line}", fg="red")
            for line in ("ViewExecutionError: view", "LLMStatusError: Rate limit", "OSError")
        ),
        f"  4 CacheEvent             {style(' ' * 35 + '━' * 5, fg='yellow')}     no end",
        f"  5 CacheEvent             {style(' ' * 39 + '━', fg='yellow')}     no end",
        "",
        "  Model       2 calls, 0 failed, 30 tokens",
        "  View        StaffView",
        *("  SQL         SELECT", "              1"),
        "  Rows        0",
        "  Answer      Ann.",
    ]


def test_bars_stand_below_each_other_whatever_an_event_is_called() -> None:
    names = ("CacheEvent", "AnEventOfTheApplicationWithALongName", "日本" * 12)
    lines = show_lines(
        OPEN, [record(0, "event_start", number, name) for number, name in enumerate(names, 1)]
    )
    starts = [line[: line.index("\x1b")] for line in lines if "━" in line]
    assert {sum(1 + (char in "日本") for char in start) for start in starts} == {3 + 1 + 48 + 1}


def test_a_console_without_unicode_has_bars_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", SimpleNamespace(encoding="cp1252"))
    (line,) = (
        line
        for line in show_lines(OPEN, [record(0, "event_start", 1, "CacheEvent")])
        if "CacheEvent" in line
    )
    assert line == f"  1 CacheEvent             {style('=' * 40, fg='yellow')}     no end"


def test_show_of_what_failed() -> None:
    assert shown(show_lines(FAILED, []))[6:] == [
        *("  Question    Who?", "", ""),
        *("  Error       ViewExecutionError: view", "              caused by LLMStatusError: Rate"),
        *("              limit", "              caused by OSError"),
        *("  Model       2 calls, 1 failed, 30 tokens", "  Rows        0"),
    ]
    assert not [line for line in show_lines(OPEN, []) if "Model" in line]
    assert "  Model       2 calls, 0 failed, 0 tokens" in shown(
        show_lines(replace(OK, total_tokens=None), [])
    )
    assert shown(show_lines(OPEN, []))[0] == style("3" * 32 + "  unfinished", fg="yellow")


def test_stats() -> None:
    requests = [replace(OK, elapsed=number / 100) for number in range(1, 101)]
    assert " 0.510 0.960 " in [*stats_lines("collection", requests)][1]
    assert [
        *stats_lines("collection", [*requests, FAILED, OPEN, replace(OPEN, collection="empty")])
    ] == [
        "collection requests failed unfinished   p50   p95 calls tokens",
        "empty             1      0          1                 0      0",
        "staff           102      1          1 0.510 0.960   202   3030",
    ]
    assert [*stats_lines("tier", [OK, OPEN])][1:] == [
        "(none)        1      0          1                 0      0",
        "1             1      0          0 4.000 4.000     2     30",
    ]


@posix_only
async def test_who_reads_the_first_line_of_a_long_list_alone_is_told_of_no_error(
    log_dir: Path,
) -> None:
    for _ in range(100):  # more than a pipe takes
        await ask(Handler(log_dir, "all", "jsonl"), question="x" * 2_000)
    code = "import runpy\nsys.argv[0] = PACKAGE\nrunpy.run_module(PACKAGE, run_name='__main__')\n"
    package = repr(Handler.__module__.split(".")[0])
    arguments = ("list", "--json", "-n", "100", str(log_dir))
    with start_python(code.replace("PACKAGE", package), *arguments) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("{")
        process.stdout.close()

        assert process.stderr
        assert process.stderr.read() == ""
