"""Files of either format are read back as the requests that they hold."""

import asyncio
import contextlib
import gc
import gzip
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pandas
import pytest
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import RequestEnd, RequestStart
from dbally.collection.collection import Collection
from dbally.collection.results import ExecutionResult
from dbally.views.exceptions import ViewExecutionError
from files import ask

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.blocks import recording
from {{ cookiecutter.package_name }}.reading import find_files, newest, records, requests, with_id

MakeCollection = Callable[..., Collection]
FORMATS = pytest.mark.parametrize("log_format", ["text", "jsonl"])
JSON = '{"time":"2026-01-02T03:04:'
PATTERNS = pytest.mark.parametrize(
    "pattern", ["{request_id}", "{started_at:%Y}/{collection}", "all"]
)


async def down(conversation: str) -> str:
    raise ConnectionError("the model is down\nand stays so")


async def story(
    handler: Handler, make_collection: MakeCollection
) -> tuple[list[str], EventTracker]:
    """Record a request that ends, one that fails and one that does neither; return their ids, and what keeps it open."""
    with recording(user="ann") as good:
        await make_collection(handler).ask(
            "Who lives in\nKraków? \ud83d", return_natural_response=True
        )
    with contextlib.suppress(ViewExecutionError), recording() as failed:
        await make_collection(handler, reply=down, name="other").ask("Who?")
    tracker = EventTracker.initialize_with_handlers([handler])
    with recording() as unfinished:
        await tracker.request_start(RequestStart("staff", "Open?"))
    return [block.request_id or "" for block in (good, failed, unfinished)], tracker


@FORMATS
@PATTERNS
async def test_what_was_recorded_is_read_back(
    log_format: str, pattern: str, log_dir: Path, make_collection: MakeCollection
) -> None:
    made, _tracker = await story(Handler(log_dir, pattern, log_format), make_collection)
    good, failed, unfinished = (with_id(request_id, log_dir)[0] for request_id in made)

    assert {request.request_id for request in requests(log_dir)} == {*made}
    assert (good.outcome, good.collection, good.labels, good.view) == (
        "ok",
        "staff",
        {"user": "ann"},
        "StaffView",
    )
    assert good.question == "Who lives in\nKraków? \\ud83d"
    assert good.sql == "SELECT staff.name, staff.city \nFROM staff \nWHERE staff.city = 'Kraków'"
    assert good.iql["filters"] == 'lives_in("kraków")'
    assert (good.rows, good.row_count) == ([{"name": "Ann", "city": "Kraków"}], 1)
    assert good.answer == "Ann does."
    assert good.elapsed
    assert good.total_tokens
    assert good.error is None
    assert (failed.outcome, failed.collection) == ("failed", "other")
    assert failed.failed_calls
    assert failed.error
    assert failed.error["type"] == "ViewExecutionError"
    assert {
        "type": "ConnectionError",
        "message": "the model is down\nand stays so",
    }.items() <= failed.error["causes"][0].items()
    assert (unfinished.outcome, unfinished.question, unfinished.elapsed) == (
        "unfinished",
        "Open?",
        None,
    )
    assert unfinished.process
    assert unfinished.process.endswith(f":{os.getpid()}")


@FORMATS
async def test_a_failure_of_unknown_cause_has_no_error(
    log_format: str, log_dir: Path, make_collection: MakeCollection
) -> None:
    with contextlib.suppress(ViewExecutionError):
        await make_collection(Handler(log_dir, "all", log_format), reply=down).ask("Who?")
    await asyncio.sleep(0)
    gc.collect()

    (request,) = requests(log_dir)
    assert (request.outcome, request.error, request.question) == ("failed", None, "Who?")
    assert request.elapsed


@FORMATS
async def test_a_request_without_a_view_has_none(
    log_format: str, log_dir: Path, make_collection: MakeCollection
) -> None:
    with pytest.raises(ValueError), recording():
        await make_collection(Handler(log_dir, "all", log_format), view=None).ask("Who?")

    (request,) = requests(log_dir)
    assert (request.outcome, request.view, request.calls) == (
        "failed",
        None,
        0 if log_format == "jsonl" else None,
    )


async def test_formats_share_a_directory_and_even_a_file(log_dir: Path) -> None:
    for log_format in ("text", "jsonl", "text"):
        await ask(Handler(log_dir, "all", log_format), question=log_format)
    await ask(Handler(log_dir, "{collection}", "jsonl"), question="alone")

    assert sorted(str(request.question) for request in requests(log_dir)) == [
        "alone",
        "jsonl",
        "text",
        "text",
    ]


@FORMATS
async def test_what_is_no_record_is_passed_over(log_format: str, log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", log_format))
    file = log_dir / "all"
    whole = file.read_bytes()
    (log_dir / "broken.gz").write_bytes(gzip.compress(whole)[:60])
    (log_dir / "foreign.gz").write_bytes(b"no gzip")
    (log_dir / "spoilt.gz").write_bytes(gzip.compress(whole)[:10] + b"\xff" * 100)
    (log_dir / "foreign.bin").write_bytes(bytes(range(256)) * 100)
    (log_dir / "foreign.jsonl").write_text(
        '{"time": "now"}\n[]\n{"time":"2026-11-25T10:00:00Z",\n', "utf-8"
    )
    (log_dir / "empty").touch()
    (log_dir / "link").symlink_to("all")
    broken = (
        b'{"time":"2026-11-25T10:00:00.000000Z","request_id":"'
        + b"0" * 32
        + b'","kind":"request_start","da\n'
    )
    file.write_bytes(b"          \n" + broken + whole + whole[: whole.index(b"\n")])

    assert sorted((request.outcome, request.question) for request in requests(log_dir))[0] == (
        "ok",
        "Who?",
    )
    assert len([*requests(log_dir)]) == 2  # the broken line tells an id, a time and that it started


@FORMATS
async def test_a_request_is_found_in_files_that_were_rotated(
    log_format: str, log_dir: Path
) -> None:
    await ask(Handler(log_dir, "all", log_format))
    lines = (log_dir / "all").read_bytes()
    (end,) = [
        "".join(each.lines).encode()
        for each in records(log_dir / "all")
        if each.kind == "request_end"
    ]
    (log_dir / "all").write_bytes(end)
    (log_dir / "all.1.gz").write_bytes(gzip.compress(lines.replace(end, b"")))
    os.utime(log_dir / "all.1.gz", (1, 1))

    (request,) = requests(log_dir)
    assert request.outcome == "ok"
    assert (
        abs(
            request.started.timestamp() + (request.elapsed or 0) - (log_dir / "all").stat().st_mtime
        )
        < 1
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (
            f'{JSON}05.000000Z","request_id":"{"0" * 32}","kind":"request_start"' + "}",
            f'{JSON}15.000000Z","request_id":"{"0" * 32}","kind":"request_end","elapsed":10.0'
            + "}",
        ),
        (
            "00000000 2026-01-02 03:04:05.000 request_start",
            "00000000 2026-01-02 03:04:15.000 request_end  Elapsed Time: 10.000 s",
        ),
    ],
    ids=["jsonl", "text"],
)
def test_a_request_without_its_start_started_as_long_ago_as_it_took(
    start: str, end: str, log_dir: Path
) -> None:
    log_dir.mkdir()
    for lines in ([start, end], [end]):
        (log_dir / "all").write_text("\n".join([*lines, ""]), "utf-8")

        (request,) = requests(log_dir)
        assert request.started == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert request.request_id.strip("0") == ""


@FORMATS
async def test_what_a_view_says_of_its_query_may_be_a_text(log_format: str, log_dir: Path) -> None:
    tracker = EventTracker.initialize_with_handlers([Handler(log_dir, "all", log_format)])
    await tracker.request_start(RequestStart("staff", "Who?"))
    await tracker.request_end(
        RequestEnd(ExecutionResult([], {"iql": "named('Ann')"}, 1, 1, "StaffView"))
    )

    (request,) = requests(log_dir)
    assert (request.iql, request.rows) == ("named('Ann')", [] if log_format == "jsonl" else None)


@FORMATS
async def test_an_error_is_read_to_the_letter(log_format: str, log_dir: Path) -> None:
    with pytest.raises(ValueError), recording():
        tracker = EventTracker.initialize_with_handlers([Handler(log_dir, "all", log_format)])
        await tracker.request_start(RequestStart("staff", "Who?"))
        raise ValueError("no: neither: nor")

    (request,) = requests(log_dir)
    assert request.error == {"type": "ValueError", "message": "no: neither: nor", "causes": []}


async def test_newest_stops_where_files_are_older(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Handler(log_dir, "{request_id}", "jsonl")
    for number in range(20):
        with recording() as made:
            await ask(handler, question=str(number))
        if number < 15:
            os.utime(log_dir / str(made.request_id), (number, number))
    read: list[str] = []
    monkeypatch.setattr(
        f"{newest.__module__}.records", lambda path: read.append(path) or records(path)
    )  # type: ignore[func-returns-value]
    assert [request.question for request in newest(log_dir, most=3)] == ["17", "18", "19"]
    assert (
        len(read) == 6
    )  # those that may be as new as the ones found, and one that shows that the rest is older
    assert [
        request.question
        for request in newest(log_dir, most=2, is_wanted=lambda each: each.question == "3")
    ] == ["3"]
    assert newest(log_dir, most=3, since=newest(log_dir, most=1)[0].started.timestamp() + 1) == []


async def test_a_data_frame_of_requests(log_dir: Path) -> None:
    for log_format in ("text", "jsonl"):
        await ask(Handler(log_dir, "{request_id}", log_format), collection=log_format)

    frame = pandas.DataFrame(map(asdict, requests(log_dir)))
    assert frame.groupby("collection").calls.sum().to_dict() == {"text": 1, "jsonl": 1}


@FORMATS
async def test_withheld_content_is_read_as_withheld(log_format: str, log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", log_format, record_inputs=False, record_outputs=False))

    (request,) = requests(log_dir)
    assert (request.question, request.rows, request.sql) == ("[withheld]", "[withheld]", None)


async def test_a_file_that_was_removed_meanwhile_is_passed_over(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(Handler(log_dir, "all"))
    found = find_files(log_dir)
    (log_dir / "all").unlink()
    assert [*records(log_dir / "all")] == []
    with pytest.raises(FileNotFoundError):
        next(requests(log_dir / "all"))
    monkeypatch.setattr(os, "listdir", lambda _: ["all"])
    assert find_files(log_dir) == [] != found


def test_one_line_of_many_megabytes_is_no_matter(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{newest.__module__}._LONGEST_LINE", 1000)
    log_dir.mkdir()
    (log_dir / "all").write_bytes(b"x" * 10_000 + b"\n")
    assert [*requests(log_dir)] == []


@FORMATS
@pytest.mark.parametrize("count", [0, 100_000])
async def test_the_number_of_rows_is_that_of_the_result(
    log_format: str, count: int, log_dir: Path
) -> None:
    tracker = EventTracker.initialize_with_handlers([Handler(log_dir, "all", log_format)])
    await tracker.request_start(RequestStart("staff", "Who?"))
    await tracker.request_end(
        RequestEnd(ExecutionResult([{"n": 1}] * count, {}, 0.1, 0.1, "StaffView"))
    )

    (request,) = requests(log_dir)
    assert request.row_count == count
    assert len(request.rows or []) < 10_000
