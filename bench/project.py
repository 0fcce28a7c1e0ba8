"""Packages baked from the template, to measure what users get: the one of this tree, and that of any revision."""

import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / "scratch" / "bench"

FILE_A_REQUEST, FILE_A_DAY = "{request_id}.log", "{started_at:%Y-%m-%d}.log"


@contextmanager
def in_memory() -> Iterator[Path]:
    """Yield a directory that is on no disk, where there is a way to have one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


@contextmanager
def on_disk() -> Iterator[Path]:
    """Yield a directory whose folders get inodes far from each other, where ext4 can be told so.

    It looks for an inode near the folder, and passes one by one over those that were freed in the last minutes: what
    anybody has removed, such as the files of the last run, would make a new file ten times as expensive.
    """
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        with suppress(FileNotFoundError):
            subprocess.run(["chattr", "+T", folder], stderr=subprocess.DEVNULL)
        yield Path(folder)


def run(project: Path, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Return what Python prints that runs in `folder`, and can import what a project and its examples have."""
    paths = os.pathsep.join([str(project / "src"), str(project / "examples")])
    command, variables = [sys.executable, *arguments], {**os.environ, **(env or {}), "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True, encoding="utf-8")
    return done.stdout


class Project:
    """A baked package. Only this class knows in what the packages of different revisions differ.

    Args:
        package: its name, so that several can be imported side by side.
        revision: what git calls the template to bake; `None` for the tree as it is.

    Attributes:
        folder: the baked project.
        formats: its formats by name; each makes the text of a record.
    """

    def __init__(self, package: str = "measured", revision: str | None = None) -> None:
        shutil.rmtree(SCRATCH / package, ignore_errors=True)
        template = _extract(revision, SCRATCH / package / "template") if revision else ROOT
        self.folder = _bake(template, SCRATCH / package / "baked", package)
        sys.path.insert(0, str(self.folder / "src"))
        self._package: Any = importlib.import_module(package)
        self.formats: dict[str, Callable[[Any], str]] = importlib.import_module(f"{package}.formats").FORMATS

    def files(self, log_dir: Path, log_format: str = "jsonl", filename_pattern: str = FILE_A_REQUEST) -> Any:
        """Return a handler that writes files."""
        return self._package.FileEventHandler(log_dir, filename_pattern, log_format)

    def recorder(self, sink: Callable[[Any], object]) -> Any:
        """Return a handler that calls `sink` with each record."""
        if hasattr(self._package, "Recorder"):
            return self._package.Recorder(sink)
        return self._package.FileEventHandler(sink=sink)


def _extract(revision: str, folder: Path) -> Path:
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def _bake(template: Path, folder: Path, package: str) -> Path:
    """Bake in a process of its own: the extensions of two revisions may be modules of the same name."""
    folder.mkdir(parents=True)
    config = folder.parent / "cookiecutter.json"  # so that nothing is kept at home, and nothing there has a say
    config.write_text(json.dumps({"replay_dir": str(folder.parent), "cookiecutters_dir": str(folder.parent)}))
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--accept-hooks", "no", "--config-file", str(config)]
    answers = [f"package_name={package}", "handler_class=FileEventHandler"]
    subprocess.run([*command, "--output-dir", str(folder), str(template), *answers], check=True, stdout=sys.stderr)
    (project,) = folder.iterdir()
    return project
