"""How the cost of a request grows with what is around it and in it, and how long one callback holds the loop."""

import asyncio
import gc
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from .project import FILE_A_REQUEST, Project
from .timing import MakeRequests
from .workloads import requests

_BY_DAY = "{started_at:%Y/%m/%d}/{request_id}.log"


async def growth(project: Project, memory: Path, disk: Path) -> dict[tuple[str, str], dict[int, float]]:
    """Return microseconds of CPU a request, net of no handler, by how much there is, by of what and by format.

    In memory, where a disk has no say, but for the files that are there already.
    """
    small = partial(requests, 1_000)
    found: dict[tuple[str, str], dict[int, float]] = {}
    for title, pattern in (
        ("files there, one folder, on disk", FILE_A_REQUEST),
        ("files there, by day, on disk", _BY_DAY),
    ):
        found[title, "jsonl"] = {
            size: await _net(small, project.files(_fill(disk, pattern, size), filename_pattern=pattern))
            for size in (1, 1_000, 100_000)
        }
    for log_format in ("text", "jsonl"):
        handler = project.files(memory, log_format)
        found["requests in flight", log_format] = {
            size: await _net(small, handler, count=max(size, 50), together=size) for size in (1, 100, 5_000)
        }
        found["characters in a prompt", log_format] = {
            size: await _net(partial(requests, size), handler, count=max(2, min(50, 500_000 // size)))
            for size in (1_000, 10_000, 100_000, 1_000_000)
        }
        found["rows in the result", log_format] = {
            size: await _net(partial(requests, 1_000, rows=size), handler, count=10)
            for size in (1, 100, 1_000, 10_000, 1_000_000)
        }
    return found


def _fill(disk: Path, pattern: str, count: int) -> Path:
    """Return a directory with `count` empty files, in one folder or in one for each of a hundred days."""
    folder = disk / f"{count}-{'flat' if pattern == FILE_A_REQUEST else 'by-day'}"
    days = [folder] if pattern == FILE_A_REQUEST else [folder / f"2025/01/{day:02}" for day in range(1, 101)]
    for day in days:
        day.mkdir(parents=True)
    for number in range(count):
        (days[number % len(days)] / f"{number}.log").touch()
    return folder


async def _net(make: MakeRequests, handler: Any, count: int = 50, together: int = 1, rounds: int = 5) -> float:
    """Return microseconds of CPU a request, with `together` in flight at a time: the median of the rounds."""
    found = []
    for _ in range(rounds):
        seconds = []
        for handlers in ([], [handler]):
            first, *others = make(handlers, count + 1)
            await first()
            gc.collect()
            start = time.process_time()
            for number in range(0, count, together):
                await asyncio.gather(*(request() for request in others[number : number + together]))
            seconds.append((time.process_time() - start) / count)
        found.append(1e6 * (seconds[1] - seconds[0]))
    return median(found)


async def callbacks(project: Project, disk: Path) -> dict[str, tuple[float, float, float]]:
    """Return median, 99th percentile and maximum of the milliseconds that one callback, which never gives way, takes."""
    found = {}
    for title, make, count in (
        ("prompts of 1 KB", partial(requests, 1_000), 500),
        ("prompts of 10 KB", partial(requests, 10_000), 500),
        ("a result of 1,000,000 rows", partial(requests, 1_000, rows=1_000_000), 20),
    ):
        handler = project.files(disk)
        millis: list[float] = []
        for name in ("request_start", "event_start", "event_end", "request_end"):
            setattr(handler, name, _timed(getattr(handler, name), millis))
        for request in make([handler], count):
            await request()
        percent = quantiles(millis, n=100)
        found[title] = percent[49], percent[98], max(millis)
    return found


def _timed(callback: Callable[..., Any], millis: list[float]) -> Callable[..., Any]:
    async def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = await callback(*args, **kwargs)
        millis.append(1e3 * (time.perf_counter() - start))
        return result

    return timed
