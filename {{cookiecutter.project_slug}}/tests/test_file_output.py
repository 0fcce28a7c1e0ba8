"""What the files look like: names, formats, permissions, what is left of them on a bad day. And what a sink may do."""

import asyncio
import contextlib
import datetime
import errno
import gc
import itertools
import json
import logging
import os
import re
import stat
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from application import ROWS
from canaries import SECRETS, ask_with_canaries, canary
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestEnd, RequestStart
from dbally.collection.collection import Collection
from dbally.collection.results import ExecutionResult
from hypothesis import example, given
from hypothesis import strategies as st

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.filenames import safe_name
from {{ cookiecutter.package_name }}.formats import format_json, format_text
from {{ cookiecutter.package_name }}.limits import DEFAULT_LIMITS, PlainCopy
from {{ cookiecutter.package_name }}.logfile import LogFile
from {{ cookiecutter.package_name }}.records import Data, Record, Request
from {{ cookiecutter.package_name }}.values import Plain

MakeCollection = Callable[..., Collection]

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes, umask, links and signals as POSIX has them")
HEADLINE = re.compile(r"^\S+ [0-9a-f]{32} (request|event)_(start|end|failed)", re.MULTILINE)
RESULT = RequestEnd(ExecutionResult(ROWS, {"sql": "SELECT 1"}, 0.25, 0.125, "StaffView", "Ann does."))


async def ask(*handlers: Any, collection: str = "staff", question: str = "Who?") -> None:
    """Go through a whole request: 4 records."""
    tracker = EventTracker.initialize_with_handlers(list(handlers))
    await tracker.request_start(RequestStart(collection_name=collection, question=question))
    event = LLMEvent(question, "Prompt")
    async with tracker.track_event(event) as span:
        event.response = "Ann"
        span(event)
    await tracker.request_end(RESULT)


def logs(log_dir: Path) -> list[str]:
    return sorted(path.relative_to(log_dir).as_posix() for path in log_dir.rglob("*") if path.is_file())


def read(log_dir: Path) -> str:
    return "".join((log_dir / name).read_text("utf-8") for name in logs(log_dir))


# Names


async def test_each_request_has_a_file_and_files_sort_by_time(log_dir: Path) -> None:
    handler = Handler(log_dir, "{started_at:%Y%m%dT%H%M%S.%fZ}-{request_id:.8}.log")
    for number in range(10):
        await ask(handler, collection=f"c{9 - number}")

    texts = [(log_dir / name).read_text("utf-8") for name in logs(log_dir)]
    assert [re.findall(r"\bc\d\b", text) for text in texts] == [[f"c{9 - number}"] for number in range(10)]


async def test_the_pattern_decides_what_shares_a_file(log_dir: Path) -> None:
    handler = Handler(log_dir, "{started_at:%Y}/{collection}.log", "text")
    for collection in ("staff", "orders", "staff"):
        await ask(handler, collection=collection)

    year = f"{datetime.datetime.now(datetime.UTC):%Y}"
    assert logs(log_dir) == [f"{year}/orders.log", f"{year}/staff.log"]
    assert len(HEADLINE.findall((log_dir / year / "staff.log").read_text("utf-8"))) == 8


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/absolute.log",
        "../outside.log",
        "a/../b.log",
        "./a.log",
        "folder/",
        "a//b.log",
        "trailing-dot.",
        "trailing-space ",
        "con.log",
        "aux/a.log",
        "back\\slash.log",
        "{started_at}.log",
        "{started_at:%H:%M}.log",
        "{collection",
        "collection}",
        "{}",
        "{0}.log",
        "{user}.log",
        "{collection.name}.log",
        "{collection[0]}.log",
        "{collection!r}.log",
        "{collection:{request_id}}.log",
        "{request_id:d}.log",
        "new\nline.log",
        "question?.log",
        "a" * 247 + "{started_at:%A}",  # 256 bytes on Wednesdays alone
        "{collection:>300}.log",
        "{collection:<60}",
        "{collection:/<60}",
        "{collection:>99999999999}.log",
        "{request_id:.100}",
        "ą" * 200,
    ],
)
def test_a_pattern_that_cannot_work_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="filename_pattern") as refusal:
        Handler(filename_pattern=pattern)
    assert repr(pattern) in str(refusal.value)
    assert "for example '{started_at:%Y-%m-%d}" in str(refusal.value)


def test_a_time_without_a_format_is_told_to_have_one() -> None:
    with pytest.raises(ValueError, match=re.escape("{started_at} needs a format, such as {started_at:%Y-%m-%d}")):
        Handler(filename_pattern="{started_at}.log")


@pytest.mark.parametrize(
    ("log_dir", "rule"),
    [
        ("", "needs a name"),
        (" ", "needs a name"),
        ("\u3000", "needs a name"),
        ("logs/ /a", "needs a name"),
        ("/var/log.", "needs a name"),
        ("logs \\a", "needs a name"),
        (".../logs", "needs a name"),
        ("a\0b", "control characters"),
        ("what?", "control characters"),
        ("new\nline", "control characters"),
        ("a:b", "control characters"),
        ("C:", "control characters"),
        ("/C:/logs", "control characters"),
        ("con", "for a device"),
        ("C:\\logs\\NUL.txt", "for a device"),
        ("../com1/logs", "for a device"),
        ("/" + "ą" * 128, "255 bytes"),
    ],
)
def test_a_directory_that_cannot_work_is_refused(log_dir: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rf"log_dir .*{rule}.*; for example 'logs'") as refusal:
        Handler(log_dir)
    assert repr(log_dir) in str(refusal.value)


@pytest.mark.parametrize(
    "log_dir",
    [
        *("logs", "logs/", "./logs", "../logs", "../../logs", ".", "..", "a//b", "a b/c.d", "console"),
        *("/", "/var/log/ask", "/" + "x" * 255, "~", "~/logs", "~ann/.logs", "dziennik/日本"),
        *("C:\\logs", "C:\\", "C:/logs", "\\\\server\\share\\logs", "logs\\ask"),
    ],
)
def test_a_directory_as_people_write_them_is_taken(log_dir: str) -> None:
    Handler(log_dir)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"log_format 'xml'.*for example 'jsonl'"):
        Handler(log_format="xml")


class AsyncSink:
    async def __call__(self, record: Any) -> None: ...


@pytest.mark.parametrize(
    "option",
    [
        {"limits": None},
        {"limits": 1000},
        {"log_dir": None},
        {"log_dir": b"logs"},
        {"log_format": ["text"]},
        {"raise_errors": 1},
        {"record_inputs": "false"},
        {"record_outputs": None},
        {"sink": "stdout"},
        {"sink": AsyncSink().__call__},
        {"sink": AsyncSink()},
    ],
    ids=lambda option: repr(option).partition(" at 0x")[0],
)
def test_an_option_that_cannot_work_is_refused(option: dict[str, Any]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=rf"^{name} .*; for example ") as refusal:
        Handler(**option)
    assert repr(value) in str(refusal.value)


async def test_a_brace_in_the_pattern_is_doubled(log_dir: Path) -> None:
    await ask(Handler(log_dir, "{" * 2 + "{collection}" + "}" * 2))

    assert logs(log_dir) == ["{staff}"]


@given(
    st.lists(
        st.text() | st.sampled_from(["a", "A", "con", "CON", "..", ".", "", "a ", "a.", "ą", "a\u0328"]), unique=True
    )
)
def test_no_two_collections_share_a_name_on_any_system(collections: list[str]) -> None:
    names = [safe_name(collection) for collection in collections]

    assert len({name.casefold() for name in names}) == len(collections)
    assert all(re.fullmatch(r"[A-Za-z0-9_~-]{1,60}", name) for name in names)
    assert not {name.casefold() for name in names} & {"con", "prn", "aux", "nul", "com1", "lpt1"}


@pytest.mark.parametrize(
    "collection", ["../../etc/passwd", "/etc/passwd", "C:\\x", "a\nb", "\0", "x" * 5000, "con", "ł\ud800"]
)
async def test_a_hostile_collection_stays_in_the_directory(collection: str, log_dir: Path) -> None:
    await ask(Handler(log_dir, "{collection:.3}/{collection}.jsonl", "jsonl"), collection=collection)

    (name,) = logs(log_dir)
    assert os.listdir(log_dir.parent) == ["logs"]
    assert json.loads(read(log_dir).split("\n")[0])["data"]["collection_name"] == collection
    assert len(name.split("/")[1]) <= 60 + len(".jsonl")


# Formats

TEXT = st.text(st.characters(codec="utf-8")) | st.text(
    st.sampled_from("ab \n\r\t\x00\x0b\x0c\x1b\x1c\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200f\ud800|:-{}%")
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


def record_of(data: Any, request_id: str = "0" * 32) -> Record:
    request = Request(request_id, "staff", datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC))
    error: Data = {"type": "Error", "message": data if isinstance(data, str) else "m"}
    return Record(request.started_at, request, "event_failed", 1, "LLMEvent", 0.5, error, {"value": data}, {"value": 1})


@given(st.lists(VALUES, max_size=4))
@example(["2026-01-02T00:00:00+00:00 " + "0" * 32 + " request_end\n  Collection: forged"])
@example([{"role": "x\n  Output: forged", "content": "\nEvent"}])
def test_text_is_free_of_control_characters_and_forged_lines(values: list[Any]) -> None:
    text = "".join(format_text(record_of(PlainCopy(DEFAULT_LIMITS).copy(value, ()))) for value in values)

    assert text.encode().decode() == text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\u200f]", text)
    assert len(text.splitlines()) == text.count("\n")
    assert len(HEADLINE.findall(text)) == len(values)
    own_lines = [line for line in text.splitlines() if not line.startswith("    ")]
    assert [line.split(":")[0].strip() for line in own_lines if line.startswith("  ")] == [
        "Elapsed Time", "Error", "value", "Cut"
    ] * len(values)  # fmt: skip


@given(st.lists(VALUES, max_size=4))
def test_json_lines_are_strict_and_give_back_the_very_values(values: list[Any]) -> None:
    plain = [PlainCopy(DEFAULT_LIMITS).copy(value, ()) for value in values]
    text = "".join(format_json(record_of(value)._replace(kind="event_end")) for value in plain)

    lines = text.encode().decode().splitlines()
    read_back = [json.loads(line, parse_constant=pytest.fail)["data"]["value"] for line in lines]
    assert read_back == plain


async def test_text_reads_well(log_dir: Path) -> None:
    await ask(Handler(log_dir, "{collection}", "text"), question="Who\nis it?")

    text = re.sub(r"\S+\+00:00 [0-9a-f]{32}", "<time> <request>", read(log_dir))
    text = re.sub(r"Elapsed Time: \d+\.\d{6} s", "Elapsed Time: <seconds> s", text)
    assert (
        text
        == """\
<time> <request> request_start
  Collection: staff
  Question:
    | Who
    | is it?
<time> <request> event_start 1 LLMEvent
  Type: Prompt
  Prompt:
    | Who
    | is it?
<time> <request> event_end 1 LLMEvent
  Elapsed Time: <seconds> s
  Response: Ann
<time> <request> request_end
  Elapsed Time: <seconds> s
  Output:
    textual_response: Ann does.
    view_name: StaffView
    execution_time: 0.25
    execution_time_view: 0.125
    context:
      sql: SELECT 1
    results:
      - {"name": "Ann", "city": "Kraków"}
      - {"name": "Bob", "city": "Łódź"}
"""
    )


def test_text_shows_a_prompt_message_by_message() -> None:
    messages: Plain = [
        {"role": "system", "content": "Be brief.\nBe kind."},
        {"role": "user", "content": "Who?", "is_example": False},
        {"role": "neither"},
    ]

    record = record_of(None)._replace(cut=None, data={"prompt": messages})
    assert format_text(record).splitlines()[3:] == [
        "  Prompt:",
        "    system:",
        "      | Be brief.",
        "      | Be kind.",
        "    user: Who?",
        '    - {"role": "neither"}',
    ]


def test_text_leaves_out_nothing_of_a_row_that_looks_like_a_message() -> None:
    row: Plain = {"role": "admin", "content": "hello"}

    lines = format_text(record_of({"results": [row]})._replace(cut=None)).splitlines()
    assert lines[4:] == ["    results:", '      - {"role": "admin", "content": "hello"}']


def test_text_shows_as_json_what_is_nested_deeply() -> None:
    nested: Plain = {"a": {"b": {"c": {"d": "\x1b\n"}, "nothing": {}}}}

    assert format_text(record_of(nested)._replace(cut=None)).splitlines()[3:] == [
        "  value:",
        "    a:",
        "      b:",
        '        c: {"d": "\\u001b\\n"}',
        "        nothing: {}",
    ]


def test_text_shows_what_is_no_text_as_json_does() -> None:
    values: Plain = {"yes": True, "nothing": None, "whole": 7, "part": 0.5, "no rows": []}

    assert format_text(record_of(values)._replace(cut=None)).splitlines()[4:] == [
        "    yes: true",
        "    nothing: null",
        "    whole: 7",
        "    part: 0.5",
        "    no rows: []",
    ]


def test_text_of_a_failed_request_names_what_never_ended() -> None:
    record = record_of(None)._replace(kind="request_failed", event_id=None, error=None, data=None, cut=None)

    text = format_text(record._replace(open_events={3: "LLMEvent", 4: "Odd\nEvent"}))

    assert text.splitlines()[1:] == [
        "  Elapsed Time: 0.500000 s",
        "  Error: unknown: db-ally does not say what it was",
        "  Never ended: 3 LLMEvent, 4 Odd\\nEvent",
    ]


# The sink


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let Python collect nothing but where a test says so."""
    gc.disable()
    yield
    gc.enable()


async def leave_to_the_collector(handler: Any) -> None:
    """Start a request that is over when the collector comes by."""
    tracker: Any = EventTracker.initialize_with_handlers([handler])
    await tracker.request_start(RequestStart("staff", "Who?"))
    tracker.itself = tracker


@pytest.mark.usefixtures("no_collector")
async def test_the_garbage_collector_does_not_enter_a_sink_that_is_at_work() -> None:
    kinds: list[str] = []
    at_work: list[Record] = []

    def sink(record: Record) -> None:
        assert not at_work
        at_work.append(record)
        if record.kind == "request_end":
            gc.collect()
        kinds.append(at_work.pop().kind)

    handler = Handler(sink=sink)
    for _ in range(1500):  # more than Python can nest
        await leave_to_the_collector(handler)
    await ask(handler)

    assert kinds[1500:] == ["request_start", "event_start", "event_end", "request_end", *["request_failed"] * 1500]
    assert handler.lost_records == 0


@pytest.mark.usefixtures("no_collector")
async def test_a_sink_that_raises_while_a_failure_waits_does_not_lose_it() -> None:
    kinds: list[str] = []

    def sink(record: Record) -> None:
        kinds.append(record.kind)
        if record.kind == "request_end":
            gc.collect()
            raise OSError("no space")

    handler = Handler(sink=sink, raise_errors=True)
    await leave_to_the_collector(handler)
    with pytest.raises(OSError, match="no space"):
        await ask(handler)

    assert kinds[-2:] == ["request_end", "request_failed"]


async def test_a_sink_that_is_empty_is_a_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Kept(list[Record]):
        def __call__(self, record: Record) -> None:
            self.append(record)

    monkeypatch.chdir(tmp_path)
    kept = Kept()
    await ask(Handler(sink=kept))

    assert len(kept) == 4
    assert not list(tmp_path.iterdir())


async def test_a_sink_that_returns_a_coroutine_fails(caplog: pytest.LogCaptureFixture) -> None:
    async def store(record: Record) -> None: ...

    handler = Handler(sink=lambda record: store(record))
    await ask(handler)

    assert handler.lost_records == 4
    assert "returned a coroutine" in caplog.text


async def test_where_losses_and_successes_alternate_one_warning_a_minute_is_enough(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes = itertools.cycle([True, False])

    def sink(record: Record) -> None:
        if next(outcomes):
            raise OSError("not this one")

    handler = Handler(sink=sink)
    for _ in range(10):
        await ask(handler)

    assert handler.lost_records == 20
    assert [message.split(" ")[1] for message in caplog.messages] == ["fails,", "works"]


# The disk


@posix_only
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
async def test_only_the_owner_may_read_whatever_the_umask(umask: int, log_dir: Path) -> None:
    before = os.umask(umask)
    try:
        await ask(Handler(log_dir / "deep", "{collection}/{collection}.log"))
    finally:
        os.umask(before)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in [log_dir, *log_dir.rglob("*")] if path.is_dir()}
    assert modes == {0o700}
    assert stat.S_IMODE((log_dir / "deep/staff/staff.log").stat().st_mode) == 0o600


@posix_only
@pytest.mark.parametrize("planted", ["staff", "staff/staff.log"])
async def test_a_planted_link_is_not_followed(
    planted: str, log_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "target"
    (target if planted == "staff" else tmp_path).mkdir(exist_ok=True)
    (log_dir / planted).parent.mkdir(parents=True)
    (log_dir / planted).symlink_to(target)
    before = logs(tmp_path)

    await ask(Handler(log_dir, "{collection}/{collection}.log"))

    assert logs(tmp_path) == before
    assert "staff.log" in caplog.text


@posix_only
async def test_a_directory_that_is_not_mounted_is_an_error_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "unmounted")

    with pytest.raises(FileNotFoundError, match=r"staff\.log"):
        await ask(Handler(tmp_path / "link" / "logs", "{collection}.log", raise_errors=True))


@posix_only
async def test_a_planted_pipe_stops_nobody(log_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    log_dir.mkdir()
    os.mkfifo(log_dir / "staff.log")

    await asyncio.wait_for(ask(Handler(log_dir, "{collection}.log", "text")), 5)

    assert "staff.log" in caplog.text


async def test_a_deleted_directory_comes_back(log_dir: Path) -> None:
    handler = Handler(log_dir, "{collection}.log", "text")
    await ask(handler)
    (log_dir / "staff.log").unlink()
    log_dir.rmdir()
    await ask(handler)

    assert len(HEADLINE.findall(read(log_dir))) == 4
    assert handler.lost_records == 0


async def test_a_file_moved_away_in_the_middle_of_a_request_is_begun_anew(log_dir: Path) -> None:
    handler = Handler(log_dir, "{collection}.log", "text")
    tracker = EventTracker.initialize_with_handlers([handler])
    await tracker.request_start(RequestStart("staff", "Who?"))
    (log_dir / "staff.log").rename(log_dir / "staff.log.1")
    await tracker.request_end(RESULT)

    kinds = [HEADLINE.findall((log_dir / name).read_text("utf-8")) for name in ("staff.log.1", "staff.log")]
    assert kinds == [[("request", "start")], [("request", "end")]]
    assert handler.lost_records == 0


async def test_one_warning_says_that_recording_fails_and_one_that_it_works_again(
    log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Handler(log_dir, "{collection}.log", "text")
    (log_dir / "staff.log").mkdir(parents=True)
    await ask(handler)
    await ask(handler)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].startswith("Recording fails, records are lost from here on: [Errno ")
    assert caplog.messages[0].endswith(f": {str(log_dir / 'staff.log')!r}")

    (log_dir / "staff.log").rmdir()
    await ask(handler)
    assert caplog.messages[1:] == ["Recording works again; records lost so far: 8"]
    assert handler.lost_records == 8
    assert len(HEADLINE.findall(read(log_dir))) == 4


async def test_a_request_whose_file_is_in_the_way_warns_once_while_others_work(
    log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Handler(log_dir, "{collection}.log", "text")
    (log_dir / "bad.log").mkdir(parents=True)
    trackers = {name: EventTracker.initialize_with_handlers([handler]) for name in ("bad", "good")}
    for name, tracker in trackers.items():
        await tracker.request_start(RequestStart(collection_name=name, question="Who?"))
    for _ in range(5):
        for tracker in trackers.values():
            async with tracker.track_event(LLMEvent("prompt", "Prompt")):
                pass

    assert [record.getMessage().split(" ")[1] for record in caplog.records] == ["fails,", "works"]
    assert handler.lost_records == 11


class Disk:
    """The disk operations of the package, of which the `failing`-th fails."""

    OPERATIONS = ("open", "write", "close", "mkdir", "chmod", "fchmod")

    def __init__(self, failing: int) -> None:
        self.calls = 0
        self.failing = failing

    def wrap(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls != self.failing:
                return operation(*args, **kwargs)
            if operation.__name__ == "close":
                operation(*args)  # Linux closes it all the same
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        return wrapped


@pytest.fixture
def fail_operation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Disk]]:
    with monkeypatch.context() as patch:

        def fail(number: int) -> Disk:
            patch.undo()
            disk = Disk(number)
            for name in Disk.OPERATIONS:
                patch.setattr(os, name, disk.wrap(getattr(os, name)))
            return disk

        yield fail


@posix_only
@pytest.mark.parametrize("raise_errors", [False, True])
async def test_whichever_disk_operation_fails_the_rest_is_whole(
    raise_errors: bool, tmp_path: Path, fail_operation: Callable[[int], Disk], caplog: pytest.LogCaptureFixture
) -> None:
    number = 0
    failed = True
    while failed:
        number += 1
        log_dir = tmp_path / str(number)
        handler = Handler(log_dir, "{collection}/log.jsonl", "jsonl", raise_errors=raise_errors)
        caplog.clear()
        open_files = len(os.listdir("/dev/fd"))
        disk = fail_operation(number)
        raised = False
        try:
            await ask(handler)
        except OSError as error:
            raised = True
            assert error.errno == errno.EIO
        fail_operation(0)
        failed = disk.calls >= number

        assert len(os.listdir("/dev/fd")) == open_files
        lines = read(log_dir).splitlines()
        assert all(json.loads(line) for line in lines)
        assert raised == (raise_errors and failed)
        if not raise_errors:
            assert handler.lost_records == failed
            assert len(lines) >= 4 - failed
            assert len([record for record in caplog.records if "fails" in record.message]) == failed

    assert number > 3 * 4


@posix_only
async def test_a_record_cut_short_by_a_full_disk_leaves_no_trace(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Handler(log_dir, "{collection}.jsonl", "jsonl")
    await ask(handler)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
        await ask(handler)
    await ask(handler)

    assert len([json.loads(line) for line in read(log_dir).splitlines()]) == 8
    assert handler.lost_records == 4
    assert "No space left" in caplog.text or "room for" in caplog.text


@posix_only
async def test_a_record_cut_short_is_left_where_others_have_appended_behind_it(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Handler(log_dir, "{collection}.log", "text")
    await ask(handler)
    write = os.write

    def write_half_before_another(file: int, data: bytes) -> int:
        written = write(file, data[: len(data) // 2])
        write(file, b"of another process\n")
        os.lseek(file, -len(b"of another process\n"), os.SEEK_CUR)
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_half_before_another)
        await ask(handler)

    assert read(log_dir).count("of another process\n") == 4


PRELUDE = """
import asyncio, os, resource, sys
sys.path[:0] = {path!r}
from {package} import {handler} as Handler
from {package}.formats import FORMATS
from {package}.logfile import LogFile
from test_file_output import ask
"""


def run_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a Python of its own that knows the package as `Handler` and this module's `ask`."""
    prelude = PRELUDE.format(path=sys.path, package=Handler.__module__.split(".")[0], handler=Handler.__name__)
    return subprocess.Popen([sys.executable, "-c", prelude + code, *arguments], stdout=subprocess.PIPE, text=True)


@posix_only
@pytest.mark.parametrize("log_format", ["text", "jsonl"])
def test_what_was_recorded_survives_a_kill_at_any_callback(log_format: str, log_dir: Path) -> None:
    code = """
class Killer(LogFile):
    def __call__(self, record):
        super().__call__(record)
        kinds.append(record.kind)
        if len(kinds) == records:
            os.kill(os.getpid(), 9)
for records in range(1, 5):
    kinds = []
    if os.fork() == 0:
        folder = os.path.join(sys.argv[1], str(records))
        asyncio.run(ask(Handler(sink=Killer(folder, "{collection}", FORMATS[sys.argv[2]]))))
    assert os.wait()[1] == 9
"""
    process = run_python(code, str(log_dir), log_format)
    assert process.communicate()[0] == ""
    assert process.returncode == 0

    for records in range(1, 5):
        text = read(log_dir / str(records))
        assert text.endswith("\n")
        if log_format == "jsonl":
            assert [json.loads(line)["kind"] for line in text.splitlines()] == [
                "request_start",
                "event_start",
                "event_end",
                "request_end",
            ][:records]
        else:
            assert len(HEADLINE.findall(text)) == records


@posix_only
def test_thousands_of_requests_in_flight_need_no_descriptors(log_dir: Path) -> None:
    code = """
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestStart
from test_file_output import RESULT
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
handler = Handler(sys.argv[1], "{request_id}.jsonl", "jsonl", raise_errors=True)
arrived = 0
async def one(number, all_arrived):
    global arrived
    tracker = EventTracker.initialize_with_handlers([handler])
    await tracker.request_start(RequestStart(collection_name="c", question=str(number)))
    async with tracker.track_event(LLMEvent(str(number), "Prompt")):
        arrived += 1
        if arrived == 3000:
            all_arrived.set()
        await all_arrived.wait()
    await tracker.request_end(RESULT)
async def main():
    all_arrived = asyncio.Event()
    await asyncio.gather(*(one(number, all_arrived) for number in range(3000)))
asyncio.run(main())
"""
    process = run_python(code, str(log_dir))
    assert process.communicate()[0] == ""

    assert process.returncode == 0
    requests = [[json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in log_dir.iterdir()]
    assert len(requests) == 3000
    assert {record["data"]["question"] for record, *_ in requests} == {str(number) for number in range(3000)}
    for start, event, *_, end in requests:
        assert start["data"]["question"] == event["data"]["prompt"]
        assert end["kind"] == "request_end"


@posix_only
def test_processes_may_append_to_one_file(log_dir: Path) -> None:
    code = """
handler = Handler(sys.argv[1], "shared.jsonl", "jsonl", raise_errors=True)
async def ask_often(letter):
    for _ in range(100):
        await ask(handler, question=letter * 9000)
for letter in "abcd":
    if os.fork() == 0:
        asyncio.run(ask_often(letter))
        os._exit(0)
for letter in "abcd":
    assert os.wait()[1] == 0
"""
    process = run_python(code, str(log_dir))
    assert process.communicate()[0] == ""
    assert process.returncode == 0

    records = [json.loads(line) for line in read(log_dir).splitlines()]
    questions = [record["data"]["question"] for record in records if record["kind"] == "request_start"]
    assert sorted(questions) == sorted(letter * 9000 for letter in "abcd" * 100)


async def test_failed_requests_whose_errors_are_kept_cost_no_files_and_no_threads(
    log_dir: Path, make_collection: MakeCollection
) -> None:
    collection = make_collection(Handler(log_dir, "{request_id}"), view=None)
    before = len(os.listdir("/dev/fd")) if os.name == "posix" else 0, threading.active_count()

    errors = await asyncio.gather(*(collection.ask("Who?") for _ in range(1000)), return_exceptions=True)

    assert all(isinstance(error, ValueError) for error in errors)
    assert before == (len(os.listdir("/dev/fd")) if os.name == "posix" else 0, threading.active_count())
    assert len(logs(log_dir)) == 1000


async def test_failed_requests_leave_no_memory_behind(log_dir: Path, make_collection: MakeCollection) -> None:
    collection = make_collection(Handler(log_dir, "{request_id}"), view=None)

    async def memory_after(requests: int) -> int:
        for _ in range(requests):
            with contextlib.suppress(ValueError):
                await collection.ask("Who?")
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        await memory_after(200)
        before = await memory_after(200)
        after = await memory_after(1000)
    finally:
        tracemalloc.stop()

    assert after - before < 50_000  # bytes: 50 a request; its context alone takes more


@pytest.mark.parametrize("log_format", ["text", "jsonl"])
@pytest.mark.parametrize("letter", ["x", "\n", "\0", "\u202e", "\U0001f600"])
async def test_a_huge_result_takes_less_than_two_megabytes(letter: str, log_format: str, log_dir: Path) -> None:
    rows = [{"name": letter * 10}] * 300_000
    tracker = EventTracker.initialize_with_handlers([Handler(log_dir, "{collection}", log_format)])
    await tracker.request_start(RequestStart("staff", "Who?"))
    await tracker.request_end(RequestEnd(ExecutionResult(rows, {"sql": letter * 5_000_000}, 1, 1, "View")))

    log = read(log_dir)
    assert 100_000 < len(log.encode()) < 2_000_000
    assert "result.results" in log
    assert "300000" in log


def nested(depth: int, value: Any) -> Any:
    return json.loads('{"k": ' * depth + json.dumps(value) + "}" * depth)


@pytest.mark.parametrize(
    ("rows", "context"),
    [
        ([{f"n{column}": 1 << 4_000 for column in range(15)} for _ in range(1_000)], {}),
        ([{"k" * 5_000_000: "v" * 200_000}], {}),
        ([{"k" * 20_000: [json.loads("[" * 40 + "]" * 40)] * 1_000}], {}),
        ([{"k": [""] * 1_000} for _ in range(1_000)], {}),
        ([], nested(25, "\n" * 100_000)),
    ],
    ids=["long numbers", "a long name", "a long name above what is cut", "empty texts", "lines in mappings"],
)
@pytest.mark.parametrize("log_format", ["text", "jsonl"])
async def test_whatever_a_result_is_made_of_it_is_bounded(
    rows: list[dict[str, Any]], context: dict[str, Any], log_format: str, log_dir: Path
) -> None:
    tracker = EventTracker.initialize_with_handlers([Handler(log_dir, "{collection}", log_format)])
    await tracker.request_start(RequestStart("staff", "Who?"))
    await tracker.request_end(RequestEnd(ExecutionResult(rows, context, 1, 1, "View")))

    assert len(read(log_dir)) < 500_000


@pytest.mark.parametrize("withheld", ["inputs", "outputs"])
@pytest.mark.parametrize("log_format", ["text", "jsonl"])
@pytest.mark.parametrize("fail", [False, True])
async def test_what_is_switched_off_is_in_no_byte_of_any_file(
    withheld: str, log_format: str, fail: bool, log_dir: Path
) -> None:
    switch: Any = {f"record_{withheld}": False}
    handler = Handler(log_dir, "{started_at:%Y}/{collection}-{request_id}", log_format, **switch)
    with contextlib.suppress(RuntimeError):
        await ask_with_canaries(handler, fail=fail)

    everything = b"".join(
        bytes(path) + (path.read_bytes() if path.is_file() else b"") for path in sorted(log_dir.rglob("*"))
    )
    assert b"request_failed" in everything if fail else b"request_end" in everything
    assert [field for field in SECRETS[withheld] if canary(field).encode() in everything] == []


def test_paths_are_absolute_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = LogFile("logs", "{collection}", format_json)
    monkeypatch.chdir("/")

    assert sink.path_of(record_of(None).request) == str(tmp_path / "logs" / "staff")
