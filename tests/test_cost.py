"""What a request costs in system calls and bytes: neither may grow unnoticed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# A request of one event, which is four records. The second one is counted, when the directory exists.
COUNT = """
import asyncio, collections, json, os, socket, sys, time

time.perf_counter = lambda: 0.0  # so that every run writes the same number of bytes
socket.gethostname = lambda: "host"
os.getpid = lambda: 12345

from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult
from db_ally_file_handler import FileEventHandler

calls = collections.Counter()
sizes = []


def count(name):
    call = getattr(os, name)

    def counted(*args, **options):
        calls[name] += 1
        if name == "write":
            sizes.append(len(args[1]))
        return call(*args, **options)

    setattr(os, name, counted)


def count_builtin_open(event, args):
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


handler = FileEventHandler("logs", sys.argv[1], "jsonl")
asyncio.run(ask(handler))
for name in ("access chmod close fchmod fdatasync fstat fsync ftruncate listdir lseek lstat mkdir open pwrite read "
             "rename replace scandir stat unlink write writev").split():
    count(name)
sys.addaudithook(count_builtin_open)
asyncio.run(ask(handler))
print(json.dumps([calls, sizes]))
"""


@pytest.mark.skipif(os.name != "posix", reason="counts what POSIX has")
@pytest.mark.parametrize("pattern", ["{request_id}", "{collection}", "{started_at:%Y}/{request_id}"])
def test_a_record_costs_one_open_one_write_and_one_close(pattern: str, default_project: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(default_project / "src")}
    command = [sys.executable, "-c", COUNT, pattern]

    done = subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True, text=True)

    calls, sizes = json.loads(done.stdout)
    assert calls == {"open": 4, "write": 4, "close": 4}
    assert sizes == [215, 1177, 178, 430]
