"""How fast the generated command is: `python -m bench.command`.

It starts, lists the newest of 100,000 files with a request each, and counts what is in one file of
1 GB. The requests are those of the example, with other ids, and a time of their own each.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FILES = 100_000
BYTES = 1_000_000_000
INTERVAL = timedelta(seconds=20)  # between two requests, so that the files spread over three weeks
PACKAGE = "db_ally_file_handler"
RUNS = 3  # of each command, of which the fastest counts

# This module imports no db-ally: a process counts as its own the memory of the one that started it.


def main() -> None:
    """Print the table."""
    scratch = ROOT / "scratch"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        project = bake(folder)
        examples = ask(project, Path(folder))
        files = Path(folder) / "files"
        large_file = Path(folder) / "large.jsonl"
        write_files(examples, files)
        records = write_large_file(examples, large_file)

        print(f"\n{FILES:,} files with a request each; {records:,} records in a file of {BYTES:,} bytes.\n")
        print("| command | seconds | CPU | MB |\n|---|---:|---:|---:|")
        for arguments in (
            ["--help"],
            ["list", str(files)],
            ["show", "-1", str(files)],
            ["list", str(large_file)],
            ["stats", str(large_file)],
        ):
            runs = [run(project, arguments) for _ in range(RUNS)]
            seconds, cpu, memory = min(runs)
            shown = " ".join(arguments).replace(folder + os.sep, "")
            print(f"| {shown} | {seconds:.2f} | {cpu:.2f} | {memory:,.0f} |", flush=True)


def bake(folder: str) -> Path:
    """Bake the template with its defaults, and return the project."""
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", folder, str(ROOT)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Path(folder) / "db-ally-file-handler"


def ask(project: Path, folder: Path) -> list[list[dict[str, Any]]]:
    """Return the records of each request that the example makes."""
    run_python(project, [str(project / "examples" / "ask.py")], folder)

    requests = []
    for path in sorted((folder / "logs").iterdir()):
        lines = path.read_text("utf-8").splitlines()
        requests.append([json.loads(line) for line in lines])
    return requests


def write_files(examples: list[list[dict[str, Any]]], folder: Path) -> None:
    """Write a request into each file, the last one a moment ago."""
    folder.mkdir()
    first = datetime.now(UTC) - FILES * INTERVAL
    for number, (started, request_id, text) in enumerate(many_requests(examples, first)):
        if number == FILES:
            return

        path = folder / f"{started:%Y%m%dT%H%M%S.%fZ}-{request_id[:8]}.jsonl"
        path.write_text(text, "utf-8")
        os.utime(path, (started.timestamp(), started.timestamp()))


def write_large_file(examples: list[list[dict[str, Any]]], path: Path) -> int:
    """Write one request after another into one file, and return how many records these are."""
    records = 0
    first = datetime.now(UTC) - timedelta(days=365)
    with path.open("w", encoding="utf-8") as file:
        for _, _, text in many_requests(examples, first):
            file.write(text)
            records += text.count("\n")
            if file.tell() >= BYTES:
                break
    return records


def many_requests(examples: list[list[dict[str, Any]]], first: datetime) -> Iterator[tuple[datetime, str, str]]:
    """Yield time, id and JSON lines of requests, without end. The first one started at `first`."""
    started = first
    for records in cycle(examples):
        request_id = os.urandom(16).hex()
        example_started = datetime.fromisoformat(records[0]["time"])

        text = ""
        for record in records:
            time = started + (datetime.fromisoformat(record["time"]) - example_started)
            changed = {"time": f"{time:%Y-%m-%dT%H:%M:%S.%fZ}", "request_id": request_id}
            text += json.dumps(record | changed, ensure_ascii=False, separators=(",", ":")) + "\n"
        yield started, request_id, text

        started += INTERVAL


def run(project: Path, arguments: list[str]) -> tuple[float, float, float]:
    """Return the seconds that a command takes by the clock and of CPU, and its memory in MB."""
    start = time.perf_counter()
    process = run_python(project, ["-m", PACKAGE, *arguments], project)
    return time.perf_counter() - start, process.ru_utime + process.ru_stime, process.ru_maxrss / 1024


def run_python(project: Path, arguments: list[str], folder: Path) -> Any:
    """Run Python, and return what it has used.

    Raises:
        ChildProcessError: it has failed.
    """
    env = {**os.environ, "PYTHONPATH": str(project / "src"), "PYTHONUTF8": "1"}
    process = subprocess.Popen([sys.executable, *arguments], cwd=folder, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise ChildProcessError(f"{arguments} ended with {process.returncode}")
    return usage


if __name__ == "__main__":
    main()
