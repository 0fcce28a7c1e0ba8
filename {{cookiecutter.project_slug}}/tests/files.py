"""What tests share: the handler, a whole request, what is in files, and other processes.

It proves nothing by itself. Keep it as long as you keep any test.
"""

import logging
import multiprocessing
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO

import pytest
from application import ROWS
from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult

import {{ cookiecutter.package_name }} as package

Handler = package.{{ cookiecutter.handler_class }}
Recorder = package.Recorder

posix_only = pytest.mark.skipif(
    os.name != "posix", reason="modes, links, pipes and forks as POSIX has them"
)
HEADLINE = re.compile(r"^[0-9a-f]{8} \S+ \S+ (request|event)_(start|end|failed)", re.MULTILINE)
RESULT = RequestEnd(
    ExecutionResult(ROWS, {"sql": "SELECT 1"}, 0.25, 0.125, "StaffView", "Ann does.")
)


def file_recorder(
    log_dir: Path, filename_pattern: str, log_format: str = "jsonl", **options: Any
) -> Recorder:
    """Return a recorder into files, for tests that hold whatever defaults your handler has."""
    return Recorder(package.LogFile(log_dir, filename_pattern, log_format), **options)


async def start(
    *handlers: EventHandler[Any, Any], collection: str = "staff", question: str = "Who?"
) -> EventTracker:
    """Start a request; it is open as long as something holds the tracker."""
    tracker = EventTracker.initialize_with_handlers(list(handlers))
    await tracker.request_start(RequestStart(collection_name=collection, question=question))
    return tracker


async def ask(
    *handlers: EventHandler[Any, Any], collection: str = "staff", question: str = "Who?"
) -> None:
    """Go through a whole request: 4 records."""
    tracker = await start(*handlers, collection=collection, question=question)

    event = LLMEvent(question, "Prompt")
    async with tracker.track_event(event) as span:
        event.response = "Ann"
        span(event)

    await tracker.request_end(RESULT)


def logs(log_dir: Path) -> list[str]:
    """Return the paths of all files, relative and sorted."""
    return sorted(
        path.relative_to(log_dir).as_posix() for path in log_dir.rglob("*") if path.is_file()
    )


def read(log_dir: Path) -> str:
    """Return what is in all files."""
    return "".join((log_dir / name).read_text("utf-8") for name in logs(log_dir))


# Other processes. A fresh Python takes seconds to import db-ally, and a fork of pytest has
# imported it. So tests fork where the system can and nothing but a fresh process would do.


def start_fork(function: Callable[..., object], *arguments: object) -> BaseProcess:
    """Call `function` in a fork of this process; its `exitcode` is 0 unless it raises."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=function, args=arguments, daemon=True)
    with warnings.catch_warnings():
        # Python 3.12 warns because pytest-xdist has a thread. The child does not need it.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    return process


PRELUDE = f"""
import asyncio, os, sys
from {package.__name__} import {Handler.__name__} as Handler, LogFile, Recorder, recording
from files import RESULT, ask
"""


def start_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a fresh Python that runs `code`; it knows the package and this module."""
    search_path = f"import sys; sys.path[:0] = {sys.path!r}"
    return subprocess.Popen(
        [sys.executable, "-B", "-c", search_path + PRELUDE + code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def run_python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `code` to its end, as `start_python` would, but in a fork where the system can.

    A fork does not run what is registered with `atexit`. Where that matters, or where the test
    goes on while the process runs, take `start_python`.
    """
    if os.name != "posix":
        fresh = start_python(code, *arguments)
        output = fresh.communicate()
        return subprocess.CompletedProcess(code, fresh.returncode, *output)

    with (
        TemporaryFile("w+", encoding="utf-8") as out,
        TemporaryFile("w+", encoding="utf-8") as errors,
    ):
        fork = start_fork(_run_code, code, arguments, out, errors)
        fork.join()

        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(code, fork.exitcode or 0, out.read(), errors.read())


def _run_code(code: str, arguments: tuple[str, ...], out: TextIO, errors: TextIO) -> None:
    """Run `code` without what pytest has put on this process."""
    os.dup2(out.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    sys.stdout = out
    sys.stderr = errors
    sys.argv = ["-c", *arguments]
    logging.getLogger().handlers.clear()
    warnings.simplefilter("ignore")

    exec(PRELUDE + code, {"__name__": "__main__"})
