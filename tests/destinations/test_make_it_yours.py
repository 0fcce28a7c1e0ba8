"""The changes of docs/make-it-yours.md, made as an owner makes them."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bake import bake
from pages import RECORDS_OF_A_REQUEST, bake_page, blocks, check, run_code

PAGE = blocks("make-it-yours.md")
ASK = """
import asyncio, sys
sys.path[:0] = {path!r}
from application import make_collection, make_engine
from db_ally_file_handler import Recorder
{sink}
handler = Recorder(to_console)
collection = make_collection(make_engine(), handler)
for _ in range(int(sys.argv[1])):
    asyncio.run(collection.ask("x" * int(sys.argv[2])))
sys.exit(handler.lost_records)
"""
PAY = """
import asyncio
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult
from db_ally_file_handler import Recorder

records = []
result = ExecutionResult([{"price": Money(20, "PLN")}], {}, 0.1, 0.1, "PriceView", None)

async def main():
    tracker = EventTracker.initialize_with_handlers([Recorder(records.append)])
    await tracker.request_start(RequestStart(collection_name="prices", question="How much?"))
    await tracker.request_end(RequestEnd(result))

asyncio.run(main())
print(records[-1].data["result"]["results"])
"""


@pytest.mark.parametrize("change", ["field.diff", "format.diff"])
def test_the_project_is_green_after_the_patch(change: str, tmp_path: Path) -> None:
    project = bake(tmp_path)

    subprocess.run(["git", "apply", "-"], cwd=project, input=PAGE[change], text=True, check=True)

    check(project)


def test_the_project_is_green_with_another_destination(tmp_path: Path) -> None:
    check(bake_page(tmp_path, "make-it-yours.md"))


def test_a_class_of_the_owner_is_recorded_as_they_say(tmp_path: Path) -> None:
    said = run_code(bake(tmp_path), PAGE["money_app.py"] + PAY)

    assert said == "[{'price': {'amount': 20, 'currency': 'PLN'}}]\n"


@pytest.fixture(params=["page", "operations.md"])
def asking(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Return the command that asks, with the sink for standard output that is printed there."""
    project = bake_page(tmp_path, "make-it-yours.md")
    sink = "from db_ally_file_handler.console import to_console"
    if request.param == "operations.md":
        printed = (project / "docs" / "operations.md").read_text("utf-8")
        (sink,) = (code for code in re.findall(r"^```python\n(.*?)^```$", printed, re.S | re.M) if "to_console" in code)
    path = [str(project / folder) for folder in ("src", "tests", "examples")]
    return [sys.executable, "-c", ASK.format(path=path, sink=sink)]


@pytest.mark.skipif(os.name == "nt", reason="pipes as POSIX has them")
@pytest.mark.parametrize("waits", [True, False], ids=["blocking", "non-blocking"])
@pytest.mark.parametrize(("workers", "question"), [(4, 600), (1, 40_000)], ids=["four-workers", "long-records"])
def test_a_full_pipe_tears_and_loses_nothing(asking: list[str], workers: int, question: int, waits: bool) -> None:
    requests = 10
    output, input_ = os.pipe()
    os.set_blocking(input_, waits)
    asks = [subprocess.Popen([*asking, str(requests), str(question)], stdout=input_) for _ in range(workers)]
    os.close(input_)
    time.sleep(1)  # until the pipe is full

    received = b""
    while True:
        part = os.read(output, 5_000)
        if not part:
            break
        received += part
        time.sleep(0.001)
    os.close(output)

    assert [ask.wait() for ask in asks] == [0] * workers
    lines = received.splitlines(keepends=True)
    assert (max(map(len, lines)) <= 4096) == (question == 600)
    assert all(json.loads(line)["request_id"] for line in lines)
    assert len(lines) == workers * requests * RECORDS_OF_A_REQUEST


@pytest.mark.skipif(os.name == "nt", reason="pipes as POSIX has them")
def test_without_a_reader_every_record_is_counted(asking: list[str]) -> None:
    output, input_ = os.pipe()
    os.close(output)

    assert subprocess.run([*asking, "3", "600"], stdout=input_).returncode == 3 * RECORDS_OF_A_REQUEST

    os.close(input_)
