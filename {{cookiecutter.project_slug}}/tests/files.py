"""A whole request that goes into files, and what is read of them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from application import ROWS
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes, umask, links and signals as POSIX has them")
HEADLINE = re.compile(r"^[0-9a-f]{8} \S+ \S+ (request|event)_(start|end|failed)", re.MULTILINE)
RESULT = RequestEnd(ExecutionResult(ROWS, {"sql": "SELECT 1"}, 0.25, 0.125, "StaffView", "Ann does."))


async def ask(*handlers: Any, collection: str = "staff", question: str = "Who?") -> None:
    """Go through a whole request: 4 records."""
    tracker = EventTracker.initialize_with_handlers(list(handlers))
    await tracker.request_start(RequestStart(collection_name=collection, question=question))
    event = LLMEvent(question, "Prompt")
    async with tracker.track_event(event) as span:
        event.response = "Ann"
        span(event)
    await tracker.request_end(RESULT)


def logs(log_dir: Path) -> list[str]:
    """Return the paths of all files, relative and sorted."""
    return sorted(path.relative_to(log_dir).as_posix() for path in log_dir.rglob("*") if path.is_file())


def read(log_dir: Path) -> str:
    """Return what is in all files."""
    return "".join((log_dir / name).read_text("utf-8") for name in logs(log_dir))


PRELUDE = """
import asyncio, os, resource, sys
sys.path[:0] = {path!r}
from {package} import {handler} as Handler, LogFile, Recorder, recording
from files import RESULT, ask
"""


def run_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a Python of its own that knows the package and this module."""
    prelude = PRELUDE.format(path=sys.path, package=Handler.__module__.split(".")[0], handler=Handler.__name__)
    command = [sys.executable, "-B", "-c", prelude + code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
