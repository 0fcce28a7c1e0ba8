"""Cases side by side, in interleaved rounds, so that what slows the machine slows them all.

Nothing is removed before the end: for minutes after files were removed, ext4 takes up to ten times as long to make one,
as it passes over the inodes that were theirs.
"""

import gc
import random
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .workloads import requests

MakeHandler = Callable[[Path], Any]  # from an empty directory to a handler
Rounds = dict[str, list[float]]  # microseconds of CPU a request, of each round, net of no handler


async def cpu_micros(
    cases: Mapping[str, MakeHandler], disk: Path, prompt_size: int, rounds: int, count: int, slow: int = 2
) -> Rounds:
    """Return what a request costs, of all threads, user and system: what other processes cannot blur.

    All cases take turns, in an order drawn anew for each round, with `count` requests each, or `slow` where these would
    take 2 ms each and more. Each is net of the same requests of the same round without a handler.
    """
    found: Rounds = {name: [] for name in cases}
    gc.collect()
    gc.freeze()  # what has been imported is not looked through again and again
    for _ in range(rounds + 1):  # the first warms up
        without = await _round(None, disk, prompt_size, count)
        for name in random.sample([*cases], len(cases)):
            is_slow = found[name] and found[name][0] > 2_000
            micros = await _round(cases[name], disk, prompt_size, slow if is_slow else count)
            found[name].append(micros - without)
    gc.unfreeze()
    return {name: micros[1:] for name, micros in found.items()}


async def _round(make: MakeHandler | None, disk: Path, prompt_size: int, count: int) -> float:
    folder = Path(tempfile.mkdtemp(dir=disk))
    handler = make(folder) if make else None
    first, *others = requests(prompt_size, [handler] if handler else [], count + 1)
    await first()
    gc.collect()
    start = time.process_time()
    for request in others:
        await request()
    if hasattr(handler, "flush"):
        handler.flush()
    seconds = time.process_time() - start
    if hasattr(handler, "close"):
        handler.close()
    return 1e6 * seconds / count
