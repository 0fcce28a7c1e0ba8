"""How fast the generated command is, `python -m bench.command`: 100,000 files, one a request, and one file of 1 GB."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

from .project import Project, run

FILES = 100_000
BYTES = 1_000_000_000
ASK = """
import asyncio, ask
Handler = ask.FileEventHandler
ask.FileEventHandler = lambda: Handler(log_format={!r})
asyncio.run(ask.main())
"""


def ask(project: Path, folder: Path, log_format: str) -> list[str]:
    """Return what is in each file that the example records."""
    folder.mkdir()
    run(project, folder, "-c", ASK.format(log_format))
    return [path.read_text("utf-8") for path in sorted((folder / "logs").iterdir())]


def as_another(text: str) -> tuple[str, str]:
    """Return the records of a request as those of another one, and the first digits of its id."""
    old = text.split("Request: ")[1][:32] if not text.startswith("{") else json.loads(text.split("\n")[0])["request_id"]
    new = os.urandom(16).hex()
    return text.replace(old, new).replace(old[:8], new[:8]), new[:8]


def make_files(texts: list[str], folder: Path) -> None:
    """Make files as the default pattern names them, one each twenty seconds."""
    folder.mkdir()
    started = datetime.now(UTC) - timedelta(seconds=20 * FILES)
    for _, text in zip(range(FILES), cycle(texts), strict=False):
        started += timedelta(seconds=20)
        content, name = as_another(text)
        path = folder / f"{started:%Y%m%dT%H%M%S.%fZ}-{name}.log"
        path.write_text(content, "utf-8")
        os.utime(path, (started.timestamp(),) * 2)


def make_file(texts: list[str], path: Path) -> int:
    """Make one large file, and return how many records are in it."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for text in cycle(texts):
            count += file.write(as_another(text)[0]) and text.count("\n")
            if file.tell() > BYTES:
                return count
    raise AssertionError


def measure(command: list[str], env: dict[str, str]) -> tuple[float, int]:
    """Return the seconds that `command` takes by the clock, the best of three, and the most memory, in MB."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    found = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *command], env=env, check=True, capture_output=True, text=True
        )
        found.append((time.perf_counter() - started, int(done.stdout) // 1024))
    return min(found)


def cases(project: Path, files: Path, file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield what is measured."""
    command = [sys.executable, "-m", "db_ally_file_handler"]
    yield "import dbally", [sys.executable, "-c", "import dbally"]
    yield f"list, {FILES:,} files", [*command, "list", str(files)]
    yield f"show -1, {FILES:,} files", [*command, "show", "-1", str(files)]
    yield "list, 1 GB", [*command, "list", str(file)]
    yield "stats, 1 GB", [*command, "stats", str(file)]
    if jq := shutil.which("jq"):
        query = 'reduce inputs as $r ({}; if $r.kind == "request_end" then .[$r.summary.collection] += 1 else . end)'
        yield "jq: ends by collection, 1 GB", [jq, "-n", query, str(file)]
    sql = (
        "SELECT summary.collection, count(*), quantile_cont(elapsed, [0.5, 0.95]), sum(summary.total_tokens) "
        f"FROM read_json('{file}', format = 'newline_delimited', columns = {{kind: 'VARCHAR', elapsed: 'DOUBLE', "
        "summary: 'STRUCT(collection VARCHAR, total_tokens BIGINT)'}) WHERE summary IS NOT NULL GROUP BY 1"
    )
    yield "DuckDB: the same as stats, 1 GB", [sys.executable, "-c", f"import duckdb; print(duckdb.sql({sql!r}))"]


def main() -> None:
    """Print the table."""
    project = Project("db_ally_file_handler").folder
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_files(ask(project, folder / "text", "text"), folder / "many")
        records = make_file(ask(project, folder / "jsonl", "jsonl"), folder / "large.jsonl")
        print(f"\n{records:,} records in the large file.\n\n| what | seconds | MB |\n|---|---:|---:|")
        env = {**os.environ, "PYTHONPATH": str(project / "src")}
        for name, command in cases(project, folder / "many", folder / "large.jsonl"):
            seconds, memory = measure(command, env)
            rate = f" ({records / seconds / 1000:,.0f},000 records a second)" if "stats" in name else ""
            print(f"| {name} | {seconds:.2f}{rate} | {memory} |", flush=True)


if __name__ == "__main__":
    main()
