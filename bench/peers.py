"""Our package beside what people would pick instead: what a request costs, and what a kill and a failure leave."""

import asyncio
import gc
import os
import re
import signal
import time
import traceback
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import Any, NoReturn

from dbally.audit.events import LLMEvent

from . import handlers
from .project import FILE_A_DAY, Project, in_memory, on_disk
from .receiver import receiver
from .timing import MakeHandler, Rounds, cpu_micros
from .workloads import requests

OURS, RAW = "ours, jsonl, a file a request", "raw limit"
FINISHED = 20  # requests before the one that is killed or fails

_PIECES = ("asked-{:04}", "prompt-{:04}-1", "reply-{:04}-1", "prompt-{:04}-2", "reply-{:04}-2", "prompt-{:04}-3")
_UNDER_WAY = dict(zip(("question", "first prompt", "its answer", "second prompt"), _PIECES, strict=False))


def compare(project: Project, memory: Path, disk: Path) -> list[list[str]]:
    """Return the table, its header first."""
    with receiver(disk / "sent") as handlers.URL:
        cases = _cases(project)
        left = {name: [*_killed(make, disk), _failed(make, disk)] for name, make in cases.items()}
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
    return await cpu_micros({**cases, RAW: raw}, disk, size, 20, 20)


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


def _killed(make: MakeHandler, disk: Path) -> list[str]:
    """Kill a process while the model works on a request's second prompt, and say what is on disk or at the server."""

    async def be_killed(folder: Path) -> None:
        async def reply(event: LLMEvent) -> str:
            if "prompt-0020-2" in str(event.prompt):
                os.kill(os.getpid(), signal.SIGKILL)
            return _answer(event)

        for request in requests(1_000, [make(folder)], FINISHED + 1, reply=reply):
            await request()

    found = _leave(be_killed, disk, signal.SIGKILL)
    whole = sum(all(piece.format(number).encode() in found for piece in _PIECES) for number in range(FINISHED))
    under_way = [piece for piece in _UNDER_WAY.values() if piece.format(FINISHED).encode() in found]
    return [f"{len(under_way)} of {len(_UNDER_WAY)}", f"{whole} of {FINISHED}"]


def _failed(make: MakeHandler, disk: Path) -> str:
    """Let the model raise at a request's second prompt, end as an application does, and say what is there of it."""

    async def fail(folder: Path) -> None:
        async def reply(event: LLMEvent) -> str:
            if "prompt-0000-2" in str(event.prompt):
                raise ConnectionError("error-0000")
            return _answer(event)

        handler = make(folder)
        (request,) = requests(1_000, [handler], 1, reply=reply)
        with suppress(ConnectionError):
            await request()
        _end(handler)

    found = _leave(fail, disk, 0)
    pieces = {**_UNDER_WAY, "the error": "error-{:04}"}
    left = [name for name, piece in pieces.items() if piece.format(0).encode() in found]
    return (
        "all"
        if len(left) == len(pieces)
        else "all but the error"
        if left == [*_UNDER_WAY]
        else ", ".join(left) or "nothing"
    )


def _answer(event: LLMEvent) -> str:
    return re.sub(r".*prompt-(\d+-\d).*", r"reply-\1", str(event.prompt), flags=re.DOTALL)


def _leave(run: Callable[[Path], Coroutine[Any, Any, None]], disk: Path, end: int) -> bytes:
    """Run it in a process of its own, which ends in `end`, and return all that is on disk and at the server then."""
    folder, sent = Path(mkdtemp(dir=disk)), disk / "sent"
    sent.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        _be_child(run, folder)
    assert os.waitpid(child, 0)[1] == end
    time.sleep(0.2)  # what was sent arrives
    return b"".join(path.read_bytes() for path in (*folder.rglob("*"), sent) if path.is_file())


def _be_child(run: Callable[[Path], Coroutine[Any, Any, None]], folder: Path) -> NoReturn:
    try:
        asyncio.run(run(folder))
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _end(handler: Any) -> None:
    gc.collect()
    for name in ("flush", "close"):
        if hasattr(handler, name):
            getattr(handler, name)()


if __name__ == "__main__":
    with in_memory() as memory, on_disk() as disk:
        for row in compare(Project(), Path(memory), Path(disk)):
            print("|", " | ".join(row), "|")
