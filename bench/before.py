"""What a request costs with the package of this tree, beside that of an earlier revision, both in one process."""

import argparse
import asyncio
import sys
from functools import partial
from itertools import product
from statistics import median, quantiles

from .project import Project, in_memory, on_disk
from .timing import Rounds, cpu_micros
from .workloads import requests

BEFORE = "5f2344e"


async def main(revision: str, rounds: int) -> None:
    """Print the table, and beside each ratio its quartiles: those of the ratios of all rounds."""
    projects = {"before": Project("before", revision), "now": Project("now")}
    cases = {
        f"{log_format} {name}": partial(project.files, log_format=log_format)
        for log_format in ("text", "jsonl")
        for name, project in projects.items()
    }
    print(f"\nMicroseconds of CPU a request of three prompts, eight records; before is {revision}.\n")
    print("| place, city, prompt, format | before | now | now / before | quartiles |\n|---|---:|---:|---:|---:|")
    with in_memory() as memory, on_disk() as disk:
        places = {"memory": memory, "disk": disk}
        for place, city, size in product(places, ("Krakow", "Kraków"), (1_000, 4_000, 10_000)):
            found = await cpu_micros(cases, places[place], partial(requests, size, city=city), rounds, 20)
            for log_format in ("text", "jsonl"):
                row = f"{place}, {city}, {size // 1000} KB, {log_format}"
                print(f"| {row} | {_compare(found, log_format)} |", flush=True)


def _compare(found: Rounds, log_format: str) -> str:
    before, now = found[f"{log_format} before"], found[f"{log_format} now"]
    low, middle, high = quantiles([new / old for new, old in zip(now, before, strict=True)], n=4)
    return f"{median(before):,.0f} | {median(now):,.0f} | {middle:.2f} | {low:.2f} to {high:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.before", description=sys.modules[__name__].__doc__)
    parser.add_argument("revision", nargs="?", default=BEFORE, help="of git (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.revision, arguments.rounds))
