"""Measure everything, and write results.md."""

import asyncio
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from .growth import callbacks, growth
from .peers import compare
from .project import ROOT, SCRATCH, Project, in_memory, on_disk

PACKAGES = [
    "dbally", "langfuse", "langsmith", "loguru", "mlflow-tracing", "opentelemetry-sdk", "python-json-logger", "structlog"
]  # fmt: skip


def main() -> None:
    """Write the tables, and print them as they come."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    project = Project()
    parts = [f"# What a request costs\n\n{_machine()}\n"]
    with in_memory() as memory, on_disk() as disk:
        for title, rows in _tables(project, memory, disk):
            parts.append(f"## {title}\n\n{_table(rows)}")
            print(parts[-1], flush=True)
    (ROOT / "bench" / "results.md").write_text("\n".join(parts))


def _tables(project: Project, memory: Path, disk: Path) -> Iterator[tuple[str, list[list[str]]]]:
    yield "Beside what people would pick instead, on disk", compare(project, memory, disk)
    curves = [
        [*of, ", ".join(f"{size:,}: {micros:,.0f}" for size, micros in curve.items())]
        for of, curve in asyncio.run(growth(project, memory, disk)).items()
    ]
    yield "How it grows, microseconds of CPU a request", [["with", "format", "cost"], *curves]
    spreads = [
        [title, *(f"{millis:.2f}" for millis in spread)]
        for title, spread in asyncio.run(callbacks(project, disk)).items()
    ]
    yield "One callback, milliseconds", [["with", "median", "99 %", "longest"], *spreads]


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{platform.platform()}, CPython {platform.python_version()}; {packages}."


def _table(rows: list[list[str]]) -> str:
    header, *others = rows
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *others]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
