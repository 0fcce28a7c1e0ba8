"""Take the code of a page of docs/ exactly as it is printed, and run it in a freshly baked project."""

import ast
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bake import TEMPLATE, bake, commit_all, git, run

DOCS = TEMPLATE / "docs"
PACKAGE = "db_ally_file_handler"
RECORDS_OF_A_REQUEST = 8
OF_A_FAILED_REQUEST = ["request_start", "event_start", "event_failed", "request_failed"]
PATIENCE = 60  # seconds: no machine is so busy

# The modules that each page says to save in the package. All other Python of a page is a script of an application.
MODULES = {
    "database.md": ["database.py"],
    "logging.md": ["application_log.py"],
    "object-store.md": ["object_store.py"],
    "queue.md": ["message_queue.py"],
    "opentelemetry.md": ["telemetry.py"],
    "background.md": ["background.py"],
    "make-it-yours.md": ["console.py"],
    "recipes.md": [
        "only_failures.py",
        "named_model.py",
        "rotated.py",
        "tee.py",
        "lenient.py",
        "webhook.py",
        "log_summary.py",
    ],
}

BLOCK = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIXTURES = {"make_handler", "read_records", "make_broken_handler"}  # that a page replaces in conftest.py

# Text that has broken readers: NUL, a lone surrogate, a line separator, a tag that nobody sees, four bytes of UTF-8.
HOSTILE = "Krak\0w \ud83d \u2028 \U000e0041 \U0001f98a"
READABLE = "Krak\\u0000w \\ud83d \u2028 \U000e0041 \U0001f98a"
HOSTILE_REQUESTS = 5
HOSTILE_RECORDS = 4 * RECORDS_OF_A_REQUEST + 4
ASK_HOSTILE = f"""
import asyncio, contextlib
from application import make_collection, make_engine
from db_ally_file_handler import Recorder, recording

hostile = {HOSTILE!a}
engine = make_engine()

async def away(conversation):
    raise ConnectionError(hostile)

def ask(question, name="staff", **options):
    collection = make_collection(engine, handler, name=name, **options)
    with contextlib.suppress(Exception), recording(user=hostile, model=hostile, traceparent=hostile):
        asyncio.run(collection.ask(question))

ask("before")
ask(hostile, name=hostile)
ask(hostile, reply=away)
ask(hostile + "x" * 1_500_000)
ask("after")
print("lost:", handler.lost_records)
"""

FORKED_REQUESTS = 15
ASK_IN_WORKERS = f"""
import asyncio, os, sys
from application import make_collection, make_engine
{{app}}

def ask():
    for _ in range({FORKED_REQUESTS // 3}):
        asyncio.run(make_collection(make_engine(), handler).ask("Who?"))

ask()
workers = []
for _ in range(2):
    worker = os.fork()
    if worker == 0:
        ask()
        sys.exit(handler.lost_records)
    workers.append(worker)
exit_codes = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
print(exit_codes, handler.lost_records)
"""

END_BY_AN_ERROR = """
import asyncio
from application import away, make_collection, make_engine
from db_ally_file_handler import recording
{app}

engine = make_engine()
asyncio.run(make_collection(engine, handler).ask("Who?"))
{block}asyncio.run(make_collection(engine, handler, reply=away).ask("Who?"))
"""

# Does what each line of its input says, and answers each with a line.
APPLICATION = """
import asyncio, contextlib, json, logging, os, signal, sys, time
from application import away, make_collection, make_engine, say
from db_ally_file_handler import recording
{app}
warnings = []

class Warnings(logging.Handler):
    def emit(self, entry):
        warnings.append(entry.getMessage())

logging.getLogger("db_ally_file_handler").addHandler(Warnings())

async def die(conversation):
    if "Decision:" not in conversation or "aggregation" in conversation:
        os.kill(os.getpid(), signal.SIGKILL)
    return await say()(conversation)

async def ask(reply):
    collection = make_collection(engine_of_staff, handler, reply=reply)
    with contextlib.suppress(Exception), recording():
        return len((await collection.ask("Who?")).results)
    return 0

replies = {"ask": say(), "fail": away, "die": die}
engine_of_staff = make_engine()
for line in sys.stdin:
    what, times = line.split()
    started = time.perf_counter()
    rows = sum(asyncio.run(ask(replies[what])) for _ in range(int(times)))
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
    for _, name, code in BLOCK.findall((DOCS / page).read_text("utf-8")):
        if name in found:
            raise ValueError(f"{page} has two blocks named {name}")
        found[name] = code
    return found


def bake_page(output_dir: Path, *pages: str) -> Path:
    """Return a project with the modules that `pages` print, and the fixtures of the last one in place of its own.

    It is what an owner has who has followed the pages by copy and paste and let ruff put the fixtures in order.
    """
    project = bake(output_dir)
    for page in pages:
        for name in MODULES[page]:
            (project / "src" / PACKAGE / name).write_text(blocks(page)[name], "utf-8")

    fixtures = blocks(pages[-1]).get("conftest.py")
    if fixtures is not None:
        change_fixtures(project / "tests" / "conftest.py", fixtures)
        run(project, "ruff", "check", "--quiet", "--fix", "tests/conftest.py")
        run(project, "ruff", "format", "--quiet", "tests/conftest.py")
    return project


def check(project: Path) -> None:
    """Run the project's own check.py in a scrubbed environment, and see that it leaves nothing that git would add.

    Raises:
        AssertionError: a check fails, with what it prints; or there are files that were not there before.
    """
    commit_all(project)
    with tempfile.TemporaryDirectory() as home:
        scrubbed = {"HOME": home, "PATH": os.defpath, "LANG": "C.UTF-8"}
        done = subprocess.run(
            [sys.executable, "check.py", "--quick"],
            cwd=project,
            env=scrubbed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    assert done.returncode == 0, done.stdout
    assert git(project, "status", "--porcelain") == ""


def pass_contract(project: Path, env: Mapping[str, str] | None = None) -> None:
    """Run the contract tests, which nobody changed.

    Raises:
        AssertionError: some fail or are skipped; with what they print.
    """
    report = run(project, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_handler_contract.py", env=env)
    assert re.search(r"^\d+ passed in", report, re.MULTILINE), report


def python(project: Path, code: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the arguments for `subprocess` that run `code` with the project's package, tests and example."""
    folders = [str(project / folder) for folder in ("src", "tests", "examples")]
    return {
        "args": [sys.executable, "-c", code],
        "cwd": project,
        "env": {**os.environ, "PYTHONPATH": os.pathsep.join(folders), **(env or {})},
        "text": True,
    }


def run_code(project: Path, code: str, env: Mapping[str, str] | None = None) -> str:
    """Run `code` in a process with the project's package, and return what it prints.

    Raises:
        AssertionError: it failed; with all that it printed.
    """
    done = subprocess.run(**python(project, code, env), capture_output=True, timeout=5 * PATIENCE)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def ask_hostile(project: Path, app: str, env: Mapping[str, str] | None = None, *, bound: bool = True) -> None:
    """Ask what has broken readers, and what is far too long, between questions that are harmless.

    With `bound=False` nothing is truncated.

    Raises:
        AssertionError: a record is lost.
    """
    unbound = "" if bound else "handler.max_chars = None\n"
    assert "lost: 0\n" in run_code(project, app + unbound + ASK_HOSTILE, env)


def ask_in_workers(project: Path, app: str, env: Mapping[str, str] | None = None) -> str:
    """Ask in a process, then in two at once that were forked from it; return what they print.

    Raises:
        AssertionError: a record is lost.
    """
    *said, lost = run_code(project, ASK_IN_WORKERS.format(app=app), env).splitlines()
    assert lost == "[0, 0] 0"
    return "\n".join(said)


def end_by_an_error(project: Path, app: str, env: Mapping[str, str] | None = None, *, block: bool = True) -> str:
    """Ask a question, and then one that fails, which ends the process; return what it prints to standard error.

    With `block=False` no `recording()` is around the latter.
    """
    code = END_BY_AN_ERROR.format(app=app, block="with recording(): " if block else "")
    done = subprocess.run(**python(project, code, env), capture_output=True, timeout=5 * PATIENCE)
    assert done.returncode == 1
    return str(done.stderr)


class Application:
    """A process of its own that asks a collection of `project` with the `handler` that the code `app` makes."""

    def __init__(self, project: Path, app: str, env: Mapping[str, str] | None = None) -> None:
        code = APPLICATION.replace("{app}", app)
        self._process = subprocess.Popen(**python(project, code, env), stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> "Application":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Let it come to its end, as an application that has nothing more to do."""
        if error is not None:
            self._process.kill()
        self._process.communicate(timeout=PATIENCE)
        assert error is not None or self._process.returncode in (0, -signal.SIGKILL)

    def ask(self, times: int = 1) -> dict[str, Any]:
        """Ask one question after the other.

        Returns:
            `rows` of all answers, `seconds` it took, `lost` records and `warnings` since the process started.

        Raises:
            TimeoutError: it does not come to an end.
        """
        return self._do(f"ask {times}")

    def fail(self, times: int = 1) -> dict[str, Any]:
        """Ask questions that fail, because the model is away."""
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


def change_fixtures(conftest: Path, printed: str) -> None:
    """Put the fixtures of `printed` in place of their namesakes, and its imports below the others."""
    imports, fixtures = split_imports(printed)
    lines = conftest.read_text("utf-8").splitlines()
    replaced = [node for node in ast.parse("\n".join(lines)).body if getattr(node, "name", "") in FIXTURES]
    assert len(replaced) == len(FIXTURES)

    for node in reversed(replaced):
        del lines[first_line(node) : node.end_lineno]
    start = first_line(replaced[0])
    lines[start:start] = fixtures

    own_imports, rest = split_imports("\n".join(lines))
    conftest.write_text("\n".join([*own_imports, *imports, *rest, ""]), "utf-8")


def split_imports(code: str) -> tuple[list[str], list[str]]:
    """Return the lines up to the last import at the top of a module, and those below."""
    imports = [node for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)]
    end = max(node.end_lineno or 0 for node in imports)
    lines = code.splitlines()
    return lines[:end], lines[end:]


def first_line(node: ast.stmt) -> int:
    """Return the index of the first line of a function, with its decorators."""
    decorators = getattr(node, "decorator_list", [])
    return int(min([node.lineno, *(decorator.lineno for decorator in decorators)])) - 1
