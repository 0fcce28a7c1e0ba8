"""Proves that what was recorded is read back, whatever else is in the directory.

Delete this file together with `reading/`, if you do not use the command nor the API behind it.
"""

import asyncio
import contextlib
import gc
import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas
import pytest
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import RequestEnd, RequestStart
from dbally.collection.collection import Collection
from dbally.collection.results import ExecutionResult
from dbally.views.exceptions import ViewExecutionError
from files import ask, posix_only, run_python

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }} import recording
from {{ cookiecutter.package_name }}.reading import events, newest, records, requests, with_id

MakeCollection = Callable[..., Collection]
NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
ID = "0123456789abcdef" * 2


def row(kind: str, seconds: float = 0, request_id: str = ID, **more: Any) -> dict[str, Any]:
    """Return a record as a recorder writes it, so many seconds after noon."""
    moment = f"{NOON + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%fZ}"
    return {"time": moment, "request_id": request_id, "kind": kind, **more}


def start(seconds: float = 0, question: str = "Who?", request_id: str = ID) -> dict[str, Any]:
    data = {"collection_name": "staff", "question": question}
    return row("request_start", seconds, request_id, data=data)


def end(seconds: float = 10, request_id: str = ID, **more: Any) -> dict[str, Any]:
    return row("request_end", seconds, request_id, elapsed=10.0, **more)


def write(path: Path, *rows: dict[str, Any], age: float | None = None) -> Path:
    """Write records into a file that seems to be written so many seconds after noon."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")
    if age is not None:
        os.utime(path, (NOON.timestamp() + age,) * 2)
    return path


def questions(log_dir: Path) -> list[str | None]:
    return sorted((request.question for request in requests(log_dir)), key=str)


async def down(conversation: str) -> str:
    raise ConnectionError("the model is down\nand stays so")


@pytest.mark.parametrize("pattern", ["{request_id}", "{started_at:%Y}/{collection}", "all"])
async def test_what_was_recorded_is_read_back(
    pattern: str, log_dir: Path, make_collection: MakeCollection
) -> None:
    handler = Handler(log_dir, pattern, "jsonl")
    with recording(user="ann") as good_block:
        await make_collection(handler).ask(
            "Who lives in\nKraków? \ud83d", return_natural_response=True
        )
    with contextlib.suppress(ViewExecutionError), recording() as failed_block:
        await make_collection(handler, reply=down, name="other").ask("Who?")
    tracker = EventTracker.initialize_with_handlers([handler])
    with recording() as open_block:
        await tracker.request_start(RequestStart("staff", "Open?"))

    (good,) = with_id(str(good_block.request_id), log_dir)
    assert (good.outcome, good.collection, good.view) == ("ok", "staff", "StaffView")
    assert good.labels == {"user": "ann"}
    assert good.question == "Who lives in\nKraków? \\ud83d"
    assert good.sql == "SELECT staff.name, staff.city \nFROM staff \nWHERE staff.city = 'Kraków'"
    assert good.iql["filters"] == 'lives_in("kraków")'
    assert (good.rows, good.row_count) == ([{"name": "Ann", "city": "Kraków"}], 1)
    assert good.answer == "Ann does."
    assert good.elapsed and good.total_tokens
    assert good.error is None

    (failed,) = with_id(str(failed_block.request_id), log_dir)
    assert (failed.outcome, failed.collection, failed.view) == ("failed", "other", "StaffView")
    assert failed.failed_calls
    assert failed.error
    assert failed.error["type"] == "ViewExecutionError"
    assert failed.error["causes"][0]["message"] == "the model is down\nand stays so"

    (unfinished,) = with_id(str(open_block.request_id)[:6], log_dir)
    assert (unfinished.outcome, unfinished.question) == ("unfinished", "Open?")
    assert unfinished.elapsed is None
    assert str(unfinished.process).endswith(f":{os.getpid()}")
    assert len(list(requests(log_dir))) == 3


async def test_a_failure_of_unknown_cause_has_no_error(
    log_dir: Path, make_collection: MakeCollection
) -> None:
    with contextlib.suppress(ViewExecutionError):
        await make_collection(Handler(log_dir, "all", "jsonl"), reply=down).ask("Who?")
    await asyncio.sleep(0)
    gc.collect()

    (request,) = requests(log_dir)
    assert (request.outcome, request.error, request.question) == ("failed", None, "Who?")
    assert request.elapsed


async def test_withheld_content_is_read_as_withheld(log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", "jsonl", record_inputs=False, record_outputs=False))

    (request,) = requests(log_dir)
    assert (request.question, request.rows, request.sql) == ("[withheld]", "[withheld]", None)


@pytest.mark.parametrize("count", [0, 100_000])
async def test_the_number_of_rows_is_that_of_the_result(count: int, log_dir: Path) -> None:
    tracker = EventTracker.initialize_with_handlers([Handler(log_dir, "all", "jsonl")])
    await tracker.request_start(RequestStart("staff", "Who?"))
    result = ExecutionResult([{"n": 1}] * count, {"iql": "named('Ann')"}, 0.1, 0.1, "StaffView")
    await tracker.request_end(RequestEnd(result))

    (request,) = requests(log_dir)
    assert request.row_count == count
    assert len(request.rows) < 10_000
    assert request.iql == "named('Ann')"  # a view may say anything about its query


async def test_requests_make_a_data_frame(log_dir: Path) -> None:
    for collection in ("staff", "orders"):
        await ask(Handler(log_dir, "{request_id}", "jsonl"), collection=collection)

    frame = pandas.DataFrame(map(asdict, requests(log_dir)))
    assert frame.groupby("collection").calls.sum().to_dict() == {"staff": 1, "orders": 1}


def test_a_request_is_found_in_files_that_were_rotated(log_dir: Path) -> None:
    write(log_dir / "all", end())
    old = write(log_dir / "all.1", start(), age=5)
    (log_dir / "all.1.gz").write_bytes(gzip.compress(old.read_bytes()))
    os.utime(log_dir / "all.1.gz", (1, 1))
    old.unlink()

    (request,) = requests(log_dir)
    assert request.outcome == "ok"
    assert request.started == NOON  # as long ago as it took


def test_keys_that_are_not_known_are_ignored(log_dir: Path) -> None:
    unknown = {"model": {"name": "m"}, "rows": "many", "view": 5}
    write(log_dir / "all", start() | unknown, end(summary={"cost": [1.5], "event": 7}))

    (request,) = requests(log_dir)
    assert (request.outcome, request.question) == ("ok", "Who?")


def test_files_of_the_text_format_are_not_read(log_dir: Path) -> None:
    asyncio.run(ask(Handler(log_dir, "all.log", "text")))
    asyncio.run(ask(Handler(log_dir, "all.jsonl", "jsonl"), question="as JSON"))

    assert questions(log_dir) == ["as JSON"]


BAD_TIMES = ["2026-02-30T10:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "now", 5]
BAD_LINES = [
    *(json.dumps(start(question="bad") | {"time": each}) for each in [*BAD_TIMES, "2026-01-02"]),
    *(json.dumps(start(question="bad") | {"request_id": each}) for each in ["", "x" * 32, 7, None]),
    json.dumps(row("request_gone")),
    json.dumps(row("request_end", elapsed="soon")),
    json.dumps(row("request_end", elapsed=-1)),
    json.dumps(row("request_end", elapsed=10**400)),
    json.dumps(row("request_end", elapsed=float("nan"))),
    json.dumps(row("request_end", summary=[])),
    json.dumps(row("request_end", summary={"calls": "many"})),
    json.dumps(row("request_end", summary={"view": {}})),
    json.dumps(row("request_start", labels=["user"])),
    json.dumps(row("request_start", process=1)),
    json.dumps(row("request_failed", error="down")),
    json.dumps(row("request_failed", error={"type": "E", "message": "", "causes": [5]})),
    json.dumps(row("request_failed", error={"type": 1, "message": "", "causes": []})),
    json.dumps([row("request_start")]),
    json.dumps(start(question="bad"))[:-10],
    json.dumps(row("request_end", data={"result": 0})).replace("0}", "[" * 100_000),
    json.dumps(start(question="bad")).replace('"kind"', '"kind\0"', 1) + '"kind":"request_start"',
]


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: line[:150])
def test_a_line_that_is_no_record_is_passed_over_and_told(
    line: str, log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = "f" * 32
    path = write(log_dir / "all", start(), end())
    good = path.read_text("utf-8")
    path.write_text(line + "\n" + good + line + "\n" + good.replace(ID, other), "utf-8")

    assert [request.request_id for request in requests(log_dir)] == [ID, other]
    assert caplog.messages == [f"{path}: 2 damaged records are left out"]


def test_values_of_any_type_are_passed_on_where_db_ally_gives_any_type(log_dir: Path) -> None:
    asked = row("request_start", data={"collection_name": "staff", "question": ["Who?"]})
    result = {"results": 5, "context": {"sql": {"a": 1}, "iql": None}, "textual_response": 0}
    write(log_dir / "all", asked, end(data={"result": result}))

    (request,) = requests(log_dir)
    assert (request.question, request.sql, request.answer) == ('["Who?"]', '{"a": 1}', "0")
    assert request.rows == 5


def test_a_text_that_quotes_a_record_is_no_record(
    log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quoted = json.dumps(start(question="quoted"), separators=(",", ":"))
    nested = row("event_start", event_id=1, event="E", data={"kind": "request_start"})
    path = write(log_dir / "all", start(question=quoted), nested, end())
    other = write(log_dir / "other", start(question=ID, request_id="f" * 32))
    with other.open("a", encoding="utf-8") as file:
        file.write(ID + "\n")

    (request,) = requests(path)
    assert request.question == quoted
    assert list(records(other, ID)) == []
    assert caplog.messages == []


def test_foreign_files_are_passed_over_without_a_word(
    log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(log_dir / "all", start(), end())
    (log_dir / "foreign.bin").write_bytes(bytes(range(256)) * 100)
    (log_dir / "foreign.jsonl").write_text('{"time": "now"}\n[]\n\n{"kind":"event"}\n', "utf-8")
    (log_dir / "one-line").write_bytes(b"x" * 1_000_000)
    (log_dir / "empty").touch()
    (log_dir / "folder.jsonl").mkdir()

    assert questions(log_dir) == ["Who?"]
    assert caplog.messages == []


def test_a_line_without_an_end_is_still_being_written(
    log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(log_dir / "all", start(), end())
    path.write_text(path.read_text("utf-8").removesuffix("\n"), "utf-8")

    (request,) = requests(log_dir)
    assert request.outcome == "unfinished"
    assert caplog.messages == []


@posix_only
def test_links_pipes_and_sockets_in_a_directory_are_not_read(log_dir: Path) -> None:
    path = write(log_dir / "all", start(), end())
    (log_dir / "link").symlink_to(path)
    (log_dir / "dangling").symlink_to("nowhere")
    (log_dir / "loop").symlink_to(log_dir)
    os.mkfifo(log_dir / "pipe")

    assert questions(log_dir) == ["Who?"]
    assert questions(log_dir / "link") == ["Who?"]  # a link that is named is followed


def spoil(content: bytes) -> bytes:
    return content[:10] + b"\xff" * 100


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda content: content[:-12], "Compressed file ended before"),
        (lambda content: b"no gzip", "Not a gzipped file"),
        (spoil, "Error -3 while decompressing"),
    ],
    ids=["cut short", "foreign", "spoilt"],
)
def test_a_compressed_file_that_is_damaged_is_told_once(
    damage: Callable[[bytes], bytes],
    problem: str,
    log_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write(log_dir / "all", start(), end())
    broken = log_dir / "broken.gz"
    broken.write_bytes(damage(gzip.compress(path.read_bytes())))

    for _ in range(2):
        assert set(questions(log_dir)) == {"Who?"}
    (message,) = caplog.messages
    assert message.startswith(f"{broken}: {problem}")
    with pytest.raises(OSError, match=problem):
        list(requests(broken))
    (good,) = requests(path)
    assert events(replace(good, path=str(broken), offset=0)) == []


AS_NOBODY = """
from {package}.reading import requests
os.setgroups([])
os.setuid(65534)
print([request.question for request in requests(sys.argv[1])])
for path in sys.argv[2:]:
    try:
        list(requests(path))
    except PermissionError as error:
        print(error.filename)
"""


def test_a_folder_that_may_not_be_read_is_told_and_the_rest_is_read(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(log_dir / "all", start(), end())
    folder = write(log_dir / "lost+found" / "file", start(question="lost")).parent
    real_scandir = os.scandir

    def scandir(path: str) -> Any:
        if path == str(folder):
            raise PermissionError(13, "Permission denied", path)
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert questions(log_dir) == ["Who?"]
    assert caplog.messages == [f"{folder}: Permission denied"]
    with pytest.raises(PermissionError):
        requests(folder)


@posix_only
@pytest.mark.skipif(os.name == "posix" and os.getuid() != 0, reason="only root becomes another")
def test_what_may_not_be_read_is_told_and_the_rest_is_read(tmp_path_factory: Any) -> None:
    package = requests.__module__.split(".")[0]
    log_dir = tmp_path_factory.getbasetemp() / f"{time.time_ns()}"
    for folder in (*log_dir.parents[:-1], log_dir):
        if folder.exists() and folder.stat().st_uid == 0 and folder != Path("/tmp"):
            folder.chmod(0o711)
    write(log_dir / "all", start(), end())
    secret = write(log_dir / "secret", start(question="secret"))
    folder = write(log_dir / "lost+found" / "file", start(question="lost")).parent
    closed = write(log_dir / "closed" / "file", start(question="closed")).parent
    log_dir.chmod(0o755)
    secret.chmod(0)
    folder.chmod(0)
    closed.chmod(0o444)

    process = run_python(
        AS_NOBODY.replace("{package}", package), *map(str, (log_dir, secret, folder))
    )
    assert process.stdout.splitlines() == ["['Who?']", str(secret), str(folder)]
    said = sorted(process.stderr.splitlines())
    assert said == [f"{path}: Permission denied" for path in (closed, folder, secret)]


def test_a_file_that_is_removed_meanwhile_is_passed_over(
    log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(log_dir / "first", start(), end(), age=10)
    gone = write(log_dir / "second", start(request_id="f" * 32, question="Gone?"), age=0)

    found = requests(log_dir)
    first = next(found)
    gone.unlink()
    assert (first.question, list(found)) == ("Who?", [])
    assert caplog.messages == []
    with pytest.raises(FileNotFoundError):
        requests(gone)


def test_a_file_that_is_removed_while_its_directory_is_read_is_passed_over(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(log_dir / "first", start(), end())
    gone = write(log_dir / "gone", start())
    real_lstat = os.lstat

    def lstat(path: str) -> os.stat_result:
        gone.unlink(missing_ok=True)
        return real_lstat(path)

    monkeypatch.setattr(os, "lstat", lstat)
    assert questions(log_dir) == ["Who?"]
    assert caplog.messages == []


@posix_only
def test_a_pipe_that_is_named_is_read(log_dir: Path) -> None:
    content = write(log_dir / "all", start(), end()).read_bytes()
    read_end, write_end = os.pipe()
    os.write(write_end, content)
    os.close(write_end)

    (request,) = requests(f"/dev/fd/{read_end}")
    os.close(read_end)
    assert request.question == "Who?"
    assert events(request) == []


def ids_of(count: int) -> list[str]:
    return [f"{number:032x}" for number in range(count)]


def read_names(monkeypatch: pytest.MonkeyPatch, log_dir: Path) -> list[str]:
    """Return a list that will have the names of the log files that are opened."""
    opened: list[str] = []
    real_open = open

    def counting_open(path: Any, *args: Any, **options: Any) -> Any:
        if str(path).startswith(str(log_dir)):
            opened.append(os.path.basename(path))
        return real_open(path, *args, **options)

    monkeypatch.setattr("builtins.open", counting_open)
    return opened


def test_newest_reads_no_more_files_than_it_must(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, request_id in enumerate(ids_of(20)):
        begin = number * 3600
        rows = start(begin, str(number), request_id), end(begin + 10, request_id)
        write(log_dir / str(number), *rows, age=begin + 10)
    opened = read_names(monkeypatch, log_dir)

    assert [request.question for request in newest(log_dir, most=3)] == ["17", "18", "19"]
    assert opened == ["19", "18", "17"]
    since = NOON.timestamp() + 18 * 3600
    assert [request.question for request in newest(log_dir, most=9, since=since)] == ["18", "19"]
    found = newest(log_dir, most=2, is_wanted=lambda request: request.question == "3")
    assert [request.question for request in found] == ["3"]


@pytest.mark.parametrize("skew", [5, 50, 299])
def test_newest_allows_for_a_disk_whose_clock_is_behind(skew: float, log_dir: Path) -> None:
    for number, request_id in enumerate(ids_of(20)):
        begin = number * 60
        behind = skew if number % 2 else 0
        rows = start(begin, str(number), request_id), end(begin + 1, request_id)
        write(log_dir / str(number), *rows, age=begin + 1 - behind)

    assert [request.question for request in newest(log_dir, most=3)] == ["17", "18", "19"]
    since = NOON.timestamp() + 19 * 60
    assert [request.question for request in newest(log_dir, most=9, since=since)] == ["19"]


def test_one_disk_of_several_may_have_a_clock_that_is_behind(log_dir: Path) -> None:
    for name, seconds, skew in (("newest", 3, 8), ("older", 0, 0), ("oldest", -3, 0)):
        request_id = name.encode().hex().zfill(32)
        rows = start(seconds, name, request_id), row("request_end", seconds, request_id)
        write(log_dir / name, *rows, age=seconds - skew)

    assert [request.question for request in newest(log_dir, most=1)] == ["newest"]


def test_newest_opens_no_file_that_is_too_old_even_if_it_holds_no_request(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, request_id in enumerate(ids_of(3)):
        write(log_dir / str(number), start(0, str(number), request_id), age=10)
        (log_dir / f"foreign-{number}").write_text("text\n", "utf-8")
        os.utime(log_dir / f"foreign-{number}", (NOON.timestamp() - 3600,) * 2)
    opened = read_names(monkeypatch, log_dir)

    assert len(newest(log_dir, most=3)) == 3
    assert sorted(opened) == ["0", "1", "2"]


def test_requests_since_a_time_read_no_file_that_is_older(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, request_id in enumerate(ids_of(3)):
        begin = number * 3600
        write(log_dir / str(number), start(begin, str(number), request_id), age=begin)
    opened = read_names(monkeypatch, log_dir)

    found = requests(log_dir, since=NOON.timestamp() + 3600)
    assert [request.question for request in found] == ["2", "1"]
    assert opened == ["2", "1"]


def test_a_short_id_is_looked_for_in_all_files(log_dir: Path) -> None:
    first, second = "de" + "0" * 30, "de" + "1" * 30
    write(log_dir / "orders.jsonl", start(question="One?", request_id=first))
    write(log_dir / "staff.jsonl", start(1, "Two?", second))

    found = with_id("de", log_dir)
    assert sorted(str(request.question) for request in found) == ["One?", "Two?"]
    assert len(with_id("", log_dir)) == 2


def test_an_id_is_looked_for_in_files_that_are_named_by_it_first(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = ids_of(2)
    write(log_dir / "shared", start(request_id=first), start(1, "Two?", second))
    write(log_dir / f"x-{ID[:8]}", start(question="Named?"))
    opened = read_names(monkeypatch, log_dir)

    assert [request.question for request in with_id(ID[:12], log_dir)] == ["Named?"]
    assert opened == [f"x-{ID[:8]}"]
    assert [request.question for request in with_id(second, log_dir)] == ["Two?"]
    assert with_id("ffff", log_dir) == []


def test_a_path_that_is_given_twice_is_read_once(log_dir: Path) -> None:
    path = write(log_dir / "all", start(), end())

    assert len(list(requests(log_dir, path, log_dir / ".." / "logs" / "all"))) == 1


def test_records_and_events_of_one_request_come_out_of_a_shared_file(log_dir: Path) -> None:
    other = "f" * 32
    rows = [
        start(request_id=other),
        start(),
        row("event_start", 1, event_id=1, event="LLMEvent", step="filters"),
        row("event_end", 2, request_id=other, event_id=1, event="Other", elapsed=1.0),
        row("event_failed", 4, event_id=1, event="LLMEvent", step="filters", elapsed=3.0),
        end(),
    ]
    path = write(log_dir / "all", *rows)

    (request,) = with_id(ID, path)
    own = [each for each in rows if each["request_id"] == ID]
    assert list(records(path, ID)) == list(records(path, ID, request.offset)) == own
    assert list(records(path)) == rows
    (event,) = events(request)
    assert (event["step"], event["kind"], event["elapsed"]) == ("filters", "event_failed", 3.0)
    assert event["started"] == NOON + timedelta(seconds=1)


def test_events_are_read_no_further_than_the_end_of_their_request(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "f" * 32
    before = [start(request_id=other), start(), row("event_start", 1, event_id=1, event="E"), end()]
    path = write(log_dir / "all", *before, *(end(request_id=other) for _ in range(1000)))
    (request,) = with_id(ID, path)
    package = records.__module__
    read: list[bytes] = []
    real_read_lines = import_module(package).read_lines

    def read_lines(path: str, offset: int) -> Iterator[bytes]:
        for line in real_read_lines(path, offset):
            read.append(line)
            yield line

    monkeypatch.setattr(f"{package}.read_lines", read_lines)
    assert [event["event"] for event in events(request)] == ["E"]
    assert len(read) == 3


def test_on_read_is_told_how_many_bytes_of_all_were_read(log_dir: Path) -> None:
    path = write(log_dir / "all", *(start(request_id=each) for each in ids_of(3)), age=1)
    packed = write(log_dir / "packed.gz", age=0)
    packed.write_bytes(gzip.compress(path.read_bytes()))
    os.utime(packed, (0, 0))
    told: list[tuple[int, int]] = []

    list(requests(log_dir, on_read=lambda read, total: told.append((read, total))))
    sizes = path.stat().st_size, packed.stat().st_size
    assert {total for _, total in told} == {sum(sizes)}
    read = [read for read, _ in told]
    assert read[:3] == [0, sizes[0] // 3, sizes[0] * 2 // 3]
    assert read[3:5] == [sizes[0]] * 2
    assert read[-1] == sum(sizes)
    assert read == sorted(read)
