"""Cases side by side, in interleaved rounds, so that what slows the machine slows them all."""

import gc
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from .workloads import Workload

MakeHandler = Callable[[Path], Any]  # from an empty directory to a handler


@dataclass(frozen=True)
class Cost:
    """Of a request, in microseconds, net of the same requests of the same round without a handler.

    Attributes:
        wall: of each round.
        cpu: of each round, all threads, user and system: what other processes cannot blur.
    """

    wall: list[float]
    cpu: list[float]

    def times(self, other: "Cost") -> float:
        """Return how many times the CPU time of `other` this takes: the ratio of the medians."""
        return median(self.cpu) / median(other.cpu)


async def costs(
    workload: Workload, cases: Mapping[str, MakeHandler], disk: Path, rounds: int, requests: int
) -> dict[str, Cost]:
    """Return the cost of each case, from `rounds` rounds of `requests` requests each; of a slow case, fewer."""
    counts = {name: 1 if name.startswith("command line") else requests for name in cases}
    found: dict[str, Cost] = {name: Cost([], []) for name in cases}
    for _ in range(rounds):
        wall_of_none, cpu_of_none = await _round(workload, None, disk, requests)
        for name in random.sample(list(cases), len(cases)):
            wall, cpu = await _round(workload, cases[name], disk, counts[name])
            found[name].wall.append(wall - wall_of_none)
            found[name].cpu.append(cpu - cpu_of_none)
    return found


async def _round(workload: Workload, make: MakeHandler | None, disk: Path, requests: int) -> tuple[float, float]:
    folder = disk / "logs"
    folder.mkdir(parents=True)
    handler = make(folder) if make else None
    request = workload([handler] if handler else [])
    await request()
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(requests):
        await request()
    if hasattr(handler, "flush"):
        handler.flush()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if hasattr(handler, "close"):
        handler.close()
    shutil.rmtree(folder)
    return 1e6 * wall / requests, 1e6 * cpu / requests
