"""Our package beside what people would pick instead: what a request costs, and what a kill and a failure leave."""

import asyncio
import gc
import multiprocessing
import os
import re
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import Any

from dbally.audit.events import LLMEvent

from . import handlers
from .project import FILE_A_DAY, Project, in_memory, on_disk
from .receiver import receiver
from .timing import MakeHandler, Rounds, cpu_micros
from .workloads import requests

OURS, RAW = "ours, jsonl, a file a request", "raw limit"
BEFORE = 20  # requests before the one that is killed

_PIECES = ("asked-{:04}", "prompt-{:04}-1", "reply-{:04}-1", "prompt-{:04}-2", "reply-{:04}-2", "prompt-{:04}-3")
_UNDER_WAY = dict(zip(("question", "first prompt", "its answer", "second prompt"), _PIECES, strict=False))


def compare(project: Project, memory: Path, disk: Path) -> list[list[str]]:
    """Return the table, its header first."""
    with receiver(disk / "sent") as handlers.URL:
        cases = _cases(project)
        left = {name: _left(make, disk) for name, make in cases.items()}
        return asyncio.run(_table(project, cases, left, memory, disk))


def _cases(project: Project) -> dict[str, MakeHandler]:
    libraries = {
        "`logging` and `json.dumps`": handlers.Logging,
        "python-json-logger": handlers.PythonJsonLogger,
        "structlog": handlers.Structlog,
        "loguru, `serialize`": handlers.Loguru,
    }
    return {
        "ours, text, a file a request": partial(project.files, log_format="text"),
        OURS: project.files,
        "ours, jsonl, a file a day": partial(project.files, filename_pattern=FILE_A_DAY),
        **{f"the same records, {name}": partial(_through, project, make) for name, make in libraries.items()},
        **{f"by hand, {name}": make for name, make in libraries.items()},
        "db-ally's OpenTelemetry": handlers.OpenTelemetry,
        "db-ally's command line": handlers.CommandLine,
        "db-ally's LangSmith, in the background": handlers.LangSmith,
        "Langfuse, in the background": handlers.Langfuse,
        "MLflow, in the background": handlers.MLflow,
    }


def _through(project: Project, make: Callable[[Path], Any], folder: Path) -> Any:
    """Return our recorder with a logging library for its sink."""
    library = make(folder)
    recorder = project.recorder(lambda record: library.log(record.kind, {"record": record.as_dict()}))
    recorder.close = library.close
    return recorder


async def _table(
    project: Project, cases: Mapping[str, MakeHandler], left: Mapping[str, list[str]], memory: Path, disk: Path
) -> list[list[str]]:
    columns = {
        "µs, 1 KB": await _costs(project, cases, disk, 1_000),
        "µs, 4 KB": await _costs(project, cases, disk, 4_000),
        "in memory": await _costs(project, cases, memory, 4_000),
    }
    nothing = await _bytes_in_flight(lambda folder: None, memory)
    rows = [["", *(cell for name in columns for cell in (name, "× ours")), "bytes", "killed", "before it", "failed"]]
    for name, make in cases.items():
        held = await _bytes_in_flight(make, memory) - nothing
        rows.append([name, *_cells(columns, name), f"{held:,.0f}", *left[name]])
    return [*rows, [RAW, *_cells(columns, RAW), "", "", "", ""]]


async def _costs(project: Project, cases: Mapping[str, MakeHandler], disk: Path, size: int) -> Rounds:
    raw = partial(handlers.RawLimit, records=await _records(project, size))
    return await cpu_micros({**cases, RAW: raw}, disk, partial(requests, size), 20, 20)


def _cells(columns: Mapping[str, Rounds], name: str) -> Iterator[str]:
    for found in columns.values():
        yield f"{median(found[name]):,.0f}"
        yield f"{median(micros / ours for micros, ours in zip(found[name], found[OURS], strict=True)):.2f}"


async def _records(project: Project, size: int) -> list[bytes]:
    """Return what the package writes for a request."""
    records: list[bytes] = []
    handler = project.recorder(lambda record: records.append(project.formats["jsonl"](record).encode()))
    (request,) = requests(size, [handler], 1)
    await request()
    return records


async def _bytes_in_flight(make: Callable[[Path], Any], memory: Path, count: int = 500) -> float:
    """Return the bytes that are held for a request while the model works on its first prompt, of 4 KB."""
    answered = asyncio.Event()

    async def wait(event: LLMEvent) -> str:
        await answered.wait()
        return "answer"

    handler = make(Path(mkdtemp(dir=memory)))
    under_way = requests(4_000, [handler] if handler else [], count, reply=wait)
    (first,) = requests(4_000, [handler] if handler else [], 1)
    await first()
    gc.collect()
    tracemalloc.start()
    tasks = [asyncio.create_task(request()) for request in under_way]
    await asyncio.sleep(0.01)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    answered.set()
    await asyncio.gather(*tasks)
    _end(handler)
    return size / count


def _left(make: MakeHandler, disk: Path) -> list[str]:
    """Say what is left of a request that a kill ends at its second prompt, of those before, and of one that fails there."""
    killed, failed = _run(make, disk, BEFORE, _kill), _run(make, disk, 0, _fail)
    under_way = [piece for piece in _UNDER_WAY.values() if piece.format(BEFORE).encode() in killed]
    whole = sum(all(piece.format(number).encode() in killed for piece in _PIECES) for number in range(BEFORE))
    pieces = [name for name, piece in _UNDER_WAY.items() if piece.format(0).encode() in failed]
    error = "the error" if b"the model is down" in failed else "no error"
    what = "all" if len(pieces) == len(_UNDER_WAY) else ", ".join(pieces) or "nothing"
    return [f"{len(under_way)} of {len(_UNDER_WAY)}", f"{whole} of {BEFORE}", f"{what}; {error}"]


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail() -> None:
    raise ConnectionError("the model is down")


def _run(make: MakeHandler, disk: Path, last: int, stop: Callable[[], None]) -> bytes:
    """Let a process make requests and call `stop` at the second prompt of number `last`; return what is there then."""
    folder, sent = Path(mkdtemp(dir=disk)), disk / "sent"
    sent.unlink(missing_ok=True)

    async def reply(event: LLMEvent) -> str:
        if f"prompt-{last:04}-2" in str(event.prompt):
            stop()
        return re.sub(r".*prompt-(\d+-\d).*", r"reply-\1", str(event.prompt), flags=re.DOTALL)

    async def ask() -> None:
        handler = make(folder)
        for request in requests(1_000, [handler], last + 1, reply=reply):
            with suppress(ConnectionError):
                await request()
        _end(handler)

    process = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(ask()))
    process.start()
    process.join()
    assert process.exitcode == (-signal.SIGKILL if stop is _kill else 0)
    time.sleep(0.2)  # what was sent arrives
    return b"".join(path.read_bytes() for path in (*folder.rglob("*"), sent) if path.is_file())


def _end(handler: Any) -> None:
    gc.collect()
    for name in ("flush", "close"):
        if hasattr(handler, name):
            getattr(handler, name)()


if __name__ == "__main__":
    with in_memory() as memory, on_disk() as disk:
        for row in compare(Project(), memory, disk):
            print("|", " | ".join(row), "|")
