"""Cases side by side, in interleaved rounds, so that what slows the machine slows them all."""

import gc
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .workloads import Request

MakeHandler = Callable[[Path], Any]  # from an empty directory to a handler
MakeRequests = Callable[[list[Any], int], list[Request]]  # from handlers and a count
Rounds = dict[str, list[float]]  # microseconds of CPU a request, of each round, net of no handler


async def cpu_micros(
    cases: Mapping[str, MakeHandler], disk: Path, make_requests: MakeRequests, rounds: int, count: int, slow: int = 2
) -> Rounds:
    """Return what a request costs, of all threads, user and system: what other processes cannot blur.

    All cases take turns, in an order drawn anew for each round, with `count` requests each, or `slow` where these would
    take 2 ms each and more. Each is net of the same requests of the same round without a handler.
    """
    found: Rounds = {name: [] for name in cases}
    gc.collect()
    gc.freeze()  # what has been imported is not looked through again and again
    for _ in range(rounds + 1):  # the first warms up
        without = await _round(None, disk, make_requests, count)
        for name in random.sample([*cases], len(cases)):
            is_slow = found[name] and found[name][0] > 2_000
            micros = await _round(cases[name], disk, make_requests, slow if is_slow else count)
            found[name].append(micros - without)
    gc.unfreeze()
    return {name: micros[1:] for name, micros in found.items()}


async def _round(make: MakeHandler | None, disk: Path, make_requests: MakeRequests, count: int) -> float:
    folder = Path(tempfile.mkdtemp(dir=disk))
    handler = make(folder) if make else None
    first, *others = make_requests([handler] if handler else [], count + 1)
    await first()
    gc.collect()
    start = time.process_time()
    for request in others:
        await request()
    if handler and hasattr(handler, "flush"):
        handler.flush()
    seconds = time.process_time() - start
    if handler and hasattr(handler, "close"):
        handler.close()
    return 1e6 * seconds / count
