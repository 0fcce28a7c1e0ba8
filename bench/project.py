"""A project baked from the template, to measure what users get."""

import importlib
import sys
from pathlib import Path
from typing import Any

from bake import bake

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / "scratch" / "bench"


class Project:
    """The baked package and the small application that its tests ask.

    Attributes:
        handler: the handler class.
        formats: its formats by name.
        log_file: its file sink.
        application: the generated `tests/application.py`.
    """

    def __init__(self, package: str = "measured_handler") -> None:
        folder = bake(SCRATCH / "project", project_name="Measured Handler", package_name=package)
        self.source = folder / "src"
        sys.path[:0] = [str(folder / name) for name in ("src", "examples", "tests")]
        self.package = package
        self.handler: Any = importlib.import_module(package).FileEventHandler
        self.formats: Any = importlib.import_module(f"{package}.formats").FORMATS
        self.log_file: Any = importlib.import_module(f"{package}.logfile").LogFile
        self.application: Any = importlib.import_module("application")
