"""Kills, forks, several processes on one file, thousands of requests at once: nothing is lost.

Delete what names files with `logfile.py`. Keep the rest as long as you keep `recorder.py`.
"""

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import threading
import tracemalloc

import pytest
from dbally.audit.events import LLMEvent
from files import (
    HEADLINE,
    RESULT,
    ask,
    file_recorder,
    logs,
    posix_only,
    read,
    start,
    start_fork,
    start_python,
)

from {{ cookiecutter.package_name }} import Recorder

REQUEST = ["request_start", "event_start", "event_end", "request_end"]


def read_json(log_dir):
    return [json.loads(line) for line in read(log_dir).splitlines()]


# Kills and forks


def ask_and_be_killed(log_dir, log_format, last_record):
    handler = file_recorder(log_dir, "{collection}", log_format)
    write = handler.sink
    written = 0

    def write_and_die(record):
        nonlocal written
        write(record)
        written += 1
        if written == last_record:
            os.kill(os.getpid(), signal.SIGKILL)

    handler.sink = write_and_die
    asyncio.run(ask(handler))


@posix_only
@pytest.mark.parametrize("last_record", [1, 2, 3, 4])
@pytest.mark.parametrize("log_format", ["text", "jsonl"])
def test_what_was_recorded_survives_a_kill(log_format, last_record, log_dir):
    process = start_fork(ask_and_be_killed, log_dir, log_format, last_record)
    process.join()

    assert process.exitcode == -signal.SIGKILL
    log = read(log_dir)
    assert log.endswith("\n")
    if log_format == "jsonl":
        assert [record["kind"] for record in read_json(log_dir)] == REQUEST[:last_record]
    else:
        assert len(HEADLINE.findall(log)) == last_record


async def ask_a_hundred_times(handler, question):
    for _ in range(100):
        await ask(handler, question=question)


def append_long_records(handler, letter):
    asyncio.run(ask_a_hundred_times(handler, letter * 9000))


@pytest.mark.slow
@posix_only
def test_processes_may_append_to_one_file(log_dir):
    handler = file_recorder(log_dir, "shared.jsonl", raise_errors=True)

    processes = [start_fork(append_long_records, handler, letter) for letter in "abcd"]
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    starts = [record for record in read_json(log_dir) if record["kind"] == "request_start"]
    questions = [record["data"]["question"] for record in starts]
    assert sorted(questions) == sorted(letter * 9000 for letter in "abcd" * 100)


def ask_once(handler):
    asyncio.run(ask(handler))


@posix_only
def test_a_request_names_the_process_that_it_ran_in(log_dir):
    handler = file_recorder(log_dir, "{collection}.jsonl")
    ask_once(handler)
    child = start_fork(ask_once, handler)
    child.join()

    starts = [record for record in read_json(log_dir) if record["kind"] == "request_start"]
    host = socket.gethostname()
    assert [start["process"] for start in starts] == [
        f"{host}:{os.getpid()}",
        f"{host}:{child.pid}",
    ]
    assert starts[0]["request_id"] != starts[1]["request_id"]


@pytest.mark.slow
def test_a_process_that_ends_in_the_middle_of_a_request_ends_as_ever(log_dir):
    code = """
from files import start
tracker = asyncio.run(start(Recorder(LogFile(sys.argv[1], "{collection}.jsonl", "jsonl"))))
sys.exit(3)
"""
    process = start_python(code, str(log_dir))
    out, errors = process.communicate()

    assert (process.returncode, out, errors) == (3, "", "")
    assert read_json(log_dir)[0]["kind"] == "request_start"


# Many requests


@pytest.mark.slow
@posix_only
async def test_hundreds_of_requests_at_once_need_no_descriptors(log_dir):
    import resource

    requests = 500
    handler = file_recorder(log_dir, "{request_id}.jsonl", raise_errors=True)
    all_arrived = asyncio.Barrier(requests)

    async def ask_with_all_others(number):
        tracker = await start(handler, question=str(number))
        async with tracker.track_event(LLMEvent(str(number), "Prompt")):
            await all_arrived.wait()
        await tracker.request_end(RESULT)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        await asyncio.gather(*(ask_with_all_others(number) for number in range(requests)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    questions = set()
    for file in log_dir.iterdir():
        records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        assert [record["kind"] for record in records] == REQUEST
        assert records[0]["data"]["question"] == records[1]["data"]["prompt"]
        questions.add(records[0]["data"]["question"])
    assert len(questions) == requests


async def test_failed_requests_whose_errors_are_kept_cost_no_files_and_no_threads(
    log_dir, make_collection
):
    def count_files_and_threads():
        files = len(os.listdir("/dev/fd")) if os.name == "posix" else 0
        return files, threading.active_count()

    collection = make_collection(file_recorder(log_dir, "{request_id}"), view=None)
    before = count_files_and_threads()

    asks = [collection.ask("Who?") for _ in range(300)]
    errors = await asyncio.gather(*asks, return_exceptions=True)

    assert {type(error) for error in errors} == {ValueError}
    assert count_files_and_threads() == before
    assert len(logs(log_dir)) == 300


async def end_requests(handler, make_collection):
    await ask(handler)


async def fail_requests(handler, make_collection):
    with contextlib.suppress(ValueError):
        await make_collection(handler, view=None).ask("Who?")


@pytest.mark.slow
@pytest.mark.parametrize("go_through", [end_requests, fail_requests])
async def test_requests_that_are_over_leave_no_memory_behind(go_through, make_collection):
    handler = Recorder(lambda record: None)

    async def memory_after(requests):
        for _ in range(requests):
            await go_through(handler, make_collection)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        await memory_after(100)
        before = await memory_after(100)
        after = await memory_after(500)
    finally:
        tracemalloc.stop()

    assert after - before < 50_000  # 100 bytes a request; its context alone takes more
