"""Measure everything, print it, and write results.md and results.svg."""

import asyncio
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median

from .bake_time import bake_seconds
from .costs import make_cases
from .growth import growth, memory_in_flight
from .picture import draw
from .project import ROOT, SCRATCH, Project
from .stalls import Spread, blocks, heartbeats
from .timing import Cost, costs
from .workloads import asked, tracked

_HERE = ROOT / "bench"


async def main() -> None:
    """Measure, on the disk of this folder and in memory."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    project = Project()
    parts = [f"# What a request costs\n\n{_machine()}\n"]
    workloads = {"1 KB": tracked(1_000), "4 KB": tracked(4_000), "10 KB": tracked(10_000), "ask": asked(project)}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as memory:
        for place, disk in (("on disk", SCRATCH / "disk"), ("in memory", Path(memory))):
            for name, workload in workloads.items():
                rounds, requests = (24, 5) if name == "ask" else (15, 30)
                found = await costs(workload, await make_cases(project, workload), disk, rounds, requests)
                what = "a whole `Collection.ask`" if name == "ask" else f"three prompts of {name} each"
                parts.append(_costs(f"## {what}, {place}", found))
                print(parts[-1], flush=True)
        titles = await growth(project, SCRATCH / "growth")
        (_HERE / "results.svg").write_text(draw(titles))
        parts.append(_growth(titles))
        parts.append(f"Memory of a request in flight: {await memory_in_flight(project, Path(memory)):,.0f} bytes.\n")
        for size in (1_000, 10_000):
            rows = await blocks(project, SCRATCH / "blocks", size)
            parts.append(_spreads(f"## One callback, prompts of {size // 1000} KB, microseconds", rows))
        lateness = await heartbeats(project, Path(memory))
        parts.append(_spreads("## Lateness of a heartbeat beside 200 requests, milliseconds", lateness))
    ours, empty, plain = bake_seconds()
    parts.append(
        f"Baking takes {ours * 1e3:.0f} ms, an empty template {empty * 1e3:.0f} ms: {ours / empty:.2f} times. The same "
        f"files with nothing to fill in take {plain * 1e3:.0f} ms: {plain / empty:.2f} times.\n"
    )
    parts.append(f"Import of the package after db-ally's own: {_import_micros(project) / 1e3:.1f} ms.\n")
    print("\n".join(parts[9:]))
    (_HERE / "results.md").write_text("\n".join(parts))


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("dbally", "opentelemetry-sdk", "rich"))
    return f"{platform.platform()}, {platform.machine()}, CPython {platform.python_version()}; {packages}."


def _costs(title: str, found: Mapping[str, Cost]) -> str:
    def row(name: str, cost: Cost) -> list[str]:
        raw = found["raw limit, jsonl" if "json" in name else "raw limit, text"]
        ratios = (cost.times(other) for other in (raw, found["how-to, mended"], found["ours, text"]))
        times = [f"{median(values):,.0f}" for values in (cost.wall, cost.cpu)]
        return [name, *times, *(f"{ratio:.2f}" for ratio in ratios)]

    header = ["net of no handler", "µs", "µs of CPU", "× raw limit", "× how-to", "× ours, text"]
    return _table(title, header, (row(name, cost) for name, cost in found.items()))


def _growth(titles: Mapping[str, Mapping[str, list[tuple[int, float]]]]) -> str:
    rows = (
        [title, name, ", ".join(f"{size:,}: {micros:,.0f}" for size, micros in curve)]
        for title, curves in titles.items()
        for name, curve in curves.items()
    )
    return _table("## How it grows, microseconds of CPU a request, net", ["with", "format", "cost"], rows)


def _spreads(title: str, spreads: Mapping[str, Spread]) -> str:
    rows = ([name, *(f"{value:,.2f}" for value in spread)] for name, spread in spreads.items())
    return _table(title, ["", "median", "99 %", "maximum"], rows)


def _table(title: str, header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return f"{title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _import_micros(project: Project) -> int:
    code = f"import dbally, dbally.audit.event_handlers.base, sys; sys.path.insert(0, {str(project.source)!r})"
    command = [sys.executable, "-X", "importtime", "-c", f"{code}; import {project.package}"]
    found = [subprocess.run(command, capture_output=True, text=True, check=True).stderr for _ in range(5)]
    lines = [line.split("|") for text in found for line in text.splitlines()]
    return min(int(micros) for _, micros, name in lines if name.strip() == project.package)


if __name__ == "__main__":
    asyncio.run(main())
