"""A whole request that goes into files, and what is read of them."""

import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest
from application import ROWS
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler

posix_only = pytest.mark.skipif(
    os.name != "posix", reason="modes, umask, links and signals as POSIX has them"
)
HEADLINE = re.compile(r"^[0-9a-f]{8} \S+ \S+ (request|event)_(start|end|failed)", re.MULTILINE)
RESULT = RequestEnd(
    ExecutionResult(ROWS, {"sql": "SELECT 1"}, 0.25, 0.125, "StaffView", "Ann does.")
)


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
    return sorted(
        path.relative_to(log_dir).as_posix() for path in log_dir.rglob("*") if path.is_file()
    )


def read(log_dir: Path) -> str:
    """Return what is in all files."""
    return "".join((log_dir / name).read_text("utf-8") for name in logs(log_dir))


PRELUDE = """
import asyncio, os, resource, sys
sys.path[:0] = {path!r}
from {package} import {handler} as Handler, LogFile, Recorder, recording
from files import RESULT, ask
"""


def start_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a fresh Python that knows the package and this module."""
    prelude = PRELUDE.format(
        path=sys.path, package=Handler.__module__.split(".")[0], handler=Handler.__name__
    )
    command = [sys.executable, "-B", "-c", prelude + code, *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def run_python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `code` to its end in a process of its own, as `start_python` would.

    Where the system can, that is a fork of this process: it has imported db-ally, which takes a
    fresh Python seconds. It does not end as a fresh one does, by `atexit`; tests of the start or
    the end of a process take `start_python`, as do those that go on while it runs.
    """
    if os.name != "posix":
        process = start_python(code, *arguments)
        out, errors = process.communicate()
        return subprocess.CompletedProcess(code, process.returncode, out, errors)

    with (
        TemporaryFile("w+", encoding="utf-8") as out_file,
        TemporaryFile("w+", encoding="utf-8") as errors_file,
    ):
        files = (out_file.fileno(), errors_file.fileno())
        child = multiprocessing.get_context("fork").Process(
            target=_run_in_fork, args=(code, arguments, *files)
        )
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # pytest-xdist has a thread, which does not matter here
            child.start()
        assert child.pid
        try:
            child.join()
        finally:
            with suppress(OSError):
                os.killpg(
                    child.pid, signal.SIGKILL
                )  # what is left of it where the time of the test is over
        out_file.seek(0)
        errors_file.seek(0)
        return subprocess.CompletedProcess(
            code, child.exitcode or 0, out_file.read(), errors_file.read()
        )


def _run_in_fork(code: str, arguments: list[str], out: int, errors: int) -> None:
    """Take off what pytest has put on this process, and run `code`."""
    os.setsid()  # so that a child of it that hangs can be ended with it
    os.dup2(out, 1)
    os.dup2(errors, 2)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    sys.argv = ["-c", *arguments]
    logging.getLogger().handlers.clear()
    warnings.simplefilter("ignore")
    prelude = PRELUDE.format(
        path=[], package=Handler.__module__.split(".")[0], handler=Handler.__name__
    )
    exec(prelude + code, {"__name__": "__main__"})
