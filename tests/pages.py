"""Take the code of a documentation page exactly as printed, and run it in a freshly baked project."""

import ast
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bake import TEMPLATE, bake, run

DOCS = TEMPLATE / "docs"
PACKAGE = "db_ally_file_handler"
RECORDS_OF_A_REQUEST = 8
PATIENCE = 60  # seconds: no machine is so busy

_BLOCK = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IMPORT = (ast.Import, ast.ImportFrom)
_SCRIPTS = {"app.py", "label.py", "each.py", "ship.py", "consume.py", "ask.py", "many.py"}
_SCRIPTS |= {"label_model.py", "label_models.py", "costs.py"}  # and those that end in _app.py
_FIXTURES = {"make_handler", "read_records", "make_broken_handler"}

# Text that has broken readers: NUL, half an emoji, a line separator, a tag that nobody sees, four bytes of UTF-8.
HOSTILE = "Krak\0w \ud83d \u2028 \U000e0041 \U0001f98a"
READABLE = "Krak\\u0000w \\ud83d \u2028 \U000e0041 \U0001f98a"
HOSTILE_REQUESTS, HOSTILE_RECORDS = 5, 4 * RECORDS_OF_A_REQUEST + 4
_ASK_HOSTILE = f"""
import asyncio, contextlib
from application import make_collection, make_engine
from db_ally_file_handler import Recorder, recording
hostile, engine = {HOSTILE!a}, make_engine()

async def away(conversation):
    raise ConnectionError(hostile)

def ask(question, name="staff", **options):
    with contextlib.suppress(Exception), recording(user=hostile, model=hostile, traceparent=hostile):
        asyncio.run(make_collection(engine, handler, name=name, **options).ask(question))

ask("before")
ask(hostile, name=hostile)
ask(hostile, reply=away)
ask(hostile + "x" * 1_500_000)
ask("after")
print("lost:", handler.lost_records)
"""

FORKED_REQUESTS = 15
_FORKED = f"""
import asyncio, os, sys
from application import make_collection, make_engine
{{app}}

def ask():
    for _ in range({FORKED_REQUESTS // 3}):
        asyncio.run(make_collection(make_engine(), handler).ask("Who?"))

ask()
workers = []
for _ in range(2):
    if not (worker := os.fork()):
        ask()
        sys.exit(handler.lost_records)
    workers.append(worker)
print([os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers], handler.lost_records)
"""
OF_A_FAILED_REQUEST = ["request_start", "event_start", "event_failed", "request_failed"]
_UNCAUGHT = """
import asyncio
from application import make_collection, make_engine
from db_ally_file_handler import recording
{app}

async def away(conversation):
    raise ConnectionError("the model is away")

engine = make_engine()
asyncio.run(make_collection(engine, handler).ask("Who?"))
{block}asyncio.run(make_collection(engine, handler, reply=away).ask("Who?"))
"""

# Does what each line of its input says and answers each with a line.
_APPLICATION = """
import asyncio, contextlib, json, logging, os, signal, sys, time
from application import make_collection, make_engine, say
from db_ally_file_handler import recording
{app}
warnings = []

class Warnings(logging.Handler):
    def emit(self, entry):
        warnings.append(entry.getMessage())

logging.getLogger("db_ally_file_handler").addHandler(Warnings())

async def fail(conversation):
    raise ConnectionError("the model is away")

async def die(conversation):
    if "Decision:" not in conversation or "aggregation" in conversation:
        time.sleep(float(os.environ.get("SECONDS_BEFORE_KILL", 0)))
        os.kill(os.getpid(), signal.SIGKILL)
    return await say()(conversation)

async def ask(reply, question):
    rows = 0
    with contextlib.suppress(Exception), recording():
        rows = len((await make_collection(ENGINE_OF_STAFF, handler, reply=reply).ask(question)).results)
    return rows

ENGINE_OF_STAFF = make_engine()
for line in sys.stdin:
    what, times = line.split()
    started = time.perf_counter()
    rows = sum(asyncio.run(ask(dict(ask=say(), fail=fail, die=die)[what], "Who?")) for _ in range(int(times)))
    seconds = time.perf_counter() - started
    answer = dict(rows=rows, seconds=seconds, lost=handler.lost_records, warnings=warnings)
    print(json.dumps(answer), flush=True)
"""


def blocks(page: str) -> dict[str, str]:
    """Return the code blocks of a page that have a file name behind their language, by that name.

    Raises:
        ValueError: two blocks have the same name.
    """
    found: dict[str, str] = {}
    for _, name, code in _BLOCK.findall((DOCS / page).read_text("utf-8")):
        if name in found:
            raise ValueError(f"{page} has two blocks named {name}")
        found[name] = code
    return found


def bake_page(output_dir: Path, *pages: str) -> Path:
    """Return a project with the modules that `pages` print in its package, and their fixtures in place of its own.

    The scripts that a page prints are no modules: they are what an application does with one.
    """
    project = bake(output_dir)
    for page in pages:
        for name, code in blocks(page).items():
            if name == "conftest.py":
                change_fixtures(project / "tests" / name, code)
            elif name.endswith(".py") and name not in _SCRIPTS and not name.endswith("_app.py"):
                (project / "src" / PACKAGE / name).write_text(code, "utf-8")
    return project


def pass_contract(project: Path, env: Mapping[str, str] | None = None) -> None:
    """Run the contract tests, which nobody changed.

    Raises:
        AssertionError: some fail; with what they print.
    """
    report = run(project, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_handler_contract.py", env=env)
    assert re.search(r"^\d+ passed in", report, re.MULTILINE), report


def run_code(project: Path, code: str, env: Mapping[str, str] | None = None) -> str:
    """Run `code` in a process with the project's package, and return what it prints.

    Raises:
        AssertionError: it failed; with all that it printed.
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env={**os.environ, "PYTHONPATH": _python_path(project), **(env or {})},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ask_hostile(project: Path, app: str, env: Mapping[str, str] | None = None, *, bound: bool = True) -> None:
    """Ask what has broken readers, and what is far too long, between questions that are harmless.

    With `bound=False` nothing is cut.

    Raises:
        AssertionError: a record is lost.
    """
    unbound = "" if bound else "handler = Recorder(handler.sink, max_chars=None)\n"
    assert "lost: 0\n" in run_code(project, app + unbound + _ASK_HOSTILE, env)


def ask_in_workers(project: Path, app: str, env: Mapping[str, str] | None = None) -> str:
    """Ask in a process, then in two at once that were forked from it; return what is said.

    Raises:
        AssertionError: a record is lost.
    """
    *said, lost = run_code(project, _FORKED.format(app=app), env).splitlines()
    assert lost == "[0, 0] 0"
    return "\n".join(said)


def end_by_an_error(project: Path, app: str, env: Mapping[str, str] | None = None, *, block: bool = True) -> str:
    """Ask a question, and then one that fails, which ends the process; return what it says.

    With `block=False` no `recording()` is around the latter.
    """
    code = _UNCAUGHT.format(app=app, block="with recording(): " if block else "")
    environment = {**os.environ, "PYTHONPATH": _python_path(project), **(env or {})}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=5 * PATIENCE)
    assert done.returncode == 1
    return done.stderr


class Application:
    """A process of its own that asks a collection of `project` with the `handler` that the code `app` makes."""

    def __init__(self, project: Path, app: str, env: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _APPLICATION.replace("{app}", app)],
            cwd=project,
            env={**os.environ, "PYTHONPATH": _python_path(project), **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Application":
        return self

    def __exit__(self, *exception: object) -> None:
        """Let it come to its end, as an application that has nothing more to do."""
        if exception[0]:
            self._process.kill()
        self._process.communicate(timeout=PATIENCE)
        assert exception[0] or self._process.returncode in (0, -signal.SIGKILL)

    def ask(self, times: int = 1) -> dict[str, Any]:
        """Ask one question after the other.

        Returns:
            `rows` of all answers, `seconds` it took, `lost` records and `warnings` since the process started.

        Raises:
            TimeoutError: it does not come to an end.
        """
        return self._do(f"ask {times}")

    def fail(self, times: int = 1) -> dict[str, Any]:
        """Ask questions that fail, as the model is away."""
        return self._do(f"fail {times}")

    def die_in_a_request(self) -> None:
        """Ask a question and kill the process in the middle, four records after its start."""
        self._send("die 1")
        assert self._process.wait(PATIENCE) == -signal.SIGKILL

    def _do(self, command: str) -> dict[str, Any]:
        self._send(command)
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        if not ready:
            self._process.kill()
            raise TimeoutError(f"no answer to {command!r} within {PATIENCE} s: a request waits for its destination")
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def _send(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()


def _python_path(project: Path) -> str:
    return os.pathsep.join(str(project / folder) for folder in ("src", "tests", "examples"))


def change_fixtures(conftest: Path, printed: str) -> None:
    """Put the fixtures of `printed` in place of their namesakes, and its imports below the others."""
    code, change = conftest.read_text("utf-8").splitlines(), printed.splitlines()
    fixtures = [node for node in ast.parse("\n".join(code)).body if getattr(node, "name", "") in _FIXTURES]
    assert len(fixtures) == len(_FIXTURES)
    first = min(_first_line(node) for node in fixtures)
    for node in reversed(fixtures):
        del code[_first_line(node) : node.end_lineno]
    last_import = max(node.end_lineno or 0 for node in ast.parse(printed).body if isinstance(node, _IMPORT))
    code[first:first] = change[last_import:]
    below_imports = max(node.end_lineno or 0 for node in ast.parse("\n".join(code)).body if isinstance(node, _IMPORT))
    code[below_imports:below_imports] = change[:last_import]
    conftest.write_text("\n".join([*code, ""]), "utf-8")


def _first_line(node: ast.stmt) -> int:
    return int(min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))]) - 1)
