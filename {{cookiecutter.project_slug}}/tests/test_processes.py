"""Kills, forks, several processes on one file, thousands of requests at once: nothing is lost, nothing piles up."""

import asyncio
import contextlib
import gc
import json
import os
import socket
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from dbally.collection.collection import Collection
from files import HEADLINE, logs, posix_only, read, run_python

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler

MakeCollection = Callable[..., Collection]


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
        asyncio.run(ask(Recorder(Killer(folder, "{collection}", sys.argv[2]))))
    assert os.wait()[1] == 9
"""
    process = run_python(code, str(log_dir), log_format)
    assert (process.returncode, process.stdout) == (0, ""), process.stderr

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
    assert (process.returncode, process.stdout) == (0, ""), process.stderr

    requests = [
        [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for path in log_dir.iterdir()
    ]
    assert len(requests) == 3000
    assert {record["data"]["question"] for record, *_ in requests} == {
        str(number) for number in range(3000)
    }
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
    assert (process.returncode, process.stdout) == (0, ""), process.stderr

    records = [json.loads(line) for line in read(log_dir).splitlines()]
    questions = [
        record["data"]["question"] for record in records if record["kind"] == "request_start"
    ]
    assert sorted(questions) == sorted(letter * 9000 for letter in "abcd" * 100)


@posix_only
def test_the_start_of_a_request_names_its_process_right_after_a_fork(log_dir: Path) -> None:
    code = """
handler = Handler(sys.argv[1], "{request_id}.jsonl", "jsonl")
asyncio.run(ask(handler))
print(os.getpid())
if os.fork() == 0:
    asyncio.run(ask(handler))
    os._exit(0)
os.wait()
"""
    process = run_python(code, str(log_dir))
    assert process.stderr == ""

    started = [json.loads(line) for line in read(log_dir).splitlines() if "request_start" in line]
    hosts, pids = zip(*(record["process"].rsplit(":", 1) for record in started), strict=True)
    assert set(hosts) == {socket.gethostname()}
    assert process.stdout.strip() in pids
    assert len({*pids}) == len({record["request_id"] for record in started}) == 2


async def test_failed_requests_whose_errors_are_kept_cost_no_files_and_no_threads(
    log_dir: Path, make_collection: MakeCollection
) -> None:
    collection = make_collection(Handler(log_dir, "{request_id}"), view=None)
    before = len(os.listdir("/dev/fd")) if os.name == "posix" else 0, threading.active_count()

    errors = await asyncio.gather(
        *(collection.ask("Who?") for _ in range(1000)), return_exceptions=True
    )

    assert all(isinstance(error, ValueError) for error in errors)
    assert before == (
        len(os.listdir("/dev/fd")) if os.name == "posix" else 0,
        threading.active_count(),
    )
    assert len(logs(log_dir)) == 1000


async def test_failed_requests_leave_no_memory_behind(
    log_dir: Path, make_collection: MakeCollection
) -> None:
    collection = make_collection(Handler(log_dir, "{request_id}"), view=None)

    async def memory_after(requests: int) -> int:
        for _ in range(requests):
            with contextlib.suppress(ValueError):
                await collection.ask("Who?")
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        await memory_after(300)
        before = await memory_after(200)
        after = await memory_after(1000)
    finally:
        tracemalloc.stop()

    assert after - before < 50_000  # bytes: 50 a request; its context alone takes more
