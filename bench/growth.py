"""How the cost of a request grows with what is around it and in it."""

import asyncio
import gc
import shutil
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestStart

from .project import Project
from .workloads import tracked

Curve = list[tuple[int, float]]  # from how much there is to microseconds, or bytes, of one request
FLAT, BY_DAY = "{request_id}.log", "{started_at:%Y/%m/%d}/{request_id}.log"


async def growth(project: Project, disk: Path, rounds: int = 5) -> dict[str, dict[str, Curve]]:
    """Return curves by title and by format."""
    titles: dict[str, dict[str, Curve]] = {
        "requests in flight": {},
        "files there, one folder": {},
        "files there, by day": {},
        "characters in a prompt": {},
        "rows in the result": {},
    }
    for log_format in ("text", "jsonl"):

        def make(folder: Path, pattern: str = FLAT, log_format: str = log_format) -> Any:
            return project.handler(folder, pattern, log_format)

        flight, flat, by_day, prompt, rows = (titles[title].setdefault(log_format, []) for title in titles)
        for size in (1, 10, 100, 1_000, 5_000):
            flight.append((size, await _net(tracked(1_000), make, disk, rounds, 100, together=size)))
        for size in (1, 1_000, 100_000):
            flat.append((size, await _net(tracked(1_000), make, _fill(disk, FLAT, size), rounds, 50)))
            make_by_day = lambda folder: make(folder, BY_DAY)  # noqa: E731
            by_day.append((size, await _net(tracked(1_000), make_by_day, _fill(disk, BY_DAY, size), rounds, 50)))
        for size in (1_000, 10_000, 100_000, 1_000_000):
            prompt.append((size, await _net(tracked(size), make, disk, rounds, 20)))
        for size in (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000):
            rows.append((size, await _net(tracked(1_000, rows=size), make, disk, rounds, 10)))
    shutil.rmtree(disk)
    return titles


def _fill(disk: Path, pattern: str, count: int) -> Path:
    """Return a directory with `count` empty files, in one folder or in one for each of the last hundred days."""
    folder = disk / f"{count}-{'flat' if pattern == FLAT else 'by-day'}"
    if not folder.exists():
        days = [folder] if pattern == FLAT else [folder / f"2025/01/{day:02}" for day in range(1, 101)]
        for day in days:
            day.mkdir(parents=True)
        for number in range(count):
            (days[number % len(days)] / f"{number}.log").touch()
    return folder


async def _net(
    workload: Any, make: Callable[[Path], Any], folder: Path, rounds: int, requests: int, together: int = 1
) -> float:
    """Return microseconds of CPU a request, net, with `together` requests in flight at a time."""
    found = []
    for _ in range(rounds):
        seconds = []
        for handlers in ([], [make(folder)]):
            request = workload(handlers)
            await request()
            gc.collect()
            start = time.process_time()
            for _ in range(max(1, requests // together)):
                await asyncio.gather(*(request() for _ in range(together)))
            seconds.append((time.process_time() - start) / (max(1, requests // together) * together))
        found.append(1e6 * (seconds[1] - seconds[0]))
    return median(found)


async def memory_in_flight(project: Project, disk: Path, requests: int = 1_000) -> float:
    """Return the bytes that the handler holds for each request in flight with one open event."""
    sizes = []
    for handlers in ([], [project.handler(disk)]):
        tracemalloc.start()
        async with _in_flight(handlers, requests):
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    return (sizes[1] - sizes[0]) / requests


@asynccontextmanager
async def _in_flight(handlers: list[Any], requests: int) -> AsyncIterator[None]:
    open_events = []
    for _ in range(requests):
        tracker = EventTracker.initialize_with_handlers(handlers)
        await tracker.request_start(RequestStart("staff", "Who?"))
        open_events.append(tracker.track_event(LLMEvent("prompt", "Prompt")))
        await open_events[-1].__aenter__()
    yield
    for event in open_events:
        await event.__aexit__(None, None, None)
