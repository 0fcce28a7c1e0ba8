import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bake import bake, run
from pages import RECORDS_OF_A_REQUEST, blocks

PAGE = blocks("make-it-yours.md")
ASK = """
import asyncio, sys
from application import make_collection, make_engine
from db_ally_file_handler import Recorder
{sink}
handler = Recorder(to_console)
collection = make_collection(make_engine(), handler)
for _ in range(int(sys.argv[1])):
    asyncio.run(collection.ask("x" * int(sys.argv[2])))
sys.exit(handler.lost_records)
"""


@pytest.mark.parametrize("change", PAGE)
def test_the_tests_pass_after_the_change(change: str, tmp_path: Path) -> None:
    project = bake(tmp_path)

    subprocess.run(["git", "apply", "-"], cwd=project, input=PAGE[change], text=True, check=True)

    run(project, "pytest", "-q", "-p", "no:cacheprovider")
    run(project, "ruff", "check")
    run(project, "ruff", "format", "--check")


@pytest.fixture(params=["page", "README"])
def asking(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Return the command that asks, with the sink for standard output that is printed there."""
    project = bake(tmp_path)
    if request.param == "page":
        subprocess.run(["git", "apply", "-"], cwd=project, input=PAGE["destination.diff"], text=True, check=True)
        sink = "from db_ally_file_handler.console import to_console"
    else:
        readme = (project / "README.md").read_text("utf-8")
        (sink,) = re.findall(
            r"^```python\n((?:(?!```).)*^def to_console.*?)^def both", readme, re.DOTALL | re.MULTILINE
        )
    path = f"sys.path[:0] = {[str(project / folder) for folder in ('src', 'tests', 'examples')]}"
    return [sys.executable, "-c", f"import sys; {path}\n{ASK.format(sink=sink)}"]


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
    while part := os.read(output, 5_000):
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
