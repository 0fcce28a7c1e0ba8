"""How many records a second docs/reading.md reads, from files and from a store that speaks S3."""

import asyncio
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

sys.path.extend(["tests", "tests/destinations"])

import fsspec
from pages import blocks
from servers import start_s3

from .project import SCRATCH, Project

PAGE = blocks("reading.md")
FOLDER = SCRATCH / "reading"
READERS = {"DuckDB": ["ask.py", "collections.sql", "days.sql"], "Dask": ["many.py", "collections.sql", "days.sql"]}
LAYOUTS = {"one request alone": (1, 1), "1,000 requests a file": (125_000, 1_000), "one request a file": (2_000, 1)}


def main() -> None:
    """Print rows per second of each reader, layout and place: medians of three whole processes."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name, code in PAGE.items():
        (FOLDER / name).write_text(code)
    records = request_as_recorded(Project())
    with store():
        for layout, (requests, together) in LAYOUTS.items():
            folder = FOLDER / layout.replace(" ", "-")
            size = write(folder, records, requests, together)
            bucket = f"{requests}-by-{together}"
            fsspec.filesystem("s3").mkdir(bucket)
            fsspec.filesystem("s3").put(f"{folder}/", f"{bucket}/", recursive=True)
            rows = requests * len(records)
            print(f"{layout}: {requests:,} requests, {rows:,} records, {size:,} bytes", flush=True)
            for place, logs in (("files", f"{folder}/**/*.jsonl"), ("store", f"s3://{bucket}/**/*.jsonl")):
                for reader, command in READERS.items():
                    seconds = median(run(command, logs, requests) for _ in range(3))
                    print(f"  {reader}, {place}: {seconds:.1f} s, {rows / seconds:,.0f} records/s", flush=True)


def request_as_recorded(project: Project) -> list[str]:
    """Return what the package writes for a whole `Collection.ask`, line by line."""
    sys.path[:0] = [str(project.folder / name) for name in ("tests", "examples")]
    application = importlib.import_module("application")
    lines: list[str] = []
    handler = project.recorder(lambda record: lines.append(project.formats["jsonl"](record)))
    collection = application.make_collection(application.make_engine(), handler)
    asyncio.run(collection.ask("Who lives in Kraków?"))
    return lines


def write(folder: Path, lines: list[str], requests: int, together: int) -> int:
    """Write that request again and again, with ids and times of their own, over four days; return the bytes."""
    request_id = json.loads(lines[0])["request_id"]
    parts = [(line.partition('"time": "')[2][:32], line) for line in lines]
    start, size = datetime.fromisoformat(parts[0][0]), 0
    for number in range(0, requests, together):
        written = []
        for request in range(number, min(number + together, requests)):
            later, new_id = timedelta(days=4) * request / requests, f"{request:032x}"
            for then, line in parts:
                now = (datetime.fromisoformat(then) + later).isoformat(timespec="microseconds")
                written.append(line.replace(then, now, 1).replace(request_id, new_id, 1))
        file = folder / f"{start + timedelta(days=4) * number / requests:%Y-%m-%d}" / f"{number}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        size += file.write_bytes("".join(written).encode())
    return size


@contextmanager
def store() -> Iterator[None]:
    """Start a store, and let this process and those it starts be its clients."""
    server, env = start_s3()
    os.environ |= env
    yield
    server.stop()


def run(command: list[str], logs: str, requests: int) -> float:
    """Return the seconds that a script of the page takes, its start included."""
    start = time.perf_counter()
    env = {**os.environ, "LOGS": logs}
    done = subprocess.run([sys.executable, *command], cwd=FOLDER, env=env, capture_output=True, text=True)
    assert str(requests) in done.stdout, done.stdout + done.stderr
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
