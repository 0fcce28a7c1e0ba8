"""What a request costs in system calls and bytes, exactly: neither may grow unnoticed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# A request of one event is four records. Everything that the process asks of the system for them is counted.
COUNT = """
import asyncio, collections, json, os, sys, time

import socket

time.perf_counter = lambda: 0.0  # as wide in every run
socket.gethostname = lambda: "host"
os.getpid = lambda: 12345

from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult
from db_ally_file_handler import FileEventHandler

calls, sizes = collections.Counter(), []

def count(name):
    call = getattr(os, name)
    def counted(*args, **options):
        calls[name] += 1
        if name == "write":
            sizes.append(len(args[1]))
        return call(*args, **options)
    setattr(os, name, counted)

def look(event, args):  # what does not go through `os` at all
    if event == "open" and args[1] is not None:
        calls["builtin open"] += 1

async def ask(handler):
    tracker = EventTracker.initialize_with_handlers([handler])
    await tracker.request_start(RequestStart("staff", "Who?"))
    event = LLMEvent("x" * 1000, "Prompt")
    async with tracker.track_event(event) as span:
        event.response = "Ann"
        span(event)
    await tracker.request_end(RequestEnd(ExecutionResult([{"n": 1}], {"sql": "SELECT 1"}, 0.25, 0.125, "View")))

handler = FileEventHandler("logs", sys.argv[1], sys.argv[2])
asyncio.run(ask(handler))
for name in ("access chmod close fchmod fdatasync fstat fsync ftruncate listdir lseek lstat mkdir open pwrite read "
             "rename replace scandir stat unlink write writev").split():
    count(name)
sys.addaudithook(look)
asyncio.run(ask(handler))
print(json.dumps([calls, sizes]))
"""


def cost(project: Path, tmp_path: Path, pattern: str, log_format: str) -> tuple[dict[str, int], list[int]]:
    """Return the system calls of a request that is not the first in its directory, and the bytes of each record."""
    command = [sys.executable, "-c", COUNT, pattern, log_format]
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True)
    calls, sizes = json.loads(done.stdout)
    return calls, sizes


@pytest.mark.skipif(os.name != "posix", reason="counts what POSIX has")
@pytest.mark.parametrize(("log_format", "sizes"), [("text", [201, 1100, 105, 254]), ("jsonl", [215, 1177, 178, 430])])
def test_a_record_costs_one_open_one_write_and_one_close(
    log_format: str, sizes: list[int], default_project: Path, tmp_path: Path
) -> None:
    assert cost(default_project, tmp_path, "{request_id}", log_format) == (
        {"open": 4, "write": 4, "close": 4},
        sizes,
    )


@pytest.mark.skipif(os.name != "posix", reason="counts what POSIX has")
def test_a_folder_in_the_pattern_costs_a_look_at_it(default_project: Path, tmp_path: Path) -> None:
    calls, _ = cost(default_project, tmp_path, "{started_at:%Y}/{request_id}", "text")

    assert calls == {"open": 4, "write": 4, "close": 4, "lstat": 4}


@pytest.mark.skipif(os.name != "posix", reason="counts what POSIX has")
def test_a_shared_file_costs_no_more(default_project: Path, tmp_path: Path) -> None:
    calls, _ = cost(default_project, tmp_path, "{collection}", "text")

    assert calls == {"open": 4, "write": 4, "close": 4}
