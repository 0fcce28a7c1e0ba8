"""Cases side by side, in interleaved rounds, so that what slows the machine slows them all."""

import gc
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from .workloads import Workload

MakeHandler = Callable[[Path], Any]  # from an empty directory to a handler, or None for none


@dataclass(frozen=True)
class Cost:
    """Of a request, net of the same request without a handler.

    Attributes:
        micros: median of all rounds, in microseconds.
        rounds: each round's.
    """

    micros: float
    rounds: list[float]

    def over(self, other: "Cost") -> float:
        """Return how many times the cost of `other`, as the median of the ratios of the rounds."""
        return median(mine / others for mine, others in zip(self.rounds, other.rounds, strict=True))


async def costs(
    workload: Workload, cases: Mapping[str, MakeHandler], disk: Path, rounds: int, requests: int
) -> dict[str, Cost]:
    """Return the cost of each case, from `rounds` rounds of `requests` requests each."""
    seconds: dict[str, list[float]] = {name: [] for name in ("", *cases)}
    for _ in range(rounds):
        for name in random.sample(list(seconds), len(seconds)):
            seconds[name].append(await _round(workload, cases.get(name), disk, requests))
    net = {
        name: [1e6 * (mine - none) / requests for mine, none in zip(seconds[name], seconds[""], strict=True)]
        for name in cases
    }
    return {name: Cost(median(values), values) for name, values in net.items()}


async def _round(workload: Workload, make_handler: MakeHandler | None, disk: Path, requests: int) -> float:
    folder = disk / "logs"
    folder.mkdir(parents=True)
    handler = make_handler(folder) if make_handler else None
    request: Callable[[], Awaitable[object]] = workload([handler] if handler else [])
    await request()
    gc.collect()
    start = time.perf_counter()
    for _ in range(requests):
        await request()
    if hasattr(handler, "flush"):
        handler.flush()
    elapsed = time.perf_counter() - start
    if hasattr(handler, "close"):
        handler.close()
    shutil.rmtree(folder)
    return elapsed
