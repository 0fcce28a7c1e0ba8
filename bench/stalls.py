"""How long the handler holds the event loop."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles
from typing import Any

from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult

from .project import Project
from .workloads import tracked

Spread = tuple[float, float, float]  # median, 99th percentile and maximum


async def blocks(project: Project, disk: Path, prompt_size: int, requests: int = 500) -> dict[str, Spread]:
    """Return how long one callback runs, in microseconds, by format: none gives way, so each is one block."""
    found = {}
    for log_format in ("text", "jsonl"):
        handler = project.handler(disk, log_format=log_format)
        micros: list[float] = []
        for name in ("request_start", "event_start", "event_end", "request_end"):
            setattr(handler, name, _timed(getattr(handler, name), micros))
        request = tracked(prompt_size)([handler])
        for _ in range(requests):
            await request()
        found[log_format] = _spread(micros)
    return found


def _timed(callback: Callable[..., Any], micros: list[float]) -> Callable[..., Any]:
    async def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = await callback(*args, **kwargs)
        micros.append(1e6 * (time.perf_counter() - start))
        return result

    return timed


async def heartbeats(project: Project, disk: Path) -> dict[str, Spread]:
    """Return how late a heartbeat is, in milliseconds, with 200 requests in flight, by what records them."""
    slow = lambda record: time.sleep(0.005)  # noqa: E731
    with ThreadPoolExecutor(1) as thread:
        cases: dict[str, list[EventHandler[Any, Any]]] = {
            "no handler": [],
            "ours, text": [project.handler(disk)],
            "ours, a disk of 5 ms a record": [project.handler(sink=slow)],
            "ours, the same disk off the loop": [project.handler(sink=lambda record: thread.submit(slow, record))],
        }
        found = {name: await _lateness(handlers) for name, handlers in cases.items()}
        thread.shutdown(cancel_futures=True)
    return found


async def _lateness(handlers: list[EventHandler[Any, Any]]) -> Spread:
    late: list[float] = []

    async def beat() -> None:
        while True:
            due = time.perf_counter() + 0.005
            await asyncio.sleep(0.005)
            late.append(1e3 * (time.perf_counter() - due))

    heart = asyncio.create_task(beat())
    await asyncio.gather(*(_slow_request(handlers, 0.001 * number) for number in range(200)))
    heart.cancel()
    return _spread(late)


async def _slow_request(handlers: list[EventHandler[Any, Any]], delay: float) -> None:
    tracker = EventTracker.initialize_with_handlers(handlers)
    await asyncio.sleep(delay)
    await tracker.request_start(RequestStart("staff", "Who?"))
    for _ in range(3):
        async with tracker.track_event(LLMEvent("prompt " * 500, "Prompt")) as span:
            await asyncio.sleep(0.2)
            span(LLMEvent("prompt " * 500, "Prompt", "response"))
    await tracker.request_end(RequestEnd(ExecutionResult([], {}, 0.1, 0.1, "StaffView")))


def _spread(values: Sequence[float]) -> Spread:
    percent = quantiles(values, n=100)
    return percent[49], percent[98], max(values)
