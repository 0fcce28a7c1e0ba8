"""What a request costs with the package of this tree, beside that of an earlier revision.

`python -m bench.before REVISION`: both packages are baked and imported into one process.
"""

import argparse
import asyncio
import importlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from .cost import ROOT, SCRATCH, Handler, MakeHandler, in_memory, measure, on_disk

REVISION = "994dc36"
FORMATS = ("jsonl", "text")
PROMPT_SIZES = (1_000, 4_000, 10_000)  # characters


async def main(revision: str, rounds: int) -> None:
    """Print the table. The quartiles are those of the ratios of all rounds."""
    packages = {"before": import_package("before", revision), "now": import_package("now")}
    handlers: dict[str, MakeHandler] = {}
    for log_format in FORMATS:
        for name, package in packages.items():
            handlers[f"{log_format} {name}"] = to_files(package, log_format)

    print(f"\nMicroseconds of CPU a request of three prompts, eight records. Before is {revision}.\n")
    print("| place, prompt, format | before | now | now / before | quartiles |")
    print("|---|---:|---:|---:|---:|")

    with in_memory() as memory, on_disk() as disk:
        for place_name, place in {"memory": memory, "disk": disk}.items():
            for prompt_size in PROMPT_SIZES:
                costs = await measure(handlers, place, prompt_size, rounds)
                for log_format in FORMATS:
                    figures = compare(costs[f"{log_format} before"], costs[f"{log_format} now"])
                    print(f"| {place_name}, {prompt_size // 1000} KB, {log_format} | {figures} |", flush=True)


def compare(before: list[float], now: list[float]) -> str:
    ratios = [new / old for new, old in zip(now, before, strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    return f"{median(before):,.0f} | {median(now):,.0f} | {middle:.2f} | {low:.2f} to {high:.2f}"


def to_files(package: Any, log_format: str, filename_pattern: str = "{request_id}.log") -> Callable[[Path], Handler]:
    """Return a function that makes the handler of a package, from the directory of its files."""

    def make_handler(folder: Path) -> Handler:
        handler: Handler = package.FileEventHandler(
            log_dir=folder, filename_pattern=filename_pattern, log_format=log_format
        )
        return handler

    return make_handler


def import_package(name: str, revision: str | None = None) -> Any:
    """Bake and import a package.

    Args:
        name: of the package, so that several can be imported side by side.
        revision: of the template, as git calls it; the files as they are if there is none.
    """
    folder = SCRATCH / name
    shutil.rmtree(folder, ignore_errors=True)
    template = ROOT
    if revision is not None:
        template = folder / "template"
        extract(revision, template)

    project = bake(template, folder / "project", name)
    sys.path.insert(0, str(project / "src"))
    return importlib.import_module(name)


def extract(revision: str, folder: Path) -> None:
    """Write the files of a revision of this repository into a folder."""
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")


def bake(template: Path, folder: Path, package: str) -> Path:
    """Bake a template, and return the project.

    It takes a process of its own, because a revision may have Jinja extensions of its own, in a
    module of the same name.
    """
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--default-config", "--output-dir", str(folder)]
    answers = [f"package_name={package}", "handler_class=FileEventHandler"]
    subprocess.run([*command, str(template), *answers], check=True, stdout=subprocess.DEVNULL)

    (project,) = folder.iterdir()
    return project


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.before", description=sys.modules[__name__].__doc__)
    parser.add_argument("revision", nargs="?", default=REVISION, help="of git (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.revision, arguments.rounds))
