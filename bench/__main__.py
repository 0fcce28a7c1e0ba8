"""Measure everything and write results.md and results.svg."""

import asyncio
from pathlib import Path

from .costs import make_cases
from .project import SCRATCH, Project
from .timing import costs
from .workloads import asked, tracked


async def main() -> None:
    project = Project()
    workloads = {"1 KB": tracked(1_000), "4 KB": tracked(4_000), "10 KB": tracked(10_000), "ask": asked(project)}
    import sys
    for disk in (SCRATCH / "disk", Path("/dev/shm/bench-costs")):
        for name, workload in workloads.items():
            cases = await make_cases(project, workload)
            result = await costs(workload, cases, disk, *((60, 3) if name == "ask" else (21,40)))
            for case, cost in result.items():
                raw = result["raw limit, jsonl" if "jsonl" in case else "raw limit, text"]
                print(f"{disk.parent.name:8}{name:8}{case:30}{cost.micros:9.1f}{cost.over(raw):8.2f}", f"{min(cost.rounds):9.1f}")


asyncio.run(main())
